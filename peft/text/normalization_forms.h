// The steps of the Unicode normalization forms: NFD is DecomposeCanonically, NFKD DecomposeCompatibly, and NFC and NFKC
// are these and Compose. By the generated tables, for the reason that unicode.h gives.
#pragma once

#include <string>

namespace fedpeft::text {

/// Canonical decomposition with canonical ordering (Unicode 3.11 and 3.12).
void DecomposeCanonically(std::u32string& text);

/// Compatibility decomposition with canonical ordering.
void DecomposeCompatibly(std::u32string& text);

/// Canonical composition. Pre: `text` is decomposed.
void Compose(std::u32string& text);

}  // namespace fedpeft::text
