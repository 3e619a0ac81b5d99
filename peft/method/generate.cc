#include "peft/method/generate.h"

#include <torch/torch.h>

#include <algorithm>
#include <string>

#include "peft/model/base_model.h"

namespace fedpeft {

namespace {

using torch::Tensor;

/// The sequence so far, and the scores of what comes next.
class Continuation {
 public:
  Continuation(const BaseModel& base, const Adapted& adapted, bool use_cache)
      : base_(base),
        hook_(adapted.hook != nullptr ? *adapted.hook : kPlain),
        lead_(adapted.lead),
        use_cache_(use_cache) {}

  /// Shapes: float32 [V], of the token after `ids`, which continue what was given before.
  Result<Tensor> Scores(std::span<const std::int32_t> ids) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    ASSIGN_OR_RETURN(const Tensor hidden, use_cache_ ? Extended(ids) : Anew());
    return base_.LanguageLogits(hidden, hook_).to(torch::kFloat32).flatten().contiguous();
  }

  bool IsFull() const { return lead_.positions() + static_cast<std::int64_t>(ids_.size()) >= base_.limits().length; }

 private:
  /// Both: [1, C], the last token's.
  Result<Tensor> Extended(std::span<const std::int32_t> ids) {
    ASSIGN_OR_RETURN(const PackedBatch next, PackNext(ids, cache_.length(), base_.limits(), lead_));
    const Tensor hidden = base_.Extend(next, hook_, cache_);
    return hidden.narrow(0, hidden.size(0) - 1, 1);
  }
  Result<Tensor> Anew() const {
    ASSIGN_OR_RETURN(const PackedBatch batch, PackNext(ids_, /*before=*/0, base_.limits(), lead_));
    return base_.Pool(batch, hook_, {});
  }

  const BaseModel& base_;
  static inline const SiteHook kPlain;
  const SiteHook& hook_;
  Lead lead_;
  bool use_cache_;
  KeyValueCache cache_;
  std::vector<std::int32_t> ids_;
};

Status CheckPrompt(std::span<const std::int32_t> prompt, std::int64_t longest) {
  const auto length = static_cast<std::int64_t>(prompt.size());
  if (length >= 1 && length <= longest) return OkStatus();
  return InvalidArgument("prompt: has " + std::to_string(length) + " tokens, want 1 to " + std::to_string(longest) +
                         ", for which the base has positions");
}

Result<Generated> Run(Continuation text, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                      const OnToken& on_token) {
  Sampler sampler(options.sampling, options.seed);
  Generated out;
  std::span<const std::int32_t> added = prompt;
  while (true) {
    ASSIGN_OR_RETURN(const Tensor scores, text.Scores(added));
    ASSIGN_OR_RETURN(const std::int32_t id,
                     sampler.Next({scores.const_data_ptr<float>(), static_cast<std::size_t>(scores.numel())}));
    out.ids.push_back(id);
    const bool go_on = !on_token || on_token(id);
    const auto stop = [&](StopReason reason) {
      out.reason = reason;
      return out;
    };
    if (std::ranges::find(options.end_ids, id) != options.end_ids.end()) return stop(StopReason::kEndOfText);
    if (!go_on) return stop(StopReason::kCancelled);
    if (static_cast<std::int64_t>(out.ids.size()) >= options.max_new_tokens) return stop(StopReason::kMaxNewTokens);
    if (text.IsFull()) return stop(StopReason::kPositionLimit);
    added = std::span(out.ids).last(1);
  }
}

}  // namespace

const char* StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText:
      return "end of text";
    case StopReason::kMaxNewTokens:
      return "max new tokens";
    case StopReason::kPositionLimit:
      return "position limit";
    case StopReason::kCancelled:
      return "cancelled";
  }
  FEDPEFT_CHECK(false);
}

Status CheckGenerates(const BaseModel& base) {
  const std::string& type = base.shape().model_type;
  if (!base.causal()) {
    return FailedPrecondition("base: is an encoder (" + type + "), which cannot continue a text; want a decoder");
  }
  if (base.has_language_head()) return OkStatus();
  return FailedPrecondition("base: this " + type + " folder has no language-model head (lm_head.weight, or " +
                            "tie_word_embeddings in config.json); want one that was saved with it");
}

Result<Generated> Generate(const BaseModel& base, const Adapted& adapted, std::span<const std::int32_t> prompt,
                           const GenerateOptions& options, const OnToken& on_token) {
  RETURN_IF_ERROR(CheckGenerates(base));
  RETURN_IF_ERROR(CheckSampling(options.sampling));
  RETURN_IF_ERROR(CheckPrompt(prompt, base.limits().length - adapted.lead.positions()));
  if (options.max_new_tokens < 1) {
    return InvalidArgument("max_new_tokens: got " + std::to_string(options.max_new_tokens) + ", want at least 1");
  }
  const c10::InferenceMode no_grad;
  try {
    return Run(Continuation(base, adapted, options.use_cache), prompt, options, on_token);
  } catch (const std::exception& error) {
    return Internal(std::string("generate: LibTorch failed: ") + error.what());
  }
}

}  // namespace fedpeft
