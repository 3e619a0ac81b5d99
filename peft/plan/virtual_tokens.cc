// Prefix and prompt: what stands in front of every sequence.
#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

/// The standard deviation of transformers' embeddings, and with it of keys and values.
constexpr double kStd = 0.02;

Status CheckLength(const char* key, std::int64_t length, const BaseShape& base) {
  if (length >= 1 && length < base.longest()) return OkStatus();
  return InvalidArgument(std::string(key) + ": got " + std::to_string(length) + ", want 1 to " +
                         std::to_string(base.longest() - 1) + ", fewer than the base has positions");
}

TensorSpec Embeddings(std::int64_t length, std::int64_t width, Role role, const std::string& site) {
  return {"prompt_embeddings", {length, width}, role, site, {InitLaw::Kind::kNormal, kStd}};
}

}  // namespace

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const PrefixConfig& prefix) {
  RETURN_IF_ERROR(CheckLength("peft.prefix.length", prefix.length, at.base));
  // Layer after layer, keys and then values, of all heads.
  const std::int64_t width = at.base.num_hidden_layers * 2 * at.base.kv_heads() * at.base.head_width();
  return std::vector{Embeddings(prefix.length, width, Role::kPrefix, at.sites.attentions.front().path)};
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const PromptConfig& prompt) {
  RETURN_IF_ERROR(CheckLength("peft.prompt.length", prompt.length, at.base));
  return std::vector{Embeddings(prompt.length, at.base.hidden_size, Role::kPrompt, at.sites.tables.front().path)};
}

}  // namespace fedpeft
