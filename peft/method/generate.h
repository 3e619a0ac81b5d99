// Text from a language model, one token after another. Free of LibTorch's headers: for the programs.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "peft/core/status.h"
#include "peft/method/sampler.h"
#include "peft/plan/method.h"

namespace fedpeft {

class BaseModel;
class SiteHook;

struct GenerateOptions {
  SamplingOptions sampling;
  std::uint64_t seed = 0;
  std::int64_t max_new_tokens = 256;
  /// Any of these ends the text; it is part of the result.
  std::vector<std::int32_t> end_ids;
  /// Keeps keys and values of the tokens so far; without, each token costs the whole sequence again. The same text.
  bool use_cache = true;
};

enum class StopReason {
  kEndOfText,
  kMaxNewTokens,
  /// The base has no position for a further token.
  kPositionLimit,
  /// The callback's wish.
  kCancelled,
};

/// `end of text`, `max new tokens`, `position limit`, `cancelled`.
const char* StopReasonName(StopReason reason);

struct Generated {
  /// The prompt not among them.
  std::vector<std::int32_t> ids;
  StopReason reason = StopReason::kMaxNewTokens;
};

/// Called with each token as soon as it is chosen; false ends the text behind it.
using OnToken = std::function<bool(std::int32_t id)>;

/// Whether `base` can continue a text. Errors: kFailedPrecondition for an encoder, or a decoder without a
/// language-model head, naming it.
Status CheckGenerates(const BaseModel& base);

/// What a method does to a base while it generates.
struct Adapted {
  /// Null: nothing.
  const SiteHook* hook = nullptr;
  /// What it puts before the text.
  Lead lead;
};

/// Continues `prompt`.
/// Errors: CheckGenerates'; CheckSampling's; kInvalidArgument for an empty or overlong prompt, ids the base does not
/// have, or max_new_tokens below 1; kAborted for scores that are not finite; kInternal when LibTorch fails.
Result<Generated> Generate(const BaseModel& base, const Adapted& adapted, std::span<const std::int32_t> prompt,
                           const GenerateOptions& options, const OnToken& on_token = {});

}  // namespace fedpeft
