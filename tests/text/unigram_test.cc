#include <gtest/gtest.h>

#include "peft/text/graphemes.h"
#include "tests/text/tokenizer_support.h"

namespace fedpeft {
namespace {

using nlohmann::json;
using testing::IdsOf;
using testing::Make;
using Ids = std::vector<std::int32_t>;

json Piece(const char* token, double score) {
  return json::array({token, score});
}

/// The example of the package's documentation.
json Model(const json& changes = json::object()) {
  json model = {{"type", "Unigram"},
                {"unk_id", 0},
                {"vocab", json::array({Piece("<unk>", 0), Piece("a", 0), Piece("b", 0), Piece("c", 0), Piece("d", 0),
                                       Piece("cd", 1), Piece("ab", 2), Piece("abc", 5), Piece("abcd", 10)})}};
  model.update(changes);
  return {{"model", model}};
}

TEST(UnigramTest, TakesTheBestSumOfScores) {
  EXPECT_EQ(IdsOf(Make(Model()), "abcdacdxx"), (Ids{8, 1, 5, 0})) << "neighbouring unknown characters are one token";
  EXPECT_EQ(IdsOf(Make(Model()), "xax\xE2\x82\xAC"), (Ids{0, 1, 0}));
}

// The same scores in another order of pieces: `tokenizers`, which reads the file's digits with two roundings, finds
// sums that differ in the last bit.
TEST(UnigramTest, TiesAreDecidedByScoresAsTokenizersReadsThem) {
  const auto ids = [](double one, double two, std::size_t length) {
    const json vocabulary = json::array({Piece("<unk>", 0), Piece("-", one), Piece("--", two)});
    return IdsOf(Make(Model({{"vocab", vocabulary}})), std::string(length, '-'));
  };
  EXPECT_EQ(ids(-0.45746392006127756, -0.569992925457787, 5), (Ids{2, 2, 1}));
  EXPECT_EQ(ids(-3.510444644432181, -3.7428311210100125, 7), (Ids{1, 2, 2, 2}));
  EXPECT_EQ(ids(-1.5148490654821862, -1.9920465621612493, 7), (Ids{2, 2, 2, 1}));
  EXPECT_EQ(ids(-1, -1e300, 3), (Ids{1, 1, 1}));
  EXPECT_EQ(ids(-1e-300, -4.9406564584124654e-324, 3), (Ids{1, 2})) << "as small as they get";
}

TEST(UnigramTest, BytesStandInForUnknownPieces) {
  json model = Model({{"byte_fallback", true}});
  for (const char* token : {"<0x78>", "<0x79>"}) model["model"]["vocab"].push_back(Piece(token, -1));
  EXPECT_EQ(IdsOf(Make(model), "axya"), (Ids{1, 9, 10, 1}));
  EXPECT_EQ(IdsOf(Make(model), "axz"), (Ids{1, 0})) << "z has no byte token, so that the piece is unknown";
}

TEST(UnigramTest, WrongSettingsAreRefused) {
  for (const json& changes :
       {json{{"unk_id", nullptr}}, json{{"unk_id", 9}}, json{{"vocab", json::array()}}, json{{"vocab", json::object()}},
        json{{"vocab", json::array({Piece("a", 0), Piece("a", 1)})}}, json{{"vocab", json::array({Piece("", 0)})}},
        json{{"vocab", json::array({json::array({"a"})})}}, json{{"byte_fallback", 1}}}) {
    EXPECT_EQ(Tokenizer::FromJson(Model(changes).dump()).status().code(), Code::kInvalidArgument) << changes;
  }
  EXPECT_EQ(Tokenizer::FromJson(Model({{"alpha", 0.1}}).dump()).status().code(), Code::kUnimplemented);
}

TEST(UnigramTest, HashSeesAScore) {
  json other = Model();
  other["model"]["vocab"][8][1] = 9.5;
  EXPECT_NE(Make(Model()).hash(), Make(other).hash());
}

TEST(PrecompiledTest, TablesThatAreCutShortAreRefused) {
  for (const char* table : {"", "AAA", "AAAA", "!!!!", "BAAAAA==", "/////w=="}) {
    json document = Model();
    document["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", table}};
    EXPECT_EQ(Tokenizer::FromJson(document.dump()).status().code(), Code::kInvalidArgument) << table;
  }
}

// One unit, whose offset leads out of the array; then nothing is replaced.
TEST(PrecompiledTest, TrieThatPointsOutsideReplacesNothing) {
  json document = Model();
  document["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", "BAAAAP////8="}};
  EXPECT_EQ(IdsOf(Make(document), "abcd"), (Ids{8}));
}

TEST(GraphemesTest, ClustersEndWhereTheStandardSays) {
  const struct {
    const char* text;
    std::size_t length;
  } rows[] = {
      {"ab", 1},
      {"\r\nx", 2},
      {"\n\r", 1},
      {"e\xCC\x81x", 3},                                        // a mark
      {"\n\xCC\x81", 1},                                        // no mark on a control character
      {"\xEA\xB0\x80\xE1\x86\xA8x", 6},                         // an open syllable and a trailing letter
      {"\xEA\xB0\x81\xE1\x85\xA1", 3},                          // a closed syllable and a vowel
      {"\xC2\xA9\xE2\x80\x8D\xC2\xA9", 7},                      // pictographs with a joiner
      {"a\xE2\x80\x8D\xC2\xA9", 4},                             // a letter with one
      {"\xF0\x9F\x87\xA6\xF0\x9F\x87\xA7\xF0\x9F\x87\xA8", 8},  // three regional indicators
      {"\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7", 9},              // a Devanagari conjunct
      {"\xE0\xA4\x95\xE0\xA4\xB7", 3},
      {"\xC2\xA0\xD7\x89", 2},  // a mark of Unicode 18, which tokenizers does not know
  };
  for (const auto& row : rows) EXPECT_EQ(text::GraphemeLength(row.text), row.length) << row.text;
}

}  // namespace
}  // namespace fedpeft
