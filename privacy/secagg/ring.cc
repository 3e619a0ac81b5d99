#include "privacy/secagg/ring.h"

#include <algorithm>
#include <array>
#include <string>

#include "peft/core/check.h"

namespace fedpeft::privacy {

namespace {

/// Calls use(i, element) for all elements. Eight bytes at a time where there are as many, for an element ends within
/// 39 bits of the byte it begins in.
template <typename Use>
void ForEachElement(ByteSpan packed, int bits, std::size_t count, Use use) {
  const std::uint32_t mask = RingMask(bits);
  const auto width = static_cast<std::uint64_t>(bits);
  const auto element = [mask](std::uint64_t word, std::uint64_t bit) {
    return static_cast<std::uint32_t>(word >> (bit & 7)) & mask;
  };
  std::size_t i = 0;
  for (std::uint64_t bit = 0; i < count && bit / 8 + 8 <= packed.size(); ++i, bit += width) {
    use(i, element(LoadLe<std::uint64_t>(packed, bit / 8), bit));
  }
  for (; i < count; ++i) {
    const std::uint64_t bit = i * width;
    const ByteSpan rest = packed.subspan(bit / 8);
    std::array<std::uint8_t, 8> last{};
    std::copy_n(rest.begin(), std::min<std::size_t>(rest.size(), 8), last.begin());
    use(i, element(LoadLe<std::uint64_t>(last), bit));
  }
}

Status CheckPacked(ByteSpan packed, int bits, std::size_t count) {
  const std::uint64_t want = PackedBytes(count, bits);
  if (packed.size() != want) {
    return InvalidArgument("packed vector: got " + std::to_string(packed.size()) + " bytes, want " +
                           std::to_string(want));
  }
  const std::uint64_t used = count * static_cast<std::uint64_t>(bits) % 8;
  if (used != 0 && packed.back() >> used != 0) {
    return InvalidArgument("packed vector: got bits behind the last element, want them zero");
  }
  return OkStatus();
}

}  // namespace

void PackRing(std::span<const std::uint32_t> elements, int bits, MutableByteSpan packed) {
  FEDPEFT_CHECK(packed.size() == PackedBytes(elements.size(), bits));
  const std::uint32_t mask = RingMask(bits);
  std::uint8_t* out = packed.data();
  std::uint64_t word = 0;
  int filled = 0;
  for (const std::uint32_t element : elements) {
    word |= std::uint64_t{element & mask} << filled;
    filled += bits;
    if (filled >= 32) {
      StoreLe(static_cast<std::uint32_t>(word), out);
      out += 4;
      word >>= 32;
      filled -= 32;
    }
  }
  for (; filled > 0; filled -= 8, word >>= 8) *out++ = static_cast<std::uint8_t>(word);
}

Status UnpackRing(ByteSpan packed, int bits, std::span<std::uint32_t> elements) {
  RETURN_IF_ERROR(CheckPacked(packed, bits, elements.size()));
  ForEachElement(packed, bits, elements.size(), [&](std::size_t i, std::uint32_t value) { elements[i] = value; });
  return OkStatus();
}

Status AddPackedRing(ByteSpan packed, int bits, std::span<std::uint32_t> elements) {
  RETURN_IF_ERROR(CheckPacked(packed, bits, elements.size()));
  ForEachElement(packed, bits, elements.size(), [&](std::size_t i, std::uint32_t value) { elements[i] += value; });
  return OkStatus();
}

}  // namespace fedpeft::privacy
