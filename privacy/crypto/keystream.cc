#include "privacy/crypto/keystream.h"

#include <algorithm>
#include <array>

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

constexpr std::size_t kMostMadeAtOnce = std::size_t{1} << 24;  // EVP_EncryptUpdate counts in int

}  // namespace

struct Keystream::State {
  CipherContext context{EVP_CIPHER_CTX_new()};
};

Keystream::Keystream(const SecretKey& key) : state_(std::make_unique<State>()) {
  constexpr std::array<std::uint8_t, kBlockBytes> kStart{};
  FEDPEFT_CHECK(state_->context && EVP_EncryptInit_ex(state_->context.get(), EVP_aes_256_ctr(), nullptr,
                                                      key.bytes().data(), kStart.data()) == 1);
}
Keystream::~Keystream() = default;
Keystream::Keystream(Keystream&&) noexcept = default;
Keystream& Keystream::operator=(Keystream&&) noexcept = default;

void Keystream::Seek(std::uint64_t block) {
  std::array<std::uint8_t, kBlockBytes> counter{};
  for (std::size_t i = 0; i < sizeof(block); ++i) {
    counter[kBlockBytes - 1 - i] = static_cast<std::uint8_t>(block >> (8 * i));
  }
  FEDPEFT_CHECK(EVP_EncryptInit_ex(state_->context.get(), nullptr, nullptr, nullptr, counter.data()) == 1);
}

void Keystream::Read(MutableByteSpan out) {
  std::ranges::fill(out, std::uint8_t{0});
  while (!out.empty()) {
    const MutableByteSpan piece = out.first(std::min(out.size(), kMostMadeAtOnce));
    int size = 0;
    FEDPEFT_CHECK(EVP_EncryptUpdate(state_->context.get(), piece.data(), &size, piece.data(),
                                    static_cast<int>(piece.size())) == 1);
    out = out.subspan(piece.size());
  }
}

}  // namespace fedpeft::privacy
