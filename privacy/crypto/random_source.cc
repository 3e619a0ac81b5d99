#include "privacy/crypto/random_source.h"

#include <openssl/rand.h>

#include <algorithm>

#include "peft/core/check.h"

namespace fedpeft::privacy {

namespace {

constexpr std::size_t kMostDrawnAtOnce = std::size_t{1} << 20;  // RAND_priv_bytes counts in int

class SystemRandom final : public RandomSource {
 public:
  void Fill(MutableByteSpan out) override {
    while (!out.empty()) {
      const MutableByteSpan piece = out.first(std::min(out.size(), kMostDrawnAtOnce));
      FEDPEFT_CHECK(RAND_priv_bytes(piece.data(), static_cast<int>(piece.size())) == 1);
      out = out.subspan(piece.size());
    }
  }
};

}  // namespace

RandomSource& RandomSource::System() {
  static SystemRandom system;
  return system;
}

}  // namespace fedpeft::privacy
