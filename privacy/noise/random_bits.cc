#include "privacy/noise/random_bits.h"

#include <bit>

namespace fedpeft::privacy {

std::uint64_t RandomBits::Next() {
  if (used_ == buffer_.size()) {
    stream_.Read(buffer_);
    used_ = 0;
  }
  const auto next = LoadLe<std::uint64_t>(buffer_, used_);
  used_ += sizeof(next);
  return next;
}

Uint128 RandomBits::Below(Uint128 bound) {
  const Uint128 last = bound - 1;
  const auto high = static_cast<std::uint64_t>(last >> 64), low = static_cast<std::uint64_t>(last);
  // As many bits as the largest has, drawn again until they are not beyond it: fewer than two tries on average.
  const auto bits = [](std::uint64_t number) {
    return number == 0 ? 0 : ~std::uint64_t{0} >> std::countl_zero(number);
  };
  const std::uint64_t high_mask = bits(high), low_mask = high != 0 ? ~std::uint64_t{0} : bits(low);
  while (true) {
    const std::uint64_t top = high_mask == 0 ? 0 : Next() & high_mask;
    const Uint128 drawn = Uint128{top} << 64 | (low_mask == 0 ? 0 : Next() & low_mask);
    if (drawn <= last) return drawn;
  }
}

}  // namespace fedpeft::privacy
