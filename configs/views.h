// RunViews: what each round of a run trains, and what of it travels. Both ends derive it from run and layout alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/params/layout.h"

namespace fedpeft {

/// Immutable.
class RunViews {
 public:
  /// Pre: `layout` is PlanLayout's of the plan. An empty schedule is a phase of defaults. Errors: PlanView's, beginning
  /// with the key.
  static Result<RunViews> Make(const PeftPlan& plan, const std::vector<PhaseSpec>& schedule,
                               std::shared_ptr<const ParamLayout> layout);

  /// Of round 1, 2, …; of round 0, the start, the first one's.
  const ViewSpec& At(std::uint32_t round) const;
  /// What an update of the round consists of: the tensors that it shares, and scores of ranks where there are any.
  /// `kept` are the ranks in use.
  PayloadLayout Update(std::uint32_t round, const KeptRanks& kept = {}) const;
  /// What clients are sent before every round: first the masks that say which ranks are in use, then all that some
  /// round shares. The rest is made by the seed, on both ends.
  PayloadLayout Masks() const;
  PayloadLayout Broadcast(const KeptRanks& kept = {}) const;
  /// Of an update, the scores.
  PayloadLayout Scores(const KeptRanks& kept) const { return DensePayload(*layout_, scores_, /*max_abs=*/1, kept); }
  /// Bytes of the longest update, and of the longest broadcast.
  std::uint64_t max_update_bytes() const;
  std::uint64_t max_broadcast_bytes() const { return (Masks().size + Broadcast().size) * sizeof(float); }
  /// By tensor: some round trains it without sharing it, so each client has its own.
  const std::vector<bool>& personal() const { return personal_; }
  bool any_personal() const;
  /// Every tensor is shared in some round.
  bool all_shared() const;
  /// By tensor: some round shares it.
  const std::vector<bool>& shared() const { return shared_; }

 private:
  /// The views of a phase, which its rounds take in turn.
  struct Phase {
    std::uint32_t first = 1;
    double max_abs = 0;
    std::vector<ViewSpec> views;
  };
  /// Takes note of what its rounds share and keep. `key`: of its views.
  Result<Phase> MakePhase(const PeftPlan& plan, const PhaseSpec& spec, std::uint32_t first, const std::string& key);
  const Phase& PhaseOf(std::uint32_t round) const;

  std::shared_ptr<const ParamLayout> layout_;
  std::vector<Phase> phases_;
  std::vector<bool> shared_, personal_, masks_, scores_;
};

}  // namespace fedpeft
