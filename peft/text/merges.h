// The merges of a byte-pair encoding, and doing them: again and again the pair of lowest rank, of equal ones the
// leftmost, becomes one symbol.
#pragma once

#include <cstdint>
#include <vector>

namespace fedpeft::text {

class Merges {
 public:
  struct Merge {
    std::uint32_t rank;
    std::int32_t merged;  ///< id of the symbol that the pair becomes
  };

  /// Room for `count` merges, which is all there may ever be.
  explicit Merges(std::size_t count = 0);
  /// Of equal pairs the last counts, as in the `tokenizers` package.
  void Insert(std::int32_t left, std::int32_t right, Merge merge);
  /// Null when the pair is not merged.
  const Merge* Find(std::int32_t left, std::int32_t right) const;

  /// Merges what can be merged of `symbols`, in place. O(n log n) for n symbols.
  void Apply(std::vector<std::int32_t>& symbols) const;

 private:
  struct Slot {
    std::uint64_t pair = kEmpty;
    Merge merge = {};
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  std::size_t SlotOf(std::uint64_t pair) const;
  void ApplyShort(std::vector<std::int32_t>& symbols) const;
  void ApplyLong(std::vector<std::int32_t>& symbols) const;

  std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace fedpeft::text
