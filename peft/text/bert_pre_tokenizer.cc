#include "peft/text/bert_pre_tokenizer.h"

#include "peft/text/unicode.h"
#include "peft/text/utf8.h"

namespace fedpeft::text {

Status BertPreTokenizer::Split(Words& words) const {
  std::vector<Words::Range> out;
  out.reserve(words.text.size() / 4 + 1);
  for (const Words::Range& range : words.ranges) {
    std::size_t start = range.start;  // of the word that is open
    const auto close = [&](std::size_t end) {
      if (start < end) out.push_back({start, end});
    };
    for (std::size_t at = range.start; at < range.end;) {
      const std::size_t before = at;
      const std::uint16_t properties = Properties(NextCodePoint(words.text, at));
      if ((properties & (kSpace | kPunctuation)) == 0) continue;
      close(before);
      if ((properties & kSpace) == 0) out.push_back({before, at});
      start = at;
    }
    close(range.end);
  }
  words.at_start = words.at_start && !out.empty() && out.front().start == words.ranges.front().start;
  words.ranges = std::move(out);
  return OkStatus();
}

}  // namespace fedpeft::text
