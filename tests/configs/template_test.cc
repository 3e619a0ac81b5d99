#include "configs/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedpeft {
namespace {

using ::testing::HasSubstr;

/// Columns in brackets.
std::string Shown(std::string_view text) {
  const Result<TextTemplate> parsed = TextTemplate::Parse(text);
  if (!parsed.ok()) return "error";
  std::string shown;
  for (const TextTemplate::Piece& piece : parsed->pieces())
    shown += piece.is_column ? "[" + piece.text + "]" : piece.text;
  return shown;
}

TEST(TextTemplateTest, FieldsAreColumnsAndDoubledBracesAreBraces) {
  EXPECT_EQ(Shown(""), "");
  EXPECT_EQ(Shown("Q: {question}\nA:"), "Q: [question]\nA:");
  EXPECT_EQ(Shown("{a}{b c}"), "[a][b c]");
  EXPECT_EQ(Shown("{{x}} {a} }}{{"), "{x} [a] }{");
  EXPECT_EQ(Shown("{{{a}}}"), "{[a]}");
}

TEST(TextTemplateTest, SaysWhereABraceIsOdd) {
  for (const char* text : {"ab{", "ab}", "ab{x", "ab{}", "ab{x{y}", "ab}x}"}) {
    const Result<TextTemplate> parsed = TextTemplate::Parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(parsed.status().message(), HasSubstr("odd brace at byte 3")) << text;
  }
}

}  // namespace
}  // namespace fedpeft
