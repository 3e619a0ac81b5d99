// Tokenizer: the bytes up to the first NUL are a tokenizer.json, the rest is text for it; and all of it is text for a
// fixed tokenizer.
#include <cstdint>
#include <string>
#include <string_view>

#include "peft/core/check.h"
#include "peft/text/tokenizer.h"

namespace {

constexpr std::string_view kFixed = R"({
  "added_tokens": [
    {"id": 4, "content": "<l>", "single_word": false, "lstrip": true, "rstrip": true, "normalized": false, "special": true},
    {"id": 5, "content": "Word", "single_word": true, "lstrip": false, "rstrip": true, "normalized": true, "special": false}
  ],
  "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                 "lowercase": true},
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "BertProcessing", "cls": ["a", 1], "sep": ["b", 2]},
  "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
  "model": {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 8,
            "vocab": {"?": 0, "a": 1, "b": 2, "##c": 3}}
})";

void Exercise(const fedpeft::Tokenizer& tokenizer, std::string_view text) {
  const std::string_view half = text.substr(0, text.size() / 2);
  for (const auto strategy :
       {fedpeft::text::TruncationStrategy::kLongestFirst, fedpeft::text::TruncationStrategy::kOnlyFirst}) {
    const fedpeft::EncodeOptions options{.max_length = 200, .truncation = strategy, .want_special_mask = true};
    const auto encoding = tokenizer.EncodePair(half, text, options);
    if (!encoding.ok()) continue;
    FEDPEFT_CHECK(encoding->ids.size() <= 200);
    FEDPEFT_CHECK(encoding->ids.size() == encoding->type_ids.size());
    FEDPEFT_CHECK(encoding->ids.size() == encoding->special_mask.size());
    for (std::int32_t id : encoding->ids) {
      FEDPEFT_CHECK(id >= 0 && static_cast<std::size_t>(id) < tokenizer.vocab_size());
    }
    tokenizer.Decode(encoding->ids);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fedpeft::Tokenizer fixed = *fedpeft::Tokenizer::FromJson(kFixed);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  Exercise(fixed, input);
  const std::size_t end = input.find('\0');
  const auto tokenizer = fedpeft::Tokenizer::FromJson(input.substr(0, end));
  if (tokenizer.ok()) Exercise(*tokenizer, end == std::string_view::npos ? input : input.substr(end + 1));
  return 0;
}
