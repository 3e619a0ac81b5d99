// Tokenizer: the bytes up to the first NUL are a tokenizer.json, the rest is text for it; and all of it is text for
// fixed tokenizers of each kind.
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

// The stages of byte-fallback BPE and of byte-level BPE in one.
constexpr std::string_view kFixedBpe = R"({
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Nmt"}, {"type": "Strip", "strip_left":
                 true, "strip_right": true}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": "(?i:'s)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},
     "behavior": "Isolated", "invert": false},
    {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}]},
  "post_processor": {"type": "RobertaProcessing", "cls": ["a", 1], "sep": ["b", 2], "trim_offsets": true,
                     "add_prefix_space": true},
  "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
  "model": {"type": "BPE", "dropout": null, "unk_token": "?", "fuse_unk": true, "byte_fallback": true,
            "vocab": {"?": 0, "a": 1, "b": 2, "ab": 3, "aba": 4, "<0xC4>": 5, "<0xA0>": 6},
            "merges": [["a", "b"], "ab a"]}
})";

// A vocabulary with a score for each token, and words that begin with a mark.
constexpr std::string_view kFixedUnigram = R"({
  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Digits", "individual_digits": false}, {"type": "Punctuation", "behavior": "MergedWithPrevious"},
    {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": true}]},
  "decoder": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "split": true},
  "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": false,
            "vocab": [["?", -9], ["_", -2], ["a", -1], ["_a", -2.5], ["ab", -1.5], ["b", -3]]}
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
  static const fedpeft::Tokenizer fixed[] = {*fedpeft::Tokenizer::FromJson(kFixed),
                                             *fedpeft::Tokenizer::FromJson(kFixedBpe),
                                             *fedpeft::Tokenizer::FromJson(kFixedUnigram)};
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const fedpeft::Tokenizer& tokenizer : fixed) Exercise(tokenizer, input);
  const std::size_t end = input.find('\0');
  const auto tokenizer = fedpeft::Tokenizer::FromJson(input.substr(0, end));
  if (tokenizer.ok()) Exercise(*tokenizer, end == std::string_view::npos ? input : input.substr(end + 1));
  return 0;
}
