// Text as bytes for a regular expression: one byte a code point, the same for code points that no pattern at hand can
// tell apart. ASCII stays what it is; above it, a byte stands for a general category, or for the part of a category in
// a range that the pattern writes out. So PCRE2 sees plain bytes, is fast, and its own Unicode version does not matter.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "peft/core/status.h"
#include "peft/text/unicode.h"
#include "peft/text/unicode_tables.h"

namespace fedpeft::text {

/// A set of code points as patterns write it: an ASCII or named range, or categories, or white space; or its
/// complement.
struct CodePointSet {
  CodePointRange range = {1, 0};  ///< empty unless the set is a range
  std::uint32_t categories = 0;   ///< bit of each Category
  bool space = false;
  bool negated = false;
};

class RegexAlphabet {
 public:
  using Bytes = std::bitset<256>;

  /// `named`: the ranges, or parts of ranges, above ASCII that the pattern writes out; at most 32.
  /// Errors: kUnimplemented when more than 256 bytes were needed.
  static Result<RegexAlphabet> Make(std::vector<CodePointRange> named);

  std::uint8_t ByteOf(char32_t code_point) const;
  /// Bytes of the code points in the set. Pre: what a range has above ASCII is one of the named ranges.
  Bytes BytesOf(const CodePointSet& set) const;

 private:
  struct Cell {  // what a byte stands for
    Category category;
    bool space;
    std::uint32_t ranges;  // bit of each named range
  };
  bool CellIn(const Cell& cell, const CodePointSet& set) const;
  std::uint32_t RangesOf(char32_t code_point) const;

  std::vector<CodePointRange> named_;
  std::vector<Cell> cells_;  // of the bytes from 0x80
  std::map<std::pair<Category, std::uint32_t>, std::uint8_t> named_bytes_;
};

}  // namespace fedpeft::text
