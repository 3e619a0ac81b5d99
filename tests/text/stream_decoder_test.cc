#include "peft/text/stream_decoder.h"

#include <cstdio>

#include "peft/core/random.h"
#include "peft/text/utf8.h"
#include "tests/text/tokenizer_support.h"

namespace fedpeft {
namespace {

using nlohmann::json;
using testing::IdsOf;
using testing::Make;
using text::StreamDecoder;
using Ids = std::vector<std::int32_t>;

constexpr std::string_view kText = "na\xC3\xAFve \xE2\x82\xAC\xE2\x82\xAC \xF0\x9F\x99\x82! \xEF\xBF\xBD.";

/// A token a byte, byte-level: 256 tokens in the order of the alphabet's characters, whatever bytes these are.
Tokenizer ByteLevel() {
  json vocab = json::object();
  for (char32_t c = 0x21; c < 0x144; ++c) {  // all characters of the alphabet, and some more
    std::string token;
    text::AppendUtf8(c, token);
    vocab[token] = vocab.size();
  }
  const json stage = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", true}};
  return Make({{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", json::array()}}},
               {"pre_tokenizer", stage},
               {"decoder", stage}});
}

/// As Llama 2's: a token a byte, and two words that begin with a space.
Tokenizer ByteFallback() {
  json vocab = {{"<unk>", 0}, {"\xE2\x96\x81", 1}, {"\xE2\x96\x81one", 2}, {"\xE2\x96\x81two", 3}, {"</s>", 4}};
  for (int byte = 0; byte < 256; ++byte) {
    char token[8];
    std::snprintf(token, sizeof token, "<0x%02X>", byte);
    vocab[token] = 5 + byte;
  }
  const json decoders = {{{"type", "Replace"}, {"pattern", {{"String", "\xE2\x96\x81"}}}, {"content", " "}},
                         {{"type", "ByteFallback"}},
                         {{"type", "Fuse"}},
                         {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}};
  const json end = {{"id", 4},         {"content", "</s>"},   {"single_word", false}, {"lstrip", false},
                    {"rstrip", false}, {"normalized", false}, {"special", true}};
  return Make({{"added_tokens", json::array({end})},
               {"model",
                {{"type", "BPE"},
                 {"vocab", vocab},
                 {"merges", json::array()},
                 {"unk_token", "<unk>"},
                 {"byte_fallback", true}}},
               {"decoder", {{"type", "Sequence"}, {"decoders", decoders}}}});
}

Ids BytesOf(std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(5 + static_cast<unsigned char>(c));
  return ids;
}

/// What is given out token by token, all of it valid UTF-8.
std::vector<std::string> Pieces(const Tokenizer& tokenizer, const Ids& context, const Ids& ids) {
  StreamDecoder stream(tokenizer, context);
  std::vector<std::string> pieces;
  for (const std::int32_t id : ids) pieces.push_back(stream.Add(id));
  pieces.push_back(stream.Finish());
  for (const std::string& piece : pieces) EXPECT_TRUE(text::IsValidUtf8(piece));
  return pieces;
}

std::string Joined(const std::vector<std::string>& pieces) {
  std::string all;
  for (const std::string& piece : pieces) all += piece;
  return all;
}

TEST(StreamDecoderTest, CharactersComeWhole) {
  const Tokenizer tokenizer = ByteLevel();
  const std::vector<std::string> pieces = Pieces(tokenizer, {}, IdsOf(tokenizer, "a\xE2\x82\xACz"));
  EXPECT_EQ(pieces, (std::vector<std::string>{"a", "", "", "\xE2\x82\xAC", "z", ""}));
}

TEST(StreamDecoderTest, AllPiecesAreTheText) {
  const Tokenizer bytes = ByteLevel();
  EXPECT_EQ(Joined(Pieces(bytes, {}, IdsOf(bytes, kText))), kText);
  EXPECT_EQ(Joined(Pieces(bytes, IdsOf(bytes, "before \xE2\x82\xAC"), IdsOf(bytes, kText))), kText);
  EXPECT_EQ(Joined(Pieces(ByteFallback(), {}, BytesOf(kText))), kText);
}

TEST(StreamDecoderTest, SpacesStayWhereADecoderDropsThemAtTheStart) {
  EXPECT_EQ(Joined(Pieces(ByteFallback(), {2}, {3, 2})), " two one");
  EXPECT_EQ(Joined(Pieces(ByteFallback(), {}, {3, 2})), "two one");
  // A special token has no text, and is no start.
  EXPECT_EQ(Joined(Pieces(ByteFallback(), {2}, {3, 4, 2})), " two one");
}

TEST(StreamDecoderTest, WhatNeverBecomesACharacterIsReplacedAtTheEnd) {
  const Tokenizer tokenizer = ByteFallback();
  const Ids half = BytesOf("\xE2\x82");
  const std::vector<std::string> pieces = Pieces(tokenizer, {2}, half);
  EXPECT_EQ(pieces[0] + pieces[1], "");
  EXPECT_EQ(pieces[2], "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(StreamDecoderTest, RandomTokensNeverGiveHalfACharacter) {
  RandomStream random(9, "stream");
  for (int run = 0; run < 200; ++run) {
    Ids ids;
    // Leading bytes and continuations, so that characters begin, end and break off all the time.
    for (int i = 0; i < 30; ++i) ids.push_back(5 + 0x80 + static_cast<int>(random.NextBelow(0x78)));
    for (int i = 0; i < 3; ++i) ids.push_back(2);
    const std::string all = Joined(Pieces(ByteFallback(), {}, ids));
    EXPECT_TRUE(all.ends_with(" one one one"));
    const Tokenizer bytes = ByteLevel();
    Ids level;
    for (int i = 0; i < 40; ++i) level.push_back(static_cast<int>(random.NextBelow(bytes.vocab_size())));
    EXPECT_EQ(Joined(Pieces(bytes, {}, level)), bytes.Decode(level));
  }
}

}  // namespace
}  // namespace fedpeft
