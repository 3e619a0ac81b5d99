// Prefix and prompt: what stands in front of every sequence.
#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"
#include "peft/plan/token_encoder.h"

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

/// Of the vectors that go into an encoder. A step of AdamW moves what comes out in proportion to what goes in: large
/// keys drown the text, so that a prefix starts small, like the base's embeddings, while a prompt, which a norm follows
/// or a stream takes up, learns the faster from torch's own law of such a table. Measured on MiniLM with 1,600 of
/// WordNet's glosses, three epochs: of a prefix 60% right at 0.02 and 12%, the largest class, at 1 (learning rate
/// 0.003); of a prompt 50% and 64% (0.01).
constexpr double kPrefixVectorsStd = 0.02, kPromptVectorsStd = 1;

/// What the encoder is made of, at the site where its output goes; linears as torch's.
std::vector<TensorSpec> EncoderTensors(const TokenMlp& mlp, std::int64_t length, double std, const std::string& site) {
  std::vector<TensorSpec> tensors = {
      {mlp.vectors, {length, mlp.linears.front().in}, Role::kEncoder, site, {InitLaw::Kind::kNormal, std}}};
  for (const TokenMlp::Linear& linear : mlp.linears) {
    tensors.push_back({linear.name + ".weight", {linear.out, linear.in}, Role::kEncoder, site, KaimingLaw(linear.in)});
    tensors.push_back({linear.name + ".bias", {linear.out}, Role::kEncoder, site, KaimingLaw(linear.in)});
  }
  return tensors;
}

Status CheckEncoderSize(const char* key, std::int64_t size) {
  if (size >= 0) return OkStatus();
  return InvalidArgument(std::string(key) + ": got " + std::to_string(size) + ", want at least 0");
}

/// A start from the base's vectors travels as what is added to them.
Result<std::vector<TensorSpec>> OffsetTensors(const PlanContext& at, const PromptConfig& prompt) {
  if (prompt.encoder != TokenEncoder::kNone) {
    return InvalidArgument(
        "peft.prompt.encoder: got mlp with a start from the base's tokens, want none (or peft.prompt.init: random)");
  }
  return std::vector<TensorSpec>{{"prompt_embeddings",
                                  {prompt.length, at.base.hidden_size},
                                  Role::kPromptOffset,
                                  at.sites.tables.front().path,
                                  {}}};
}

}  // namespace

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const PrefixConfig& prefix) {
  RETURN_IF_ERROR(CheckLength("peft.prefix.length", prefix.length, at.base));
  RETURN_IF_ERROR(CheckEncoderSize("peft.prefix.encoder_size", prefix.encoder_size));
  const std::string& site = at.sites.attentions.front().path;
  if (const auto mlp = TokenMlpOf(at.base, prefix)) return EncoderTensors(*mlp, prefix.length, kPrefixVectorsStd, site);
  // Layer after layer, keys and then values, of all heads.
  const std::int64_t width = at.base.num_hidden_layers * 2 * at.base.kv_heads() * at.base.head_width();
  return std::vector{Embeddings(prefix.length, width, Role::kPrefix, site)};
}

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const PromptConfig& prompt) {
  RETURN_IF_ERROR(CheckLength("peft.prompt.length", prompt.length, at.base));
  RETURN_IF_ERROR(CheckEncoderSize("peft.prompt.encoder_size", prompt.encoder_size));
  if (prompt.start != PromptConfig::Start::kRandom) return OffsetTensors(at, prompt);
  if (const auto mlp = TokenMlpOf(at.base, prompt)) {
    return EncoderTensors(*mlp, prompt.length, kPromptVectorsStd, at.sites.tables.front().path);
  }
  return std::vector{Embeddings(prompt.length, at.base.hidden_size, Role::kPrompt, at.sites.tables.front().path)};
}

}  // namespace fedpeft
