// Activations: what the layers below all training make of a client's examples, computed once and kept over epochs and
// rounds.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <vector>

#include "client/example.h"
#include "client/example_batch.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "peft/model/base_model.h"

namespace fedpeft::client {

/// The untrained lower part of a model (UntrainedBelow), and in which batches it computes. Its method has no lead.
struct LowerModel {
  const BaseModel& base;
  /// Of what is frozen of the method.
  const SiteHook& hook;
  /// The first layer above, or the number of layers: all but the head.
  std::size_t layer = 0;
  /// Of the values of the hook's tensors that take part.
  Digest values_digest{};
  /// As SortedBatches has them. One example at once: it gets what it would get without the others, bit for bit.
  std::size_t batch_size = 64;
  std::size_t batch_tokens = 0;
};

/// Of one client's examples.
class Activations {
 public:
  /// How many bytes they take at most.
  static std::uint64_t Bytes(const LowerModel& model, std::span<const Example> examples);
  /// Computes them, always in the same batches, so that they are the same bits whenever that is done. `in_file`: in the
  /// folder for temporary files, mapped, without a name, and so the operating system's to keep in memory or not.
  /// Errors: PackRows'; those of making such a file; kCancelled once `stop` is true (looked at before every batch).
  static Result<Activations> Compute(const LowerModel& model, std::span<const Example> examples, bool in_file,
                                     const std::atomic<bool>* stop = nullptr);

  /// Makes a batch of these examples enter the base above. Pre: it has no lead.
  void Enter(ExampleBatch& batch) const;

 private:
  Activations() = default;
  /// Where the rows of a batch are, in the order of PackedBatch.
  at::Tensor IndexOf(const ExampleBatch& batch) const;

  std::size_t layer_ = 0;
  /// One row an example, else one a token.
  bool pooled_ = false;
  /// Shapes: [rows, C].
  at::Tensor rows_;
  /// Of each example, its first.
  std::vector<std::int64_t> first_;
};

/// Those of the clients, up to a limit. The first come stay, since clients take turns; those of a lower part that is
/// not in use now go first.
class ActivationStore {
 public:
  /// 0: keeps none.
  explicit ActivationStore(std::uint64_t most_bytes) : most_bytes_(most_bytes) {}

  bool on() const { return most_bytes_ > 0; }
  /// Kept or computed; null where there is no room. Valid until the next call. Errors: Activations::Compute's.
  Result<const Activations*> Of(const LowerModel& model, std::span<const Example> examples,
                                const std::atomic<bool>* stop = nullptr);

 private:
  struct Kept {
    Digest model{}, examples{};
    std::uint64_t bytes = 0;
    bool in_file = false;
    Activations activations;
  };
  using Iterator = std::list<Kept>::iterator;
  /// Where it can be, those of other models that have to go for it being dropped; none: nowhere.
  enum class Place { kMemory, kFile, kNowhere };
  Place MakeRoom(const Digest& model, std::uint64_t bytes);
  void Drop(Iterator kept);

  std::uint64_t most_bytes_;
  std::uint64_t bytes_ = 0;
  /// Of these in memory.
  std::uint64_t in_memory_ = 0;
  std::list<Kept> kept_;
};

}  // namespace fedpeft::client
