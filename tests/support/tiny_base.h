// A whole base folder for programs under test: the random BERT of tiny_bert.h and a tokenizer that knows the words of
// tiny_data.h's texts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/tiny_bert.h"
#include "tests/support/tiny_data.h"

namespace fedpeft::testing {

/// A WordPiece tokenizer with one token a word and [CLS] … [SEP] around the text.
inline nlohmann::json TinyTokenizer() {
  nlohmann::json vocabulary = {{"[PAD]", 0}, {"[UNK]", 1}, {"[CLS]", 2}, {"[SEP]", 3}};
  for (const std::string& word : TinyWords()) vocabulary[word] = vocabulary.size();
  const auto special = [](const std::string& token, int id) {
    return nlohmann::json{{"id", token}, {"ids", {id}}, {"tokens", {token}}};
  };
  const nlohmann::json cls = {{"SpecialToken", {{"id", "[CLS]"}, {"type_id", 0}}}};
  const nlohmann::json sep = {{"SpecialToken", {{"id", "[SEP]"}, {"type_id", 0}}}};
  const nlohmann::json first = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const nlohmann::json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  return {{"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {cls, first, sep}},
            {"pair", {cls, first, sep, second, sep}},
            {"special_tokens", {{"[CLS]", special("[CLS]", 2)}, {"[SEP]", special("[SEP]", 3)}}}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", vocabulary}}}};
}

/// Writes config.json, model.safetensors and tokenizer.json.
inline Status WriteTinyBase(const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(WriteTinyBert(folder));
  return WriteFileAtomically(JoinPath(folder, "tokenizer.json"), AsBytes(TinyTokenizer().dump()));
}

}  // namespace fedpeft::testing
