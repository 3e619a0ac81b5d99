// SHA-256 (OpenSSL) and CRC-32C: the two checksums of fedpeft. SHA-256 identifies things (base, layout, upload);
// CRC-32C catches a damaged chunk early.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "peft/core/bytes.h"
#include "peft/core/status.h"

namespace fedpeft {

/// 32 bytes.
using Digest = std::array<std::uint8_t, 32>;

/// Incremental SHA-256 (FIPS 180-4).
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void Update(ByteSpan bytes);
  /// Ends the computation; the object must not be used after it.
  Digest Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest Sha256Of(ByteSpan bytes);
/// Reads the file in pieces. Errors: FromErrno's.
Result<Digest> Sha256OfFile(const std::string& path);
std::string Hex(const Digest& digest);
/// The inverse; digits of either case.
std::optional<Digest> DigestFromHex(std::string_view text);

/// CRC-32C (Castagnoli, reflected 0x82F63B78), `crc32c("123456789") == 0xe3069283`. Pass the last result as `seed` to
/// continue.
std::uint32_t Crc32c(ByteSpan bytes, std::uint32_t seed = 0);

}  // namespace fedpeft
