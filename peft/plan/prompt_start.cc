#include "peft/plan/prompt_start.h"

#include "peft/core/random.h"

namespace fedpeft {

namespace {

using Start = PromptConfig::Start;

void Draw(std::int64_t vocabulary, PromptConfig& prompt) {
  RandomStream stream(prompt.seed, "prompt vocabulary");
  prompt.ids.clear();
  for (std::int64_t i = 0; i < prompt.length; ++i) {
    prompt.ids.push_back(static_cast<std::int32_t>(stream.NextBelow(static_cast<std::uint64_t>(vocabulary))));
  }
}

Status Tokenise(const Tokenizer& tokenizer, std::int64_t vocabulary, PromptConfig& prompt) {
  ASSIGN_OR_RETURN(const Encoding encoded, tokenizer.Encode(prompt.text));
  if (encoded.ids.empty()) {
    return InvalidArgument("peft.prompt.init_text: gives no tokens, want a text that the base's tokenizer splits");
  }
  for (const std::int32_t id : encoded.ids) {
    if (id >= vocabulary) {
      return InvalidArgument("peft.prompt.init_text: has token id " + std::to_string(id) + ", want below " +
                             std::to_string(vocabulary) + " (the tokenizer belongs to another base)");
    }
  }
  prompt.ids.clear();
  for (std::size_t i = 0; i < static_cast<std::size_t>(prompt.length); ++i) {
    prompt.ids.push_back(encoded.ids[i % encoded.ids.size()]);
  }
  return OkStatus();
}

}  // namespace

Status ResolvePrompt(const Tokenizer& tokenizer, PeftPlan& plan) {
  auto* prompt = std::get_if<PromptConfig>(&plan.method);
  if (prompt == nullptr) return OkStatus();
  if (prompt->start == Start::kText) return Tokenise(tokenizer, plan.base.vocab_size, *prompt);
  if (prompt->start == Start::kVocabulary) Draw(plan.base.vocab_size, *prompt);
  return OkStatus();
}

Status ResolvePrompt(const ModelFolder& base, const Digest& hash, PeftPlan& plan) {
  auto* prompt = std::get_if<PromptConfig>(&plan.method);
  if (prompt == nullptr) return OkStatus();
  if (prompt->start == Start::kVocabulary) Draw(plan.base.vocab_size, *prompt);
  if (prompt->start != Start::kText) return OkStatus();
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromFile(base.TokenizerPath()));
  if (tokenizer.hash() != hash && hash != Digest{}) {
    return FailedPrecondition(base.TokenizerPath() + ": hashes to " + Hex(tokenizer.hash()) + ", want the run's " +
                              Hex(hash) + " (use the run's tokenizer.json)");
  }
  return Tokenise(tokenizer, plan.base.vocab_size, *prompt);
}

}  // namespace fedpeft
