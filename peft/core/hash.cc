#include "peft/core/hash.h"

#include <openssl/evp.h>

#include <cerrno>
#include <charconv>
#include <cstdio>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace fedpeft {

std::string Hex(ByteSpan bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (std::uint8_t byte : bytes) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

std::optional<Digest> DigestFromHex(std::string_view text) {
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const char* pair = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(pair, pair + 2, digest[i], 16);
    if (error != std::errc() || end != pair + 2) return std::nullopt;
  }
  return digest;
}

std::string Hex(const Digest& digest) {
  return Hex(ByteSpan(digest));
}

struct Sha256::State {
  State() : context(EVP_MD_CTX_new()) {
    static const EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);  // once: looking it up takes longer
    FEDPEFT_CHECK(EVP_DigestInit_ex(context, sha256, nullptr) == 1);               // than hashing a short message
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  EVP_MD_CTX* context;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(ByteSpan bytes) {
  FEDPEFT_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::Finish() {
  Digest digest;
  FEDPEFT_CHECK(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr) == 1);
  return digest;
}

Digest Sha256Of(ByteSpan bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

Result<Digest> Sha256OfFile(const std::string& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) return FromErrno(path, errno);
  Sha256 hash;
  Bytes buffer(1 << 20);
  while (true) {
    const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), file.get());
    hash.Update(ByteSpan(buffer.data(), got));
    if (got < buffer.size()) break;
  }
  if (std::ferror(file.get()) != 0) return FromErrno(path, errno);
  return hash.Finish();
}

namespace {

std::uint32_t Crc32cPortable(ByteSpan bytes, std::uint32_t crc) {
  static const auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0u);
      table[i] = value;
    }
    return table;
  }();
  for (std::uint8_t byte : bytes) crc = kTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t Crc32cSse42(ByteSpan bytes, std::uint32_t crc) {
  std::uint64_t wide = crc;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) wide = _mm_crc32_u64(wide, LoadLe<std::uint64_t>(bytes, at));
  crc = static_cast<std::uint32_t>(wide);
  for (; at < bytes.size(); ++at) crc = _mm_crc32_u8(crc, bytes[at]);
  return crc;
}
#endif

}  // namespace

std::uint32_t Crc32c(ByteSpan bytes, std::uint32_t seed) {
  const std::uint32_t start = ~seed;
#if defined(__x86_64__)
  static const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
  if (has_sse42) return ~Crc32cSse42(bytes, start);
#endif
  return ~Crc32cPortable(bytes, start);
}

}  // namespace fedpeft
