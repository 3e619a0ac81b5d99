#include "peft/text/added_tokens.h"

#include <gtest/gtest.h>

#include "tests/text/tokenizer_support.h"

namespace fedpeft {
namespace {

using nlohmann::json;
using testing::IdsOf;
using Ids = std::vector<std::int32_t>;

json Token(int id, const std::string& content, const json& on = json::object()) {
  json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  token.update(on);
  return token;
}

/// No pre-tokenizer: whatever is between added tokens is one word, here always the unknown token 0.
Tokenizer With(const json& tokens) {
  return testing::Make(testing::TinyJson({{"added_tokens", tokens}, {"pre_tokenizer", nullptr}}));
}

TEST(AddedTokensTest, LeftmostThenLongestMatches) {
  const Tokenizer tokenizer = With(json::array({Token(4, "xy"), Token(5, "xyz"), Token(6, "yzzz"), Token(7, "x")}));
  EXPECT_EQ(IdsOf(tokenizer, "xyzzz"), (Ids{5, 0})) << "xyz begins before yzzz";
  EXPECT_EQ(IdsOf(tokenizer, "xyyzzzx"), (Ids{4, 6, 7}));
  EXPECT_EQ(IdsOf(tokenizer, "q"), (Ids{0}));
}

TEST(AddedTokensTest, StripSwallowsUnicodeSpace) {
  const Tokenizer tokenizer =
      With(json::array({Token(4, "<l>", {{"lstrip", true}}), Token(5, "<r>", {{"rstrip", true}})}));
  EXPECT_EQ(IdsOf(tokenizer, " \xE3\x80\x80<l> "), (Ids{4, 0}))
      << "the ideographic space is gone, the last space stays";
  EXPECT_EQ(IdsOf(tokenizer, " <r> \n"), (Ids{0, 5}));
  EXPECT_EQ(IdsOf(tokenizer, "<r>  <l>"), (Ids{5, 4})) << "white space is swallowed once";
}

TEST(AddedTokensTest, SingleWordNeedsNoWordCharacterBeside) {
  const Tokenizer tokenizer = With(json::array({Token(4, "solo", {{"single_word", true}})}));
  EXPECT_EQ(IdsOf(tokenizer, "solo"), (Ids{4}));
  EXPECT_EQ(IdsOf(tokenizer, "-solo-"), (Ids{0, 4, 0}));
  for (const char* text : {"solo_", "asolo", "solo1", "\xC3\xA9solo", "solo\xCC\x81"}) {
    EXPECT_EQ(IdsOf(tokenizer, text), (Ids{0})) << text;
  }
}

TEST(AddedTokensTest, NormalizedTokensAreFoundInNormalizedText) {
  const json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", true},
                           {"strip_accents", nullptr},
                           {"lowercase", true}};
  const Tokenizer tokenizer =
      testing::Make(testing::TinyJson({{"added_tokens",
                                        {Token(4, "\xC3\x89T\xC3\x89", {{"normalized", true}}), Token(5, "RAW"),
                                         Token(6, "\xCC\x81", {{"normalized", true}})}},
                                       {"normalizer", normalizer}}));
  EXPECT_EQ(IdsOf(tokenizer, "ete \xC3\xA9T\xC3\xA9 ETE"), (Ids{4, 4, 4}));
  EXPECT_EQ(IdsOf(tokenizer, "RAW raw"), (Ids{5, 0}));
  EXPECT_EQ(IdsOf(tokenizer, "a\xCC\x81"), (Ids{1})) << "a token that normalises to nothing never matches";
  EXPECT_EQ(tokenizer.Decode(Ids{4, 5}), "ete RAW");
}

TEST(AddedTokensTest, RefusesIdsThePackageWouldChange) {
  const struct {
    json tokens;
    const char* message;
  } rows[] = {
      {json::array({Token(5, "new")}), "want 4"},
      {json::array({Token(1, "b")}), "want 2"},
      {json::array({Token(4, "x"), Token(4, "y")}), "want 5"},
      {json::array({Token(4, "x"), Token(4, "x")}), "want"},
      {json::array({Token(4, "")}), "content"},
      {json::array({Token(-1, "x")}), "id"},
      {json::array({Token(1 << 24, "x")}), "id"},
  };
  for (const auto& row : rows) {
    const auto tokenizer = Tokenizer::FromJson(testing::TinyJson({{"added_tokens", row.tokens}}).dump());
    EXPECT_EQ(tokenizer.status().code(), Code::kInvalidArgument) << row.tokens;
    EXPECT_NE(tokenizer.status().message().find(row.message), std::string::npos) << tokenizer.status().message();
  }
}

}  // namespace
}  // namespace fedpeft
