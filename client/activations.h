// Activations: what the layers below all training make of a client's examples, computed once and kept over epochs and
// rounds.
#pragma once

#include <ATen/core/Tensor.h>

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

/// The frozen lower part of a model. What it computes depends on nothing else, but for the examples.
struct LowerModel {
  const BaseModel& base;
  /// Of what is frozen of the method.
  const SiteHook& hook;
  /// The first layer above, or the number of layers: all but the head.
  std::size_t layer = 0;
  /// Of the hook's values.
  Digest values{};
};

/// Of one client's examples.
class Activations {
 public:
  /// How many bytes they would take.
  static std::uint64_t Bytes(const LowerModel& model, std::span<const Example> examples);
  /// Computes them, always in the same batches, so that they are the same bits whenever that is done. Those in a file
  /// are in the folder for temporary files, mapped, of no name, and so the operating system's to keep in memory or not.
  /// Errors: PackRows'; those of making such a file.
  static Result<Activations> Compute(const LowerModel& model, std::span<const Example> examples, std::size_t batch_size,
                                     std::size_t batch_tokens, bool in_file);

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

/// Those of the clients that were last in use, up to a limit.
class ActivationStore {
 public:
  /// 0: keeps none.
  explicit ActivationStore(std::uint64_t most_bytes) : most_bytes_(most_bytes) {}

  /// Kept or computed; null when there is no such layer, or they would take more than all may. Valid until the next
  /// call. Errors: Activations::Compute's.
  Result<const Activations*> Of(const LowerModel& model, std::span<const Example> examples, std::size_t batch_size,
                                std::size_t batch_tokens);

 private:
  struct Kept {
    Digest key{};
    std::uint64_t bytes = 0;
    bool in_file = false;
    Activations activations;
  };
  void DropLast();

  std::uint64_t most_bytes_;
  std::uint64_t bytes_ = 0;
  /// Of these in memory.
  std::uint64_t in_memory_ = 0;
  /// The last in use first.
  std::list<Kept> kept_;
};

}  // namespace fedpeft::client
