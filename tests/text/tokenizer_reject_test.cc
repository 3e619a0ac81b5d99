// Hostile and unknown tokenizer.json: an error that names the thing, never a crash, never a guess.
#include <gtest/gtest.h>

#include "peft/core/random.h"
#include "tests/support/mutate.h"
#include "tests/text/tokenizer_support.h"

namespace fedpeft {
namespace {

using nlohmann::json;
using testing::GoldenJson;
using testing::TinyJson;

Status Load(const json& document) {
  return Tokenizer::FromJson(document.dump()).status();
}

TEST(TokenizerRejectTest, UnknownStagesAndSettingsAreNamed) {
  const struct {
    const char* at;  // JSON pointer
    json value;
    const char* named;
  } rows[] = {
      {"/normalizer", {{"type", "Append"}}, "Append"},
      {"/pre_tokenizer", {{"type", "UnicodeScripts"}}, "UnicodeScripts"},
      {"/model/type", "WordLevel", "WordLevel"},
      {"/post_processor/type", "ChatTemplate", "ChatTemplate"},
      {"/decoder", {{"type", "CTC"}}, "CTC"},
      {"/normalizer/strip_digits", true, "strip_digits"},
      {"/pre_tokenizer/split", true, "split"},
      {"/model/dropout", 0.1, "dropout"},
      {"/decoder/trim", true, "trim"},
      {"/added_tokens/0/color", "red", "color"},
      {"/extra", 1, "extra"},
  };
  for (const auto& row : rows) {
    json document = GoldenJson();
    document[json::json_pointer(row.at)] = row.value;
    const Status status = Load(document);
    EXPECT_EQ(status.code(), Code::kUnimplemented) << row.at << ": " << status.ToString();
    EXPECT_NE(status.message().find(row.named), std::string::npos) << status.ToString();
  }
}

TEST(TokenizerRejectTest, WrongValuesAreRefused) {
  const struct {
    const char* at;
    json value;
  } rows[] = {
      {"/model", nullptr},
      {"/model/type", 3},
      {"/model/vocab", json::array()},
      {"/model/vocab", json::object()},
      {"/model/vocab/hello", -1},
      {"/model/vocab/hello", 1.5},
      {"/model/vocab/hello", "7"},
      {"/model/vocab/hello", 1 << 24},
      {"/model/vocab/hello", std::uint64_t{1} << 63},
      {"/model/vocab/hello", 0},  // [PAD]'s
      {"/model/unk_token", "nowhere"},
      {"/model/max_input_chars_per_word", -1},
      {"/model/max_input_chars_per_word", std::uint64_t{1} << 63},
      {"/model/continuing_subword_prefix", nullptr},
      {"/normalizer/lowercase", "yes"},
      {"/normalizer/lowercase", nullptr},
      {"/normalizer/strip_accents", 1},
      {"/normalizer", json::array()},
      {"/pre_tokenizer", "BertPreTokenizer"},
      {"/added_tokens", json::object()},
      {"/added_tokens/0/content", 5},
      {"/added_tokens/0/id", 3.5},
      {"/post_processor/single/1/Sequence/id", "B"},
      {"/post_processor/single/1/Sequence/id", "C"},
      {"/post_processor/single/0/SpecialToken/id", "[BOS]"},
      {"/post_processor/single/0/SpecialToken/type_id", -1},
      {"/post_processor/single/0", json::object()},
      {"/post_processor/pair", json::array()},
      {"/post_processor/special_tokens/[CLS]/ids/0", 77},
      {"/post_processor/special_tokens/[CLS]/ids", json::array()},
      {"/post_processor/special_tokens", json::array()},
      {"/decoder/cleanup", 0},
  };
  for (const auto& row : rows) {
    json document = GoldenJson();
    document[json::json_pointer(row.at)] = row.value;
    const Status status = Load(document);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << row.at << " = " << row.value << ": " << status.ToString();
  }
}

TEST(TokenizerRejectTest, DuplicateKeysAndDeepNestingAreRefused) {
  std::string twice = TinyJson().dump();
  twice.replace(twice.find("\"a\":1"), 5, "\"a\":1,\"a\":2");
  EXPECT_NE(Tokenizer::FromJson(twice).status().message().find("\"a\""), std::string::npos);
  EXPECT_EQ(Tokenizer::FromJson(std::string(1 << 20, '[')).status().code(), Code::kInvalidArgument);
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_EQ(Tokenizer::FromJson("{\"padding\":" + deep + "}").status().code(), Code::kInvalidArgument);
}

TEST(TokenizerRejectTest, TruncationAtEveryByteIsAnError) {
  const std::string content = GoldenJson().dump();
  for (std::size_t size = 0; size < content.size(); ++size) {
    EXPECT_FALSE(Tokenizer::FromJson(std::string_view(content).substr(0, size)).ok()) << size;
  }
}

// Whatever still loads must also encode and decode.
TEST(TokenizerRejectTest, MutationsNeverCrash) {
  const std::string content = GoldenJson().dump();
  RandomStream random(20240607, "tokenizer mutations");
  int loaded = 0;
  for (int i = 0; i < 10000; ++i) {
    Bytes mutated(content.begin(), content.end());
    testing::Mutate(random, mutated);
    const auto tokenizer = Tokenizer::FromJson(AsText(mutated));
    if (!tokenizer.ok()) continue;
    ++loaded;
    const auto encoding = tokenizer->EncodePair("hello W\xC3\xB6rld [MASK]", "un\xFFglued <ent>");
    ASSERT_TRUE(encoding.ok());
    tokenizer->Decode(encoding->ids);
  }
  EXPECT_GT(loaded, 0) << "no mutation was harmless: the test has lost its teeth";
}

}  // namespace
}  // namespace fedpeft
