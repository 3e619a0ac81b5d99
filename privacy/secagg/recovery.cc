#include "privacy/secagg/recovery.h"

namespace fedpeft::privacy {

bool SecretRecovery::Add(std::uint32_t x, ByteSpan share) {
  if (!IsShare(share)) return false;
  if (!found_) shares_.push_back({x, Share(share.first<kShareBytes>())});
  return true;
}

bool SecretRecovery::Try(std::vector<std::uint32_t>& wrong) {
  if (found_) return true;
  if (!has_enough() || shares_.size() == tried_) return false;
  tried_ = shares_.size();
  Result<Recovered> recovered = Recover(shares_, threshold_, check_);
  if (!recovered.ok()) return false;
  wrong.insert(wrong.end(), recovered->wrong.begin(), recovered->wrong.end());
  found_ = std::move(recovered->secret);
  shares_.clear();
  return true;
}

}  // namespace fedpeft::privacy
