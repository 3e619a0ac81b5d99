// An endless labelled text for tests: example i is always the same, so that files which share no index share no example
// and files together are one larger file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "peft/core/files.h"
#include "peft/core/random.h"

namespace fedpeft::testing {

inline constexpr std::array<const char*, 3> kTinyLabels = {"animal", "food", "motion"};
/// Words of a class, and words that say nothing.
inline constexpr std::uint64_t kWordsOfEach = 11;

/// `animal0` … `motion10`, then `noise0` ….
inline std::vector<std::string> TinyWords() {
  std::vector<std::string> words;
  for (const char* stem : {"animal", "food", "motion", "noise"}) {
    for (std::uint64_t i = 0; i < kWordsOfEach; ++i) words.push_back(stem + std::to_string(i));
  }
  return words;
}

struct TinyExample {
  std::string text;
  std::string label;
};

/// 3 to 8 words, every second one of the label's, the others noise.
inline TinyExample ExampleAt(std::uint64_t index) {
  RandomStream stream(11, "example", {index});
  TinyExample example{.text = "", .label = kTinyLabels[index % kTinyLabels.size()]};
  const std::uint64_t words = 3 + stream.NextBelow(6);
  for (std::uint64_t i = 0; i < words; ++i) {
    if (i > 0) example.text += ' ';
    example.text += (i % 2 == 0 ? example.label : "noise") + std::to_string(stream.NextBelow(kWordsOfEach));
  }
  return example;
}

/// CSV with the columns text and label, of examples [first, first + count).
inline Status WriteTinyCsv(const std::string& path, std::uint64_t first, std::uint64_t count) {
  std::string csv = "text,label\n";
  for (std::uint64_t i = first; i < first + count; ++i) {
    const TinyExample example = ExampleAt(i);
    csv += example.text + "," + example.label + "\n";
  }
  return WriteFileAtomically(path, AsBytes(csv));
}

}  // namespace fedpeft::testing
