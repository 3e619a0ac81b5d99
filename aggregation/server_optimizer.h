// ServerOptimizer: how the mean update changes the shared parameters. Post-processing of a sum, so it works the same
// behind masks and noise. A pure function of (configuration, parameters, state, mean): the coordinator owns parameters
// and state, stores them, and gives them back after a restart.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "aggregation/caps.h"
#include "aggregation/reducer.h"
#include "peft/core/status.h"

namespace fedpeft::aggregation {

struct ServerOptimizerConfig {
  enum class Kind { kFedAvg, kFedAvgM, kFedAdagrad, kFedAdam, kFedYogi } kind = Kind::kFedAvg;
  /// η.
  double learning_rate = 1;
  /// The momentum of all but FedAvg.
  double beta1 = 0.9;
  /// The decay of the second moment of FedAdam and FedYogi.
  double beta2 = 0.99;
  /// Bounds the adaptive step from above, and its square is where the second moment starts.
  double tau = 1e-3;
};

/// Named vectors of a value per payload element: `momentum`, `second_moment`, or none. All that a restart needs.
using OptimizerState = std::map<std::string, std::vector<float>>;

/// With D the mean update, m and v the state, per payload element and all in double:
///   FedAvg       step = η D
///   FedAvgM      m = β1 m + D                                      step = η m
///   FedAdagrad   m = β1 m + (1−β1) D   v = v + D²                  step = η m / (√v + τ)
///   FedAdam      m = β1 m + (1−β1) D   v = β2 v + (1−β2) D²        step = η m / (√v + τ)
///   FedYogi      m = β1 m + (1−β1) D   v = v − (1−β2) D² sign(v−D²)  step = η m / (√v + τ)
/// m and v are rounded to float before the step is taken from them, and the parameter becomes float(θ + step), or stays
/// as it is, to the sign of zero, when the step is 0. m starts at 0, v at τ². No bias correction.
/// Source: Reddi et al. 2021 (2003.00295), algorithm 2; momentum of Hsu et al. 2019 (1909.06335).
class ServerOptimizer {
 public:
  /// Errors: kInvalidArgument when η is not positive and finite, a β used is outside [0, 1), or τ is used and not
  /// positive and finite.
  static Result<ServerOptimizer> Make(const ServerOptimizerConfig& config);

  /// The state before the first step.
  OptimizerState InitialState(std::size_t size) const;

  /// Errors, with parameters and state as they were: kFailedPrecondition when lengths differ or the state is not of
  /// this kind; kOutOfRange when a parameter or the state would no longer be finite.
  Status Step(const Reduced& reduced, std::span<float> parameters, OptimizerState& state) const;

  Caps caps() const;

 private:
  explicit ServerOptimizer(const ServerOptimizerConfig& config) : config_(config) {}
  Status CheckShapes(const Reduced& reduced, std::size_t size, const OptimizerState& state) const;

  ServerOptimizerConfig config_;
};

}  // namespace fedpeft::aggregation
