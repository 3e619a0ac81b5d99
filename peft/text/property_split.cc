#include "peft/text/property_split.h"

#include "peft/text/json_object.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

Result<std::unique_ptr<PreTokenizer>> PropertySplit::FromJson(const std::string& type, JsonObject& object) {
  Property property = kSpace;
  SplitBehavior behavior = SplitBehavior::kRemoved;
  if (type == "Digits") {
    property = kNumericValue;
    ASSIGN_OR_RETURN(const bool individual, object.Bool("individual_digits"));
    behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  } else if (type == "Punctuation") {
    property = kPunctuation;
    behavior = SplitBehavior::kIsolated;
    if (object.Optional("behavior") != nullptr) {
      ASSIGN_OR_RETURN(behavior, ReadSplitBehavior(object));
    }
  }
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<PreTokenizer>(std::make_unique<PropertySplit>(property, behavior));
}

Status PropertySplit::Split(Words& words) const {
  return CutWords(words, [this](std::string_view word, std::vector<Span>& spans) {
    std::size_t done = 0;
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t start = at;
      if (!HasProperty(NextCodePoint(word, at), property_)) continue;
      if (done < start) spans.push_back({done, start, false});
      spans.push_back({start, at, true});
      done = at;
    }
    if (done < word.size()) spans.push_back({done, word.size(), false});
    ApplySplitBehavior(behavior_, spans);
    return OkStatus();
  });
}

void PropertySplit::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Text("PropertySplit");
  fingerprint.Number(property_);
  fingerprint.Number(static_cast<std::uint64_t>(behavior_));
}

Result<std::unique_ptr<PreTokenizer>> WhitespacePreTokenizer::FromJson(JsonObject& object) {
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<PreTokenizer>(std::make_unique<WhitespacePreTokenizer>());
}

Status WhitespacePreTokenizer::Split(Words& words) const {
  return CutWords(words, [](std::string_view word, std::vector<Span>& spans) {
    std::size_t start = 0;
    int open = kSpace;  // what the characters from `start` on are: kWord, kSpace or neither (0)
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t before = at;
      const std::uint16_t properties = Properties(NextCodePoint(word, at));
      const int kind = (properties & kWord) != 0 ? kWord : properties & kSpace;
      if (kind == open) continue;
      if (open != kSpace) spans.push_back({start, before, true});
      open = kind;
      start = before;
    }
    if (open != kSpace) spans.push_back({start, word.size(), true});
    return OkStatus();
  });
}

}  // namespace fedpeft::text
