// Against ids recorded from the `tokenizers` package (scripts/make_tokenizer_golden.py).
#include <gtest/gtest.h>

#include <thread>

#include "tests/text/tokenizer_support.h"

namespace fedpeft {
namespace {

using nlohmann::json;
using testing::FromHex;
using testing::GoldenJson;
using testing::GoldenPath;
using Ids = std::vector<std::int32_t>;

/// Names of a tokenizer and of what is expected of it.
using Golden = std::pair<std::string, std::string>;

class TokenizerGoldenTest : public ::testing::TestWithParam<Golden> {
 protected:
  const Tokenizer tokenizer_ = *Tokenizer::FromFile(GoldenPath(GetParam().first + ".json"));
  const json cases_ = GoldenJson(GetParam().second + ".json")["cases"];
};

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerGoldenTest,
                         ::testing::Values(Golden("tokenizer", "expected"), Golden("roberta", "roberta_expected"),
                                           Golden("llama3", "llama3_expected"), Golden("llama2", "llama2_expected")),
                         [](const auto& kind) { return kind.param.first; });

TEST_P(TokenizerGoldenTest, SingleTextsAndPairsHaveTheRecordedIds) {
  ASSERT_GT(cases_.size(), 50u);
  for (const json& row : cases_) {
    const std::string text = FromHex(row["hex"].get<std::string>());
    const std::string other = FromHex(row["other_hex"].get<std::string>());
    EXPECT_EQ(testing::IdsOf(tokenizer_, text), row["ids"].get<Ids>()) << row["hex"];
    const auto pair = tokenizer_.EncodePair(text, other, {.want_special_mask = true});
    ASSERT_TRUE(pair.ok());
    EXPECT_EQ(pair->ids, row["pair_ids"].get<Ids>()) << row["hex"];
    EXPECT_EQ(pair->type_ids, row["pair_type_ids"].get<Ids>()) << row["hex"];
    EXPECT_EQ(pair->special_mask, row["pair_special"].get<std::vector<std::uint8_t>>()) << row["hex"];
  }
}

TEST_P(TokenizerGoldenTest, TruncationGivesTheRecordedIds) {
  for (const json& row : cases_) {
    const std::string text = FromHex(row["hex"].get<std::string>());
    const std::string other = FromHex(row["other_hex"].get<std::string>());
    for (const auto& cut : row["cut"].items()) {
      const EncodeOptions options{.max_length = std::stoul(cut.key())};
      EXPECT_EQ(tokenizer_.Encode(text, options)->ids, cut.value()[0].get<Ids>()) << row["hex"] << cut.key();
      EXPECT_EQ(tokenizer_.EncodePair(text, other, options)->ids, cut.value()[1].get<Ids>()) << row["hex"] << cut.key();
    }
  }
}

TEST_P(TokenizerGoldenTest, DecodingGivesTheRecordedText) {
  for (const json& row : cases_) {
    const auto ids = row["ids"].get<Ids>();
    EXPECT_EQ(tokenizer_.Decode(ids), row["decoded"].get<std::string>()) << row["hex"];
    EXPECT_EQ(tokenizer_.Decode(ids, /*skip_special_tokens=*/false), row["decoded_special"].get<std::string>());
  }
}

TEST_P(TokenizerGoldenTest, ThreadsShareOneTokenizer) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      for (const json& row : cases_) {
        EXPECT_EQ(testing::IdsOf(tokenizer_, FromHex(row["hex"].get<std::string>())), row["ids"].get<Ids>());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace fedpeft
