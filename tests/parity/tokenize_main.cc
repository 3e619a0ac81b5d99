// The tokenizer as a filter, for comparison with the Python package: requests as JSON lines on standard input, one
// answer a line on standard output.
//
//   fedpeft_tokenize TOKENIZER.json
//   {"a": text, "b"?: text, "max_length"?: n, "truncation"?: "longest_first" | "only_first" | "only_second",
//    "truncate_left"?: bool, "add_special_tokens"?: bool, "hex"?: bool}        with hex, texts are hexadecimal bytes
//    (of any kind)
//   {"decode": [ids], "skip_special_tokens"?: bool}
// Answers: {"ids": [...], "type_ids": [...], "special": [...]}, {"text": ...} or {"error": ...}.
// With --time N in front, each request is done N times and the texts per second are printed to standard error.
#include <charconv>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "peft/text/tokenizer.h"

namespace fedpeft {
namespace {

using nlohmann::json;

std::string Text(const json& request, const char* key) {
  const auto text = request.at(key).get<std::string>();
  if (!request.value("hex", false)) return text;
  std::string out;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    unsigned byte = 0;
    std::from_chars(text.data() + at, text.data() + at + 2, byte, 16);
    out.push_back(static_cast<char>(byte));
  }
  return out;
}

EncodeOptions Options(const json& request) {
  EncodeOptions options;
  if (request.contains("max_length")) options.max_length = request["max_length"].get<std::size_t>();
  const std::string truncation = request.value("truncation", "longest_first");
  if (truncation == "only_first") options.truncation = text::TruncationStrategy::kOnlyFirst;
  if (truncation == "only_second") options.truncation = text::TruncationStrategy::kOnlySecond;
  options.truncate_left = request.value("truncate_left", false);
  options.add_special_tokens = request.value("add_special_tokens", true);
  options.want_special_mask = true;
  return options;
}

json Answer(const Tokenizer& tokenizer, const json& request) {
  if (request.contains("decode")) {
    return {{"text", tokenizer.Decode(request["decode"].get<std::vector<std::int32_t>>(),
                                      request.value("skip_special_tokens", true))}};
  }
  const Result<Encoding> encoding = request.contains("b")
                                        ? tokenizer.EncodePair(Text(request, "a"), Text(request, "b"), Options(request))
                                        : tokenizer.Encode(Text(request, "a"), Options(request));
  if (!encoding.ok()) return {{"error", encoding.status().ToString()}};
  return {{"ids", encoding->ids}, {"type_ids", encoding->type_ids}, {"special", encoding->special_mask}};
}

/// Encodes every request's text `repeats` times, without the JSON around it.
void Time(const Tokenizer& tokenizer, int repeats) {
  std::vector<std::string> texts;
  for (std::string line; std::getline(std::cin, line);) texts.push_back(Text(json::parse(line), "a"));
  std::size_t tokens = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) {
    for (const std::string& text : texts) {
      const Result<Encoding> encoding = tokenizer.Encode(text);
      if (encoding.ok()) tokens += encoding->ids.size();
    }
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  const double count = static_cast<double>(texts.size()) * repeats;
  std::fprintf(stderr, "%.0f texts/s, %.0f tokens/s\n", count / spent.count(),
               static_cast<double>(tokens) / spent.count());
}

int Main(int argc, char** argv) {
  const bool timed = argc == 4 && std::string(argv[1]) == "--time";
  if (argc != 2 && !timed) {
    std::fprintf(stderr, "usage: fedpeft_tokenize [--time N] TOKENIZER.json < requests\n");
    return 2;
  }
  const Result<Tokenizer> tokenizer = Tokenizer::FromFile(argv[argc - 1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  if (timed) {
    Time(*tokenizer, std::stoi(argv[2]));
    return 0;
  }
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(*tokenizer, json::parse(line)).dump() << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace fedpeft

int main(int argc, char** argv) {
  try {
    return fedpeft::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
