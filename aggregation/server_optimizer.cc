#include "aggregation/server_optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

namespace fedpeft::aggregation {

namespace {

using Kind = ServerOptimizerConfig::Kind;

constexpr char kMomentum[] = "momentum";
constexpr char kSecondMoment[] = "second_moment";

bool KeepsMomentum(Kind kind) {
  return kind != Kind::kFedAvg;
}
bool IsAdaptive(Kind kind) {
  return kind != Kind::kFedAvg && kind != Kind::kFedAvgM;
}
bool DecaysSecondMoment(Kind kind) {
  return kind == Kind::kFedAdam || kind == Kind::kFedYogi;
}

/// v after a mean update of square `d2`.
double NextSecondMoment(const ServerOptimizerConfig& config, double v, double d2) {
  switch (config.kind) {
    case Kind::kFedAdagrad:
      return v + d2;
    case Kind::kFedAdam:
      return config.beta2 * v + (1 - config.beta2) * d2;
    case Kind::kFedYogi:
      return v == d2 ? v : v - (1 - config.beta2) * std::copysign(d2, v - d2);
    case Kind::kFedAvg:
    case Kind::kFedAvgM:
      break;
  }
  return v;
}

float Moved(float parameter, double step) {
  return step == 0 ? parameter : static_cast<float>(static_cast<double>(parameter) + step);
}

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

void StepPlain(const ServerOptimizerConfig& config, std::span<const float> mean, std::span<float> parameters) {
  for (std::size_t i = 0; i < mean.size(); ++i) {
    parameters[i] = Moved(parameters[i], config.learning_rate * static_cast<double>(mean[i]));
  }
}

void StepMomentum(const ServerOptimizerConfig& config, std::span<const float> mean, std::span<float> parameters,
                  std::span<float> momentum) {
  for (std::size_t i = 0; i < mean.size(); ++i) {
    momentum[i] = static_cast<float>(config.beta1 * static_cast<double>(momentum[i]) + static_cast<double>(mean[i]));
    parameters[i] = Moved(parameters[i], config.learning_rate * static_cast<double>(momentum[i]));
  }
}

void StepAdaptive(const ServerOptimizerConfig& config, std::span<const float> mean, std::span<float> parameters,
                  std::span<float> momentum, std::span<float> second_moment) {
  for (std::size_t i = 0; i < mean.size(); ++i) {
    const double d = static_cast<double>(mean[i]);
    const double m = config.beta1 * static_cast<double>(momentum[i]) + (1 - config.beta1) * d;
    momentum[i] = static_cast<float>(m);
    second_moment[i] = static_cast<float>(NextSecondMoment(config, static_cast<double>(second_moment[i]), d * d));
    const double scale = std::sqrt(static_cast<double>(second_moment[i])) + config.tau;
    parameters[i] = Moved(parameters[i], config.learning_rate * static_cast<double>(momentum[i]) / scale);
  }
}

Status Unusable(const std::string& key, double value, const std::string& want) {
  return InvalidArgument("server optimizer: " + key + ": got " + std::to_string(value) + ", want " + want);
}

}  // namespace

Result<ServerOptimizer> ServerOptimizer::Make(const ServerOptimizerConfig& config) {
  const auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  const auto decay = [](double value) { return value >= 0 && value < 1; };
  if (!positive(config.learning_rate)) return Unusable("learning_rate", config.learning_rate, "a positive number");
  if (KeepsMomentum(config.kind) && !decay(config.beta1)) return Unusable("beta1", config.beta1, "0 to below 1");
  if (DecaysSecondMoment(config.kind) && !decay(config.beta2)) return Unusable("beta2", config.beta2, "0 to below 1");
  if (IsAdaptive(config.kind) && !positive(config.tau)) return Unusable("tau", config.tau, "a positive number");
  return ServerOptimizer(config);
}

OptimizerState ServerOptimizer::InitialState(std::size_t size) const {
  OptimizerState state;
  if (KeepsMomentum(config_.kind)) state[kMomentum].assign(size, 0.0f);
  if (IsAdaptive(config_.kind)) state[kSecondMoment].assign(size, static_cast<float>(config_.tau * config_.tau));
  return state;
}

Status ServerOptimizer::Step(const Reduced& reduced, std::span<float> parameters, OptimizerState& state) const {
  RETURN_IF_ERROR(CheckShapes(reduced, parameters.size(), state));
  std::vector<float> next(parameters.begin(), parameters.end());
  OptimizerState next_state = state;
  if (IsAdaptive(config_.kind)) {
    StepAdaptive(config_, reduced.mean, next, next_state[kMomentum], next_state[kSecondMoment]);
  } else if (KeepsMomentum(config_.kind)) {
    StepMomentum(config_, reduced.mean, next, next_state[kMomentum]);
  } else {
    StepPlain(config_, reduced.mean, next);
  }
  const bool finite = AllFinite(next) && std::all_of(next_state.begin(), next_state.end(),
                                                     [](const auto& named) { return AllFinite(named.second); });
  if (!finite) return OutOfRange("server optimizer: the step leaves the range of float (lower learning_rate)");
  std::copy(next.begin(), next.end(), parameters.begin());
  state = std::move(next_state);
  return OkStatus();
}

Status ServerOptimizer::CheckShapes(const Reduced& reduced, std::size_t size, const OptimizerState& state) const {
  if (reduced.mean.size() != size) {
    return FailedPrecondition("server optimizer: got a mean of " + std::to_string(reduced.mean.size()) +
                              " values, want " + std::to_string(size));
  }
  const std::size_t vectors = (KeepsMomentum(config_.kind) ? 1u : 0u) + (IsAdaptive(config_.kind) ? 1u : 0u);
  const auto fits = [&](const char* name) {
    const auto found = state.find(name);
    return found != state.end() && found->second.size() == size;
  };
  if (state.size() != vectors || (vectors > 0 && !fits(kMomentum)) || (vectors > 1 && !fits(kSecondMoment))) {
    return FailedPrecondition("server optimizer: its state is of another optimizer or another payload, want " +
                              std::to_string(vectors) + " vectors of " + std::to_string(size) +
                              " values (start from InitialState)");
  }
  return OkStatus();
}

Caps ServerOptimizer::caps() const {
  return {.needs = Needs::kSum,
          .data_dependent_weights = false,
          .state_space = KeepsMomentum(config_.kind) ? StateSpace::kPayload : StateSpace::kNone};
}

}  // namespace fedpeft::aggregation
