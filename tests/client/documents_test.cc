#include "client/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/text/tokenizer.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_base.h"

namespace fedpeft::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class DocumentsTest : public ::testing::Test {
 protected:
  /// One token a word, and nothing around the text, as decoders have it.
  void SetUp() override {
    nlohmann::json json = testing::TinyTokenizer();
    json.erase("post_processor");
    auto tokenizer = Tokenizer::FromJson(json.dump());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
    tokenizer_.emplace(std::move(*tokenizer));
    problem_.type = ProblemType::kLanguageModelling;
    problem_.max_length = 4;
    problem_.response = "{text}";
  }
  /// `count` different words from `first` on.
  static std::string Words(std::size_t first, std::size_t count) {
    std::string text;
    const std::vector<std::string> words = testing::TinyWords();
    for (std::size_t i = first; i < first + count; ++i) text += (i > first ? " " : "") + words[i];
    return text;
  }
  Result<std::vector<Example>> Make(std::vector<std::vector<std::string>> rows) const {
    return MakeDocuments(problem_, *tokenizer_, Table{{"text", "question"}, std::move(rows)});
  }
  static std::vector<std::pair<int, int>> Of(const Example& example) {
    std::vector<std::pair<int, int>> found;
    for (const Document& document : example.documents) found.emplace_back(document.length, document.prompt);
    return found;
  }

  std::optional<Tokenizer> tokenizer_;
  ProblemSpec problem_;
};

TEST_F(DocumentsTest, LongTextsAreCutSoThatEveryTokenButTheFirstIsPredictedOnce) {
  for (std::size_t words = 0; words <= 12; ++words) {
    const auto rows = Make({{Words(0, words), ""}});
    ASSERT_TRUE(rows.ok()) << rows.status().ToString();
    std::vector<std::int32_t> predicted;
    std::size_t at = 0;
    for (const Document& document : rows->front().documents) {
      EXPECT_LE(document.length, 4u);
      for (std::size_t i = 1; i < document.length; ++i) predicted.push_back(rows->front().ids[at + i]);
      at += document.length;
    }
    std::vector<std::int32_t> whole = tokenizer_->Encode(Words(0, words), {})->ids;
    ASSERT_EQ(whole.size(), words);
    if (!whole.empty()) whole.erase(whole.begin());
    EXPECT_EQ(predicted, whole) << words;
  }
}

TEST_F(DocumentsTest, ThePromptIsWhatBothEncodingsBeginWith) {
  problem_.prompt = "{question} noise1 ";
  problem_.max_length = 8;
  const auto rows = Make({{Words(3, 2), Words(0, 2)}, {Words(3, 9), Words(0, 1)}, {"", Words(0, 2)}});
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  EXPECT_THAT(Of((*rows)[0]), ElementsAre(std::pair(5, 3)));
  EXPECT_THAT(Of((*rows)[1]), ElementsAre(std::pair(8, 2)));
  EXPECT_TRUE((*rows)[2].documents.empty());
}

TEST_F(DocumentsTest, PromptsWithoutRoomForAResponseAreLeftOut) {
  problem_.prompt = "{question} ";
  const auto rows = Make({{"noise1", Words(0, 3)}, {"noise1", Words(0, 4)}, {"noise1", Words(0, 9)}});
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  EXPECT_THAT(Of((*rows)[0]), ElementsAre(std::pair(4, 3)));
  EXPECT_TRUE((*rows)[1].documents.empty());
  EXPECT_TRUE((*rows)[2].documents.empty());
}

TEST_F(DocumentsTest, SaysWhichColumnIsMissing) {
  problem_.prompt = "{answer}";
  EXPECT_THAT(Make({{"", ""}}).status().message(), HasSubstr("answer"));
}

// A token of the whole text may begin in the prompt and end in the response: it is learned.
TEST_F(DocumentsTest, ATokenAcrossTheEndOfThePromptIsLearned) {
  tokenizer_ = Tokenizer::FromJson(nlohmann::json{{"model",
                                                   {{"type", "BPE"},
                                                    {"vocab", {{"a", 0}, {"b", 1}, {"c", 2}, {"bc", 3}}},
                                                    {"merges", nlohmann::json::array({"b c"})}}}}
                                       .dump())
                   .value();
  problem_.prompt = "{question}";
  const auto rows = Make({{"ca", "ab"}, {"ba", "ab"}});
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  EXPECT_THAT((*rows)[0].ids, ElementsAre(0, 3, 0));
  EXPECT_THAT(Of((*rows)[0]), ElementsAre(std::pair(3, 1)));
  EXPECT_THAT(Of((*rows)[1]), ElementsAre(std::pair(4, 2)));
}

// What the tokenizer puts behind the prompt alone, it puts behind the whole text.
TEST_F(DocumentsTest, WhatEndsAPromptByItselfIsNotOfThePrompt) {
  tokenizer_ = Tokenizer::FromJson(testing::TinyTokenizer().dump()).value();
  problem_.prompt = "{question} ";
  problem_.max_length = 8;
  const auto rows = Make({{Words(3, 2), Words(0, 2)}});
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  EXPECT_THAT(Of(rows->front()), ElementsAre(std::pair(6, 3))) << "[CLS] and two words; two words and [SEP]";
}

TEST_F(DocumentsTest, APromptIsFilledWithoutTheResponsesColumns) {
  problem_.prompt = "{question}? ";
  problem_.response = "{answer}";
  const auto prompts = MakePrompts(problem_, Table{{"question"}, {{"who"}, {""}}});
  ASSERT_TRUE(prompts.ok()) << prompts.status().ToString();
  EXPECT_THAT(*prompts, ElementsAre("who? ", "? "));
  problem_.prompt.clear();
  EXPECT_THAT(MakePrompts(problem_, Table{{"question"}, {{"who"}}}).status().message(), HasSubstr("answer"));
  problem_.response = "So: {question}</s>";
  EXPECT_THAT(*MakePrompts(problem_, Table{{"question"}, {{"who"}}}), ElementsAre("So: who"))
      << "the end is not a prompt";
}

TEST_F(DocumentsTest, PackingKeepsOrderAndFillsExamples) {
  const auto rows = Make({{Words(0, 2), ""}, {Words(2, 2), ""}, {"", ""}, {Words(4, 3), ""}, {Words(7, 6), ""}});
  ASSERT_TRUE(rows.ok());
  const std::vector<Example> packed = PackDocuments(*rows, 8);
  ASSERT_EQ(packed.size(), 2u);
  EXPECT_THAT(Of(packed[0]), ElementsAre(std::pair(2, 0), std::pair(2, 0), std::pair(3, 0)));
  EXPECT_THAT(Of(packed[1]), ElementsAre(std::pair(4, 0), std::pair(3, 1)));
  EXPECT_EQ(packed[1].ids.size(), 7u);
  EXPECT_TRUE(PackDocuments({}, 8).empty());
}

}  // namespace
}  // namespace fedpeft::client
