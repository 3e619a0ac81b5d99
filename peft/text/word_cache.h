// Words whose ids have been computed lately. A text repeats its words, and looking one up is many times cheaper than
// merging it again.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace fedpeft::text {

/// Bounded: each word has one slot, which the last word put there keeps. Threads: all members are safe on any thread
/// and none ever waits; where another thread is at the same place, the cache just does not answer.
class WordCache {
 public:
  WordCache() : slots_(kSlots) {}

  /// Appends the ids of the word if they are known.
  bool Find(std::string_view word, std::vector<std::int32_t>& ids) const;
  /// Forgets what was in the word's slot. Words of more than 128 bytes or 64 ids are not kept.
  void Put(std::string_view word, const std::int32_t* ids, std::size_t count);

 private:
  struct Slot {
    std::string word;  // empty: none
    std::vector<std::int32_t> ids;
  };
  static constexpr std::size_t kSlots = 1 << 14, kLocks = 64, kLongestWord = 128, kMostIds = 64;

  std::vector<Slot> slots_;
  mutable std::array<std::mutex, kLocks> locks_;  // slot i belongs to lock i % kLocks
};

}  // namespace fedpeft::text
