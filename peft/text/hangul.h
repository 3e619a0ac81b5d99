// Hangul syllables are made of their letters by arithmetic (Unicode 3.12).
#pragma once

namespace fedpeft::text::hangul {

inline constexpr char32_t kFirst = 0xAC00, kCount = 11172;
inline constexpr char32_t kLead = 0x1100, kVowel = 0x1161, kTrail = 0x11A7;  ///< kTrail itself stands for no letter
inline constexpr char32_t kLeads = 19, kVowels = 21, kTrails = 28;

inline constexpr bool IsSyllable(char32_t c) {
  return c >= kFirst && c < kFirst + kCount;
}
/// Whether the syllable has no trailing letter.
inline constexpr bool IsOpen(char32_t syllable) {
  return (syllable - kFirst) % kTrails == 0;
}

}  // namespace fedpeft::text::hangul
