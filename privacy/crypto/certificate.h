// Enrolment certificates: who clients are to each other. They are signed by a root that is not the coordinator's, or a
// coordinator could make up clients as it likes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/crypto/signature.h"

namespace fedpeft::privacy {

/// The most bytes of a certificate that is looked at.
inline constexpr std::size_t kMaxCertificateBytes = 8192;

/// The most bytes of a PEM file.
inline constexpr std::uint64_t kMaxPemBytes = std::uint64_t{1} << 20;

/// A certificate in DER from PEM. Errors: kInvalidArgument when there is none.
Result<Bytes> CertificateFromPem(const std::string& pem);

/// Roots that a client trusts. Threads: const calls from any number.
class EnrolmentRoots {
 public:
  /// One or more certificates in PEM. Errors: kInvalidArgument when one is none, or there is none.
  static Result<EnrolmentRoots> FromPem(const std::string& pem);
  ~EnrolmentRoots();
  EnrolmentRoots(EnrolmentRoots&&) noexcept;
  EnrolmentRoots& operator=(EnrolmentRoots&&) noexcept;

  /// The key of a certificate (DER) that one of the roots signed itself, that is valid now, and whose common name is
  /// `client_id` to the letter, so that nobody is many. Errors: kPermissionDenied otherwise, with the reason;
  /// kInvalidArgument for a key of another kind than the suite's.
  Result<VerifyingKey> Check(Suite suite, std::string_view client_id, ByteSpan certificate) const;

 private:
  struct State;
  explicit EnrolmentRoots(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedpeft::privacy
