#include "privacy/secagg/rotation.h"

#include <cmath>

#include "peft/core/bytes.h"
#include "peft/core/check.h"
#include "privacy/crypto/keystream.h"

namespace fedpeft::privacy {

namespace {

/// In place, scaled to keep lengths.
void Hadamard(std::span<float> block) {
  const std::size_t size = block.size();
  for (std::size_t half = 1; half < size; half *= 2) {
    for (std::size_t at = 0; at < size; at += 2 * half) {
      float* const low = block.data() + at;
      float* const high = low + half;
      for (std::size_t i = 0; i < half; ++i) {
        const float a = low[i], b = high[i];
        low[i] = a + b;
        high[i] = a - b;
      }
    }
  }
  const float scale = 1 / std::sqrt(static_cast<float>(size));
  for (float& value : block) value *= scale;
}

/// Pre: blocks come in their order.
void FlipSigns(Keystream& signs, std::span<float> block) {
  Bytes bits(block.size() / 8);
  signs.Read(bits);
  for (std::size_t i = 0; i < block.size(); ++i) {
    if (bits[i / 8] >> (i % 8) & 1) block[i] = -block[i];
  }
}

template <typename Use>
void ForEachBlock(std::span<float> values, Use use) {
  FEDPEFT_CHECK(values.size() == RotatedSize(values.size()));
  for (std::size_t at = 0; at < values.size(); at += kRotationBlock) use(values.subspan(at, kRotationBlock));
}

}  // namespace

void Rotate(const SecretKey& seed, std::span<float> values) {
  Keystream signs(seed);
  ForEachBlock(values, [&](std::span<float> block) {
    FlipSigns(signs, block);
    Hadamard(block);
  });
}

void RotateBack(const SecretKey& seed, std::span<float> values) {
  Keystream signs(seed);
  ForEachBlock(values, [&](std::span<float> block) {
    Hadamard(block);
    FlipSigns(signs, block);
  });
}

}  // namespace fedpeft::privacy
