#include "privacy/crypto/key_agreement.h"

#include <openssl/core_names.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>

#include <algorithm>
#include <string>

#include "peft/core/check.h"
#include "privacy/crypto/openssl.h"

namespace fedpeft::privacy {

namespace {

using ParamBuilder = std::unique_ptr<OSSL_PARAM_BLD, OpensslFree<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, OpensslFree<OSSL_PARAM_free>>;

constexpr char kGroup[] = "P-256";
constexpr std::size_t kX25519Bytes = 32;
constexpr std::size_t kP256Bytes = 33;

const EC_GROUP* P256() {
  static const CurveGroup group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  FEDPEFT_CHECK(group);
  return group.get();
}

Status Refused() {
  return InvalidArgument("public key: got a point that is not on the curve or of small order, want one of its group");
}

/// From what OpenSSL imports for P-256: the public point, and the private number if there is one.
Pkey ImportP256(ByteSpan public_key, const BIGNUM* secret) {
  const ParamBuilder builder(OSSL_PARAM_BLD_new());
  FEDPEFT_CHECK(builder && OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, kGroup, 0) == 1 &&
                OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, public_key.data(),
                                                 public_key.size()) == 1);
  if (secret) FEDPEFT_CHECK(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, secret) == 1);
  const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
  const PkeyContext context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  FEDPEFT_CHECK(params && context && EVP_PKEY_fromdata_init(context.get()) == 1);
  const int selection = secret ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
  if (EVP_PKEY_fromdata(context.get(), &key, selection, params.get()) != 1) return nullptr;
  return Pkey(key);
}

/// Null for one that is not on the curve. Pre: of the suite's length.
Pkey ImportPublic(Suite suite, ByteSpan public_key) {
  if (suite == Suite::kP256) return ImportP256(public_key, nullptr);
  return Pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, public_key.data(), public_key.size()));
}

Status CheckLength(Suite suite, ByteSpan public_key) {
  if (public_key.size() == PublicKeyBytes(suite)) return OkStatus();
  return InvalidArgument("public key: got " + std::to_string(public_key.size()) + " bytes, want " +
                         std::to_string(PublicKeyBytes(suite)));
}

/// The public point of a private number. Pre: within [1, order).
Bytes P256PublicKey(const BIGNUM* secret) {
  const CurvePoint point(EC_POINT_new(P256()));
  Bytes bytes(kP256Bytes);
  FEDPEFT_CHECK(point && EC_POINT_mul(P256(), point.get(), secret, nullptr, nullptr, nullptr) == 1 &&
                EC_POINT_point2oct(P256(), point.get(), POINT_CONVERSION_COMPRESSED, bytes.data(), bytes.size(),
                                   nullptr) == bytes.size());
  return bytes;
}

}  // namespace

std::size_t PublicKeyBytes(Suite suite) {
  return suite == Suite::kX25519 ? kX25519Bytes : kP256Bytes;
}

struct AgreementKey::State {
  Suite suite;
  SecretKey secret;
  Pkey key;
  Bytes public_key;
};

AgreementKey::AgreementKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
AgreementKey::~AgreementKey() = default;
AgreementKey::AgreementKey(AgreementKey&&) noexcept = default;
AgreementKey& AgreementKey::operator=(AgreementKey&&) noexcept = default;

Suite AgreementKey::suite() const {
  return state_->suite;
}
const Bytes& AgreementKey::public_key() const {
  return state_->public_key;
}
const SecretKey& AgreementKey::secret() const {
  return state_->secret;
}

AgreementKey AgreementKey::Generate(Suite suite, RandomSource& random) {
  while (true) {  // a number beyond P-256's order comes once in 2^32
    Result<AgreementKey> key = Of(suite, RandomSecret<32>(random));
    if (key.ok()) return std::move(*key);
  }
}

Result<AgreementKey> AgreementKey::Of(Suite suite, const SecretKey& secret) {
  auto state = std::make_unique<State>(State{suite, secret.Clone(), nullptr, Bytes(PublicKeyBytes(suite))});
  const auto bytes = secret.bytes();
  if (suite == Suite::kX25519) {
    state->key.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, bytes.data(), bytes.size()));
    std::size_t size = state->public_key.size();
    FEDPEFT_CHECK(state->key && EVP_PKEY_get_raw_public_key(state->key.get(), state->public_key.data(), &size) == 1 &&
                  size == state->public_key.size());
  } else {
    const BigNumber number(BN_bin2bn(bytes.data(), static_cast<int>(bytes.size()), BN_secure_new()));
    FEDPEFT_CHECK(number);
    BN_set_flags(number.get(), BN_FLG_CONSTTIME);
    if (BN_is_zero(number.get()) || BN_cmp(number.get(), EC_GROUP_get0_order(P256())) >= 0) {
      return InvalidArgument("private key: got a number outside the group of P-256, want one from 1 to its order");
    }
    state->public_key = P256PublicKey(number.get());
    state->key = ImportP256(state->public_key, number.get());
    FEDPEFT_CHECK(state->key);
  }
  return AgreementKey(std::move(state));
}

Result<SecretKey> AgreementKey::Agree(ByteSpan peer) const {
  RETURN_IF_ERROR(CheckLength(suite(), peer));
  const Pkey other = ImportPublic(suite(), peer);
  if (!other) return Refused();
  SecretKey common;
  std::size_t size = common.bytes().size();
  const PkeyContext context(EVP_PKEY_CTX_new(state_->key.get(), nullptr));
  FEDPEFT_CHECK(context && EVP_PKEY_derive_init(context.get()) == 1);
  const bool derived = EVP_PKEY_derive_set_peer(context.get(), other.get()) == 1 &&
                       EVP_PKEY_derive(context.get(), common.mutable_bytes().data(), &size) == 1;
  const bool zero = std::ranges::all_of(common.bytes(), [](std::uint8_t byte) { return byte == 0; });
  if (!derived || zero) return Refused();
  FEDPEFT_CHECK(size == common.bytes().size());
  return common;
}

Status CheckPublicKey(Suite suite, ByteSpan public_key) {
  // Any private key finds what is wrong with a point: a multiple of a small-order one is zero.
  static const SecretKey kAny(std::array<std::uint8_t, 32>{1, 1, 1, 1});
  return AgreementKey::Of(suite, kAny)->Agree(public_key).status();
}

}  // namespace fedpeft::privacy
