// The golden tokenizer.json, as it is or with one thing changed.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "peft/core/files.h"
#include "peft/text/tokenizer.h"

namespace fedpeft::testing {

inline std::string GoldenPath(const std::string& name) {
  return std::string(FEDPEFT_SOURCE_DIR) + "/tests/golden/tokenizer/" + name;
}

inline nlohmann::json GoldenJson(const std::string& name = "tokenizer.json") {
  const Result<std::string> content = ReadFile(GoldenPath(name), 1 << 22);
  EXPECT_TRUE(content.ok()) << content.status().ToString();
  return nlohmann::json::parse(*content);
}

/// A tokenizer of three words and the given parts; `{}` where nothing is said.
inline nlohmann::json TinyJson(const nlohmann::json& parts = nlohmann::json::object()) {
  nlohmann::json out = {{"model",
                         {{"type", "WordPiece"},
                          {"unk_token", "?"},
                          {"continuing_subword_prefix", "##"},
                          {"max_input_chars_per_word", 8},
                          {"vocab", {{"?", 0}, {"a", 1}, {"b", 2}, {"##c", 3}}}}},
                        {"pre_tokenizer", {{"type", "BertPreTokenizer"}}}};
  out.update(parts);
  return out;
}

inline Tokenizer Make(const nlohmann::json& document) {
  Result<Tokenizer> tokenizer = Tokenizer::FromJson(document.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return *std::move(tokenizer);
}

inline std::vector<std::int32_t> IdsOf(const Tokenizer& tokenizer, std::string_view text) {
  const Result<Encoding> encoding = tokenizer.Encode(text);
  EXPECT_TRUE(encoding.ok()) << encoding.status().ToString();
  return encoding.ok() ? encoding->ids : std::vector<std::int32_t>{};
}

inline std::string FromHex(std::string_view hex) {
  std::string out;
  for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
    out.push_back(static_cast<char>(std::stoi(std::string(hex.substr(at, 2)), nullptr, 16)));
  }
  return out;
}

}  // namespace fedpeft::testing
