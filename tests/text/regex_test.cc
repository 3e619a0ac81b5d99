#include "peft/text/regex.h"

#include <gtest/gtest.h>

namespace fedpeft::text {
namespace {

/// The pieces, matches in brackets.
std::string Cut(std::string_view pattern, std::string_view text) {
  const Result<Regex> regex = Regex::Compile(pattern);
  if (!regex.ok()) return regex.status().ToString();
  std::vector<Span> spans;
  EXPECT_TRUE(regex->Cut(text, spans).ok());
  std::string out;
  for (const Span& span : spans) {
    const std::string piece(text.substr(span.start, span.end - span.start));
    out += span.is_match ? "[" + piece + "]" : piece;
  }
  return out;
}

// Expected: pre_tokenizers.Split(Regex(pattern), …) of the `tokenizers` package.
TEST(RegexTest, FindsWhatOnigurumaFinds) {
  const struct {
    const char* pattern;
    const char* text;
    const char* want;
  } rows[] = {
      {R"(\s+)",
       "a \xC2\x85\xE3\x80\x80"
       "b\xE1\xA0\x8E"
       "c",
       "a[ \xC2\x85\xE3\x80\x80]b\xE1\xA0\x8E"
       "c"},
      {R"(\p{L}+)", "a\xC3\xA9\xE4\xBD\xA0 1\xF0\x9E\x97\xBF", "[a\xC3\xA9\xE4\xBD\xA0] 1\xF0\x9E\x97\xBF"},
      {R"([^\s\p{L}\p{N}]+)", "a...\xE2\x82\xAC 5", "a[...\xE2\x82\xAC] 5"},
      {R"(\p{N}{1,3})", "12345", "[123][45]"},
      {R"((?i:'s|'k))", "'S'\xC5\xBF'\xE2\x84\xAA'x", "['S]['\xC5\xBF]['\xE2\x84\xAA]'x"},
      {R"(\s+(?!\S)|\s+)", "a   b", "a[  ][ ]b"},
      {R"(^a|b$)", "ab\nab", "[a][b]\n[a][b]"},
      {R"(a.c)", "a\nc a\rc", "a\nc [a\rc]"},
      {R"([\x{4e00}-\x{9fff}]+)", "x\xE4\xBD\xA0\xE5\xA5\xBDy\xE3\x81\x82", "x[\xE4\xBD\xA0\xE5\xA5\xBD]y\xE3\x81\x82"},
      {R"(\u2581|[^\u2581a]+)",
       "a\xE2\x96\x81"
       "bc",
       "a[\xE2\x96\x81][bc]"},
      {R"(b*)", "abb", "[]a[bb]"},
      {R"(\v|\-)", "a\x0B-\x0C", "a[\x0B][-]\x0C"},
      {R"(a{,2}b)", "aaab", "a[aab]"},
  };
  for (const auto& row : rows) EXPECT_EQ(Cut(row.pattern, row.text), row.want) << row.pattern;
}

TEST(RegexTest, WhatWouldMeanSomethingElseIsRefusedByName) {
  for (const char* pattern : {R"(\w+)", R"(\b)", R"(\h)", R"(\p{Han})", "(?i)a", "(?<n>a)", "[a[b]]", "[a&&b]",
                              "a{1,2}+", R"(\1)", R"(\X)", "(?i:\xC3\xA9)", "[[:alpha:]]", "{"}) {
    EXPECT_EQ(Regex::Compile(pattern).status().code(), Code::kUnimplemented) << pattern;
  }
  for (const char* pattern : {"(", ")", "[a", "[]", "\\", R"(\p{L)", R"(\x{110000})", R"(\u12)", "[b-a]", "*a"}) {
    EXPECT_EQ(Regex::Compile(pattern).status().code(), Code::kInvalidArgument) << pattern;
  }
  EXPECT_EQ(Regex::Compile(std::string(70000, 'a')).status().code(), Code::kInvalidArgument);
}

TEST(RegexTest, BacktrackingWithoutEndIsAnError) {
  const Regex regex = *Regex::Compile("(?:a|aa|a)+c");
  std::vector<Span> spans;
  EXPECT_EQ(regex.Cut(std::string(200, 'a') + "\nc", spans).code(), Code::kResourceExhausted);
}

}  // namespace
}  // namespace fedpeft::text
