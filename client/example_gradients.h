// Example-level differential privacy of a client's training (DP-SGD): who is in a batch is drawn in secret, each
// example's gradient is clipped, and their sum gets noise. Source: Abadi et al. 2016; gradients of single examples come
// from one pass of a batch (peft/method/trained.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "client/activations.h"
#include "client/objective.h"
#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/params/param_vector.h"
#include "privacy/accounting/accountant.h"
#include "privacy/crypto/random_source.h"
#include "privacy/mechanism/clipped_sum.h"
#include "privacy/noise/random_bits.h"

namespace fedpeft::client {

/// Errors: kInvalidArgument for a clip that is no positive number, or noise that is neither that nor 0 (left to us);
/// kUnimplemented for a method without
/// gradients of single examples.
Status CheckExamplePrivacy(const PrivacySpec& spec, const PeftPlan& plan);

/// Of a step's batch. It tells of the examples: nothing of it may leave the client.
struct DrawnBatch {
  std::int64_t examples = 0;
  std::int64_t tokens = 0;
  /// The sum over the examples of the mean over what is predicted of each.
  double loss = 0;
};

/// The steps of one round on a client's examples.
class ExampleGradients {
 public:
  /// What is trained. All outlive the gradients.
  struct Model {
    const BaseModel& base;
    ProblemType problem;
    const PeftPlan& plan;
    const ParamLayout& layout;
    const ViewSpec& view;
    /// Of the examples; null: they pass through the whole base.
    const Activations* lower = nullptr;
  };
  /// `privacy`: to which L2 norm an example's gradient is clipped; `step`: with which probability an example is in a
  /// batch, and the noise over that norm. No more than `most_tokens` (or one example) pass through the base together.
  /// `random` is the source of batches and noise, and outlives this object. Pre: CheckExamplePrivacy; examples, which
  /// outlive this object too.
  ExampleGradients(const PrivacySpec& privacy, const privacy::PoissonSum& step, const Model& model,
                   std::span<const Example> examples, std::size_t most_tokens, privacy::RandomSource& random);

  /// Draws a batch and overwrites the trained tensors of `grads` by (sum of clipped gradients + noise) / (rate ·
  /// examples): also by noise alone. A gradient that is not finite counts as zero. Errors: Pack's.
  Result<DrawnBatch> Step(const ParamVector& params, const ForwardMode& mode, ParamVector& grads);

  /// Gradients so far that were clipped, and that were not finite: of the client's alone.
  std::uint64_t clipped() const { return sum_.clipped(); }
  std::uint64_t not_finite() const { return sum_.not_finite(); }

 private:
  std::vector<std::uint32_t> DrawRows();
  /// Adds the clipped gradients of some rows to the sum.
  Status Add(const ParamVector& params, std::span<const std::uint32_t> rows, const ForwardMode& mode,
             DrawnBatch& drawn);

  Model model_;
  std::span<const Example> examples_;
  std::vector<std::uint32_t> lengths_;
  double rate_;
  std::size_t most_tokens_;
  privacy::RandomSource& random_;
  privacy::RandomBits bits_;
  /// Elements that are trained.
  std::size_t size_;
  privacy::ClippedSum sum_;
};

}  // namespace fedpeft::client
