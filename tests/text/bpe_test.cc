#include <gtest/gtest.h>

#include "peft/core/random.h"
#include "peft/text/merges.h"
#include "tests/text/tokenizer_support.h"

namespace fedpeft {
namespace {

using nlohmann::json;
using testing::IdsOf;
using testing::Make;
using Ids = std::vector<std::int32_t>;

json Model(const json& changes = json::object()) {
  json model = {{"type", "BPE"},
                {"vocab",
                 {{"<unk>", 0},
                  {"a", 1},
                  {"b", 2},
                  {"ab", 3},
                  {"abab", 4},
                  {"<0xE2>", 5},
                  {"<0x82>", 6},
                  {"<0xAC>", 7},
                  {"\xE2\x96\x81", 8}}},
                {"merges", json::array({json::array({"a", "b"}), json::array({"ab", "ab"})})}};
  model.update(changes);
  return {{"model", model}};
}

TEST(BpeTest, MergesLowestRankThenLeftmost) {
  const Tokenizer tokenizer = Make(Model());
  EXPECT_EQ(IdsOf(tokenizer, "abab"), (Ids{4}));
  EXPECT_EQ(IdsOf(tokenizer, "ababab"), (Ids{4, 3}));
  EXPECT_EQ(IdsOf(tokenizer, "aab"), (Ids{1, 3}));
  EXPECT_EQ(IdsOf(tokenizer, "azb"), (Ids{3})) << "without an unknown token, unknown characters vanish";
}

TEST(BpeTest, MergesMayBeStrings) {
  EXPECT_EQ(IdsOf(Make(Model({{"merges", json::array({"#version: 0.2", "a b", "ab ab"})}})), "abab"), (Ids{4}));
}

TEST(BpeTest, UnknownCharactersAreFusedOrNot) {
  EXPECT_EQ(IdsOf(Make(Model({{"unk_token", "<unk>"}})), "zza"), (Ids{0, 0, 1}));
  EXPECT_EQ(IdsOf(Make(Model({{"unk_token", "<unk>"}, {"fuse_unk", true}})), "zza"), (Ids{0, 1}));
}

TEST(BpeTest, BytesStandInForUnknownCharacters) {
  const json on = {{"unk_token", "<unk>"}, {"fuse_unk", true}, {"byte_fallback", true}};
  EXPECT_EQ(IdsOf(Make(Model(on)), "a\xE2\x82\xAC"), (Ids{1, 5, 6, 7}));
  // A quirk of the package: the unknown token that waits comes behind the bytes.
  EXPECT_EQ(IdsOf(Make(Model(on)), "zz\xE2\x82\xAC"), (Ids{5, 6, 7, 0}));
}

TEST(BpeTest, PrefixAndSuffixSpellTheCharacters) {
  const json vocab = {{"a", 0}, {"##a", 1}, {"##a</w>", 2}, {"aa", 3}, {"a</w>", 4}};
  const json on = {{"vocab", vocab},
                   {"merges", json::array({json::array({"a", "##a"})})},
                   {"continuing_subword_prefix", "##"},
                   {"end_of_word_suffix", "</w>"}};
  EXPECT_EQ(IdsOf(Make(Model(on)), "aaa"), (Ids{3, 2}));
  EXPECT_EQ(IdsOf(Make(Model(on)), "a"), (Ids{4}));
}

TEST(BpeTest, IgnoreMergesTakesWholeWords) {
  const json vocab = {{"a", 0}, {"b", 1}, {"ab", 2}};
  const json model = {{"vocab", vocab}, {"merges", json::array()}};
  EXPECT_EQ(IdsOf(Make(Model(model)), "ab"), (Ids{0, 1}));
  json ignoring = model;
  ignoring["ignore_merges"] = true;
  EXPECT_EQ(IdsOf(Make(Model(ignoring)), "ab"), (Ids{2}));
}

TEST(BpeTest, WrongSettingsAreNamed) {
  const struct {
    json changes;
    Code code;
    const char* named;
  } rows[] = {
      {{{"dropout", 0.1}}, Code::kUnimplemented, "dropout"},
      {{{"unk_token", "?"}}, Code::kInvalidArgument, "?"},
      {{{"merges", json::array({"a z"})}}, Code::kInvalidArgument, "z"},
      {{{"merges", json::array({"b a"})}}, Code::kInvalidArgument, "ba"},
      {{{"merges", json::array({"a b c"})}}, Code::kInvalidArgument, "merges[0]"},
      {{{"merges", json::array({json::array({"a"})})}}, Code::kInvalidArgument, "merges[0]"},
      {{{"merges", 1}}, Code::kInvalidArgument, "merges"},
      {{{"fuse_unk", "yes"}}, Code::kInvalidArgument, "fuse_unk"},
      {{{"vocab", json::object()}}, Code::kInvalidArgument, "vocab"},
  };
  for (const auto& row : rows) {
    const Status status = Tokenizer::FromJson(Model(row.changes).dump()).status();
    EXPECT_EQ(status.code(), row.code) << status.ToString();
    EXPECT_NE(status.message().find(row.named), std::string::npos) << status.ToString();
  }
}

TEST(BpeTest, HashSeesAMerge) {
  EXPECT_NE(Make(Model()).hash(), Make(Model({{"merges", json::array({json::array({"a", "b"})})}})).hash());
}

// The two ways of merging, for short and for long words, must agree: a long word of pieces that cannot merge with each
// other is merged piece by piece.
TEST(MergesTest, LongWordsMergeAsShortOnes) {
  constexpr std::int32_t kSeparator = 1000;
  text::Merges merges(400);
  RandomStream random(7, "merges");
  for (std::uint32_t rank = 0; rank < 400; ++rank) {
    const auto left = static_cast<std::int32_t>(random.NextBelow(40)),
               right = static_cast<std::int32_t>(random.NextBelow(40));
    merges.Insert(left, right, {rank, static_cast<std::int32_t>(random.NextBelow(40))});
  }
  std::vector<std::int32_t> whole, by_piece;
  for (int piece = 0; piece < 200; ++piece) {
    std::vector<std::int32_t> symbols;
    for (std::uint64_t i = random.NextBelow(31); i > 0; --i) {
      symbols.push_back(static_cast<std::int32_t>(random.NextBelow(40)));
    }
    whole.insert(whole.end(), symbols.begin(), symbols.end());
    whole.push_back(kSeparator);
    merges.Apply(symbols);
    by_piece.insert(by_piece.end(), symbols.begin(), symbols.end());
    by_piece.push_back(kSeparator);
  }
  merges.Apply(whole);
  EXPECT_EQ(whole, by_piece);
}

}  // namespace
}  // namespace fedpeft
