// LocalRunner: the clients of a process on one base. It holds each client's examples and one set of working parameters,
// and trains them one after another.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/personal.h"
#include "client/runner.h"
#include "client/trainer.h"
#include "configs/run.h"
#include "configs/views.h"
#include "peft/params/param_vector.h"

namespace fedpeft::client {

/// A state folder, and whose files go into it.
struct PersonalFolder {
  std::string state;
  std::string run_id;
  /// The base's folder.
  std::string base;
};

class LocalRunner final : public Runner {
 public:
  /// `data[i]` are client i's examples, `held_out[i]` those on which it evaluates; no list of these: on its data.
  /// Errors: the planner's and LocalTrainer's.
  static Result<std::unique_ptr<LocalRunner>> Make(RunSpec run, std::shared_ptr<const BaseModel> base,
                                                   std::vector<std::vector<Example>> data,
                                                   std::vector<std::vector<Example>> held_out = {});

  Result<Update> Train(std::size_t index, const std::string& name, std::uint32_t round, const Start& start,
                       const std::atomic<bool>& stop, const LocalTrainer::Progress& progress) override;
  Result<EvaluateStats> Evaluate(std::size_t index, std::uint32_t round, const Start& start,
                                 const std::atomic<bool>& stop) override;

  std::uint32_t total_rounds() const override { return run_.total_rounds(); }
  const Digest& layout_digest() const override { return layout_->digest(); }
  std::uint64_t max_broadcast_bytes() const override { return views_.max_broadcast_bytes(); }
  std::size_t clients() const override { return data_.size(); }
  std::size_t examples(std::size_t index) const override { return data_[index].size(); }
  std::size_t held_out(std::size_t index) const override { return held_out_.empty() ? 0 : held_out_[index].size(); }
  bool keeps_personal() const override { return views_.any_personal(); }
  /// LocalTrainer's.
  void KeepActivations(std::uint64_t most_bytes) { trainer_->KeepActivations(most_bytes); }
  /// From now on each training of a client that keeps something also writes it to a file (personal.h).
  void WritePersonalTo(PersonalFolder folder) { personal_folder_ = std::move(folder); }

 private:
  LocalRunner(RunSpec run, std::shared_ptr<const ParamLayout> layout, RunViews views,
              std::unique_ptr<LocalTrainer> trainer, std::vector<std::vector<Example>> data,
              std::vector<std::vector<Example>> held_out);
  /// Makes `start_` what the client's task of that round begins with, and `own_` its own tensors.
  Status Begin(std::uint32_t round, const Start& start);
  /// Makes `start_` the initial parameters with those that were broadcast in place.
  Status TakeBroadcast(ByteSpan params);
  /// The client's own tensors that the round does not replace by shared ones.
  PayloadLayout OwnIn(std::uint32_t round) const;
  /// Takes what the round has trained for the client alone; its bytes.
  Result<Bytes> KeepOwn(const std::string& name, std::uint32_t round);

  RunSpec run_;
  std::shared_ptr<const ParamLayout> layout_;
  std::unique_ptr<LocalTrainer> trainer_;
  RunViews views_;
  std::vector<std::vector<Example>> data_, held_out_;
  /// By the seed, where something is never sent, or no training has made it a client's own.
  std::optional<ParamVector> initial_;
  ParamVector start_;
  ParamVector work_;
  /// Of the client in progress, where clients keep something.
  std::optional<OwnTensors> own_;
  std::optional<PersonalFolder> personal_folder_;
};

}  // namespace fedpeft::client
