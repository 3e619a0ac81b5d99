#include "peft/text/word_cache.h"

#include <functional>

namespace fedpeft::text {

bool WordCache::Find(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (word.size() > kLongestWord) return false;
  const std::size_t at = std::hash<std::string_view>()(word) % kSlots;
  const std::unique_lock lock(locks_[at % kLocks], std::try_to_lock);
  if (!lock || slots_[at].word != word) return false;
  ids.insert(ids.end(), slots_[at].ids.begin(), slots_[at].ids.end());
  return true;
}

void WordCache::Put(std::string_view word, const std::int32_t* ids, std::size_t count) {
  if (word.size() > kLongestWord || count > kMostIds) return;
  const std::size_t at = std::hash<std::string_view>()(word) % kSlots;
  const std::unique_lock lock(locks_[at % kLocks], std::try_to_lock);
  if (!lock) return;
  slots_[at].word.assign(word);
  slots_[at].ids.assign(ids, ids + count);
}

}  // namespace fedpeft::text
