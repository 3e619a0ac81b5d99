// Grapheme clusters (Unicode Standard Annex 29, extended), for the Precompiled normalizer.
#pragma once

#include <cstddef>
#include <string_view>

namespace fedpeft::text {

/// Bytes of the first grapheme cluster of `text`. Pre: valid UTF-8, not empty, and `text` begins at a boundary.
std::size_t GraphemeLength(std::string_view text);

}  // namespace fedpeft::text
