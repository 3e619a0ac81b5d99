// A forecast of the memory that training takes, from the plan alone: people look before they run. Torch-free.
#pragma once

#include <cstdint>

#include "client/base.h"
#include "configs/run.h"
#include "peft/core/status.h"

namespace fedpeft::client {

/// In bytes, at the peak of a training step whose examples all have `problem.max_length` tokens; shorter ones take
/// less.
struct MemoryForecast {
  /// The program and its libraries, the tokenizer, the texts left out.
  std::uint64_t program = 0;
  /// The frozen base, as the run holds it.
  std::uint64_t weights = 0;
  /// Trained parameters, what a round began with, gradients, the optimiser's state.
  std::uint64_t trained = 0;
  /// What the forward pass keeps for the backward pass, and what that holds at a time.
  std::uint64_t activations = 0;

  std::uint64_t total() const { return program + weights + trained + activations; }
};

/// Errors: AdaptedLinears' and PlanLayout's.
Result<MemoryForecast> ForecastMemory(const BaseInfo& base, const RunSpec& run);

}  // namespace fedpeft::client
