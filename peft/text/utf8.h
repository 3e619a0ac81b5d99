// UTF-8 in and out. Text from the outside is made valid once, at the door; everything behind it may rely on that.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fedpeft::text {

inline constexpr char32_t kReplacement = 0xFFFD;

/// Length in bytes of the well-formed sequence at `at`; 0 when there is none (Unicode table 3-7: no overlong form, no
/// surrogate, nothing above U+10FFFF).
std::size_t SequenceLength(std::string_view text, std::size_t at);

/// True when all of `text` is well-formed UTF-8.
bool IsValidUtf8(std::string_view text);

/// The text with every maximal ill-formed part replaced by one U+FFFD: Unicode 3.9's recommended practice, and what
/// Rust's `String::from_utf8_lossy` and Python's `errors="replace"` do.
std::string ReplaceInvalidUtf8(std::string_view text);

/// The code point at `at`, and `at` moved behind it. Pre: `text` is valid and `at` is on a boundary before its end.
char32_t NextCodePoint(std::string_view text, std::size_t& at);
/// The code point that ends at `end`. Pre: `text` is valid and `end` is on a boundary behind its start.
char32_t LastCodePoint(std::string_view text, std::size_t& end);

/// Pre: `code_point` is a scalar value.
void AppendUtf8(char32_t code_point, std::string& out);

/// Pre: `text` is valid.
std::u32string ToCodePoints(std::string_view text);
/// Pre: scalar values all.
std::string ToUtf8(std::u32string_view code_points);

bool IsAscii(std::string_view text);

/// Pre: `text` is valid.
std::size_t CountCodePoints(std::string_view text);

}  // namespace fedpeft::text
