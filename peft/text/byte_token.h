// Byte fallback: tokens `<0xHH>` that spell, byte by byte, what the vocabulary does not have.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "peft/text/vocabulary.h"

namespace fedpeft::text {

/// Ids of the 256 tokens by byte, negative where the vocabulary has none.
std::vector<std::int32_t> FindByteTokens(const Vocabulary& vocabulary);

/// False, and nothing appended, when a byte of `text` has no token.
bool AppendByteTokens(const std::vector<std::int32_t>& byte_tokens, std::string_view text,
                      std::vector<std::int32_t>& ids);

}  // namespace fedpeft::text
