#include "peft/text/utf8.h"

#include <gtest/gtest.h>

#include "tests/text/tokenizer_support.h"

namespace fedpeft::text {
namespace {

TEST(Utf8Test, EveryScalarValueComesBack) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    AppendUtf8(c, text);
    ASSERT_EQ(SequenceLength(text, 0), text.size()) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_TRUE(IsValidUtf8(text));
    std::size_t at = 0, end = text.size();
    ASSERT_TRUE(NextCodePoint(text, at) == c);
    ASSERT_EQ(at, text.size());
    ASSERT_TRUE(LastCodePoint(text, end) == c);
    ASSERT_EQ(end, 0u);
  }
}

// Expected: Python's bytes.decode(errors="replace") and Rust's from_utf8_lossy; R stands for U+FFFD.
TEST(Utf8Test, MaximalIllFormedPartsBecomeOneReplacement) {
  const struct {
    const char* hex;
    const char* want;
  } rows[] = {
      {"", ""},           {"80", "R"},       {"61ff62", "aRb"},       {"c3", "R"},
      {"61c328", "aR("},  {"c080", "RR"},    {"e282", "R"},           {"61e28262", "aRb"},
      {"e08080", "RRR"},  {"eda080", "RRR"}, {"edbfbf", "RRR"},       {"f09f98", "R"},
      {"f09f9861", "Ra"}, {"f08080", "RRR"}, {"f4908080", "RRRR"},    {"f5808080", "RRRR"},
      {"e282e282", "RR"}, {"f0f0f0", "RRR"}, {"c3a9c3", "\xC3\xA9R"},
  };
  for (const auto& row : rows) {
    std::string want(row.want);
    for (std::size_t at = want.find('R'); at != std::string::npos; at = want.find('R'))
      want.replace(at, 1, "\xEF\xBF\xBD");
    const std::string bytes = testing::FromHex(row.hex);
    EXPECT_EQ(ReplaceInvalidUtf8(bytes), want) << row.hex;
    EXPECT_EQ(IsValidUtf8(bytes), bytes == want) << row.hex;
  }
}

TEST(Utf8Test, CodePointsAreCounted) {
  EXPECT_EQ(CountCodePoints(""), 0u);
  EXPECT_EQ(CountCodePoints("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), 4u);
}

}  // namespace
}  // namespace fedpeft::text
