#include "privacy/secagg/session_keys.h"

#include <bit>
#include <utility>

#include "peft/core/check.h"
#include "privacy/crypto/kdf.h"

namespace fedpeft::privacy {

namespace {

/// Appends what a label is of.
class Label {
 public:
  explicit Label(std::string_view name) { *this << "fedpeft/secagg/v1/" << name; }
  Label& operator<<(std::string_view text) { return *this << AsBytes(text); }
  Label& operator<<(ByteSpan bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Label& operator<<(std::uint32_t number) {
    std::array<std::uint8_t, 4> bytes{};
    StoreLe(number, bytes.data());
    return *this << ByteSpan(bytes);
  }
  const Bytes& bytes() const { return bytes_; }
  Digest hash() const { return Sha256Of(bytes_); }

 private:
  Bytes bytes_;
};

}  // namespace

Digest ConfigHash(ByteSpan config) {
  return (Label("cfg") << config).hash();
}

Bytes AdvertisedStatement(const Digest& config_hash, std::string_view client_id, const PublicKeys& keys) {
  return (Label("adv") << config_hash << client_id << keys.channel << keys.mask << keys.signing).bytes();
}

Digest KeyLeaf(std::string_view client_id, const PublicKeys& keys, ByteSpan signature) {
  Sha256 hash;
  hash.Update(AsBytes(std::string_view("\0", 1)));
  hash.Update(AsBytes(client_id));
  for (const ByteSpan part : {keys.channel, keys.mask, keys.signing, signature}) hash.Update(part);
  return hash.Finish();
}

Digest MerkleRoot(std::span<const Digest> leaves) {
  FEDPEFT_CHECK(!leaves.empty());
  if (leaves.size() == 1) return leaves[0];
  const std::size_t left = std::bit_floor(leaves.size() - 1);
  Sha256 hash;
  hash.Update(AsBytes("\1"));
  hash.Update(MerkleRoot(leaves.first(left)));
  hash.Update(MerkleRoot(leaves.subspan(left)));
  return hash.Finish();
}

SessionId SessionIdOf(const Digest& config_hash, const Digest& root) {
  return (Label("sid") << config_hash << root).hash();
}

Bytes SurvivorStatement(const SessionId& session, ByteSpan shared, ByteSpan survivors) {
  return (Label("surv") << session << Sha256Of(shared) << Sha256Of(survivors)).bytes();
}

Digest SeedCommitment(const SessionId& session, std::uint32_t client, const SecretKey& seed) {
  Sha256 hash;
  hash.Update((Label("commit") << session << client).bytes());
  hash.Update(seed.bytes());
  return hash.Finish();
}

SecretKey PairMaskKey(const SecretKey& agreed, const SessionId& session, const KeyEnd& one, const KeyEnd& other,
                      const Digest& model) {
  const auto& [low, high] = one.client < other.client ? std::pair(one, other) : std::pair(other, one);
  Label label("pair-mask");
  label << low.client << high.client << low.public_key << high.public_key << model;
  return DeriveKey(agreed.bytes(), session, label.bytes());
}

SecretKey ShareKey(const SecretKey& agreed, const SessionId& session, const KeyEnd& from, const KeyEnd& to) {
  Label label("share-enc");
  label << from.client << to.client << from.public_key << to.public_key;
  return DeriveKey(agreed.bytes(), session, label.bytes());
}

SecretKey SelfMaskKey(const SecretKey& seed, const SessionId& session, std::uint32_t client, const Digest& model) {
  return DeriveKey(seed.bytes(), session, (Label("self-mask") << client << model).bytes());
}

Bytes ShareLabel(const SessionId& session, std::uint32_t from, std::uint32_t to) {
  return (Label("share") << session << from << to).bytes();
}

}  // namespace fedpeft::privacy
