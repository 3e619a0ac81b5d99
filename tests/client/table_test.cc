#include "client/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedpeft::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Table Parse(std::string_view text, TableFormat format, const std::vector<std::string>& header = {}) {
  Result<Table> table = ParseTable("f", text, format, header);
  EXPECT_TRUE(table.ok()) << table.status().ToString();
  return table.ok() ? *table : Table{};
}

TEST(TableTest, CsvQuotesCommasAndLineBreaks) {
  const Table table = Parse("text,label\r\n\"a, \"\"b\"\"\nc\",x\r\nplain,\"y\"\n", TableFormat::kCsv);
  EXPECT_THAT(table.columns, ElementsAre("text", "label"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("a, \"b\"\nc", "x"), ElementsAre("plain", "y")));
}

TEST(TableTest, CsvSkipsByteOrderMarkAndEmptyLines) {
  const Table table = Parse("\xEF\xBB\xBFtext,label\n\na,b\n\n", TableFormat::kCsv);
  EXPECT_THAT(table.columns, ElementsAre("text", "label"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("a", "b")));
}

TEST(TableTest, TsvTakesQuotesLiterally) {
  const Table table = Parse("\"hello\" there\t1\n", TableFormat::kTsv, {"text", "label"});
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("\"hello\" there", "1")));
}

TEST(TableTest, JsonLinesWriteNumbersAsTheyAre) {
  const Table table =
      Parse("{\"text\":\"a\",\"label\":3}\n\n{\"label\":\"x\",\"text\":\"b\",\"more\":[]}\n", TableFormat::kJsonLines);
  EXPECT_THAT(table.columns, ElementsAre("label", "text"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("3", "a"), ElementsAre("x", "b")));
}

TEST(TableTest, PlainTextHasARowALine) {
  const Table table = Parse("\xEF\xBB\xBFone, \"two\"\r\n\n \t\nthree", TableFormat::kText);
  EXPECT_THAT(table.columns, ElementsAre("text"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre("one, \"two\""), ElementsAre("three")));
}

struct Reject {
  const char* text;
  TableFormat format;
  const char* message;
};

TEST(TableTest, RejectsNameTheLine) {
  const Reject cases[] = {
      {"", TableFormat::kCsv, "no rows"},
      {"a,b\n", TableFormat::kCsv, "no rows"},
      {"a,a\n1,2\n", TableFormat::kCsv, "f:1: column \"a\" appears twice"},
      {"a,\n1,2\n", TableFormat::kCsv, "f:1: column 2 has no name"},
      {"a,b\n\"x\ny\",1\n1,2,3\n", TableFormat::kCsv, "f:4: has 3 fields, want 2"},
      {"a,b\n\"x\"y,1\n", TableFormat::kCsv, "f:2: text after a closing quote"},
      {"a,b\n1,2\n\"x,1\n", TableFormat::kCsv, "f:3: a quoted field is not closed"},
      {"{\"a\":1}\n[]\n", TableFormat::kJsonLines, "f:2: is not a JSON object"},
      {"{\"a\":1}\n{\"b\":1}\n", TableFormat::kJsonLines, "f:2: has no key \"a\""},
      {"{\"a\":{}}\n", TableFormat::kJsonLines, "f:1: key \"a\": want text"},
  };
  for (const Reject& reject : cases) {
    const Result<Table> table = ParseTable("f", reject.text, reject.format);
    ASSERT_FALSE(table.ok()) << reject.text;
    EXPECT_THAT(table.status().message(), HasSubstr(reject.message)) << reject.text;
  }
}

TEST(TableTest, FormatIsToldByTheEnding) {
  EXPECT_EQ(*FormatOfPath("a/b.tsv"), TableFormat::kTsv);
  EXPECT_EQ(*FormatOfPath("b.jsonl"), TableFormat::kJsonLines);
  EXPECT_FALSE(FormatOfPath("b.xlsx").ok());
}

}  // namespace
}  // namespace fedpeft::client
