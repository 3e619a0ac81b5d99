// What a session's secrets are made of and bound to: the session's name, the tree of advertised keys, and the labels
// under which every key is derived. Byte-exact; both sides and other implementations must agree.
//
// Integers in labels are 32 bits, little-endian. Clients are their places 0, 1, … in the cohort.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "privacy/crypto/secret.h"
#include "privacy/secagg/shamir.h"

namespace fedpeft::privacy {

/// Names one execution: what the coordinator announced, and everybody's keys.
using SessionId = Digest;

/// SHA-256("fedpeft/secagg/v1/cfg" ‖ config), of the bytes as sent.
Digest ConfigHash(ByteSpan config);

/// The public keys that a client advertises.
struct PublicKeys {
  ByteSpan channel;
  ByteSpan mask;
  ByteSpan signing;
};

/// What a client signs with its identity when it advertises keys:
/// "fedpeft/secagg/v1/adv" ‖ config_hash ‖ client id ‖ channel key ‖ mask key ‖ signing key.
Bytes AdvertisedStatement(const Digest& config_hash, std::string_view client_id, const PublicKeys& keys);

/// SHA-256(0x00 ‖ client id ‖ channel key ‖ mask key ‖ signing key ‖ signature).
Digest KeyLeaf(std::string_view client_id, const PublicKeys& keys, ByteSpan signature);

/// The Merkle tree hash of RFC 6962, section 2.1, over leaves that are hashes already. Pre: at least one.
Digest MerkleRoot(std::span<const Digest> leaves);

/// SHA-256("fedpeft/secagg/v1/sid" ‖ config_hash ‖ root).
SessionId SessionIdOf(const Digest& config_hash, const Digest& root);

/// What the survivors' signatures are of: "fedpeft/secagg/v1/surv" ‖ sid ‖ SHA-256(bitmap of those who shared) ‖
/// SHA-256(bitmap of those who survive).
Bytes SurvivorStatement(const SessionId& session, ByteSpan shared, ByteSpan survivors);

/// SHA-256("fedpeft/secagg/v1/commit" ‖ sid ‖ client ‖ seed), by which a put-together seed is known to be the client's.
Digest SeedCommitment(const SessionId& session, std::uint32_t client, const SecretKey& seed);

/// One end of a pair: a client and its public key.
struct KeyEnd {
  std::uint32_t client = 0;
  ByteSpan public_key;
};

/// The key of the mask that two clients share: HKDF(agreed, sid, "fedpeft/secagg/v1/pair-mask" ‖ lower client ‖ higher
/// client ‖ their mask keys ‖ model). Clients that were sent different models do not share it.
SecretKey PairMaskKey(const SecretKey& agreed, const SessionId& session, const KeyEnd& one, const KeyEnd& other,
                      const Digest& model);

/// The key that `from` seals shares for `to` with: HKDF(agreed, sid, "fedpeft/secagg/v1/share-enc" ‖ from ‖ to ‖ their
/// channel keys). Another one each way, so that what a client sent cannot be sent back to it.
SecretKey ShareKey(const SecretKey& agreed, const SessionId& session, const KeyEnd& from, const KeyEnd& to);

/// The key of a client's own mask: HKDF(seed, sid, "fedpeft/secagg/v1/self-mask" ‖ client ‖ model).
SecretKey SelfMaskKey(const SecretKey& seed, const SessionId& session, std::uint32_t client, const Digest& model);

/// What a neighbour is given: its shares of the seed, then of the private mask key.
inline constexpr std::size_t kSharePairBytes = 2 * kShareBytes;

/// The associated data of sealed shares: "fedpeft/secagg/v1/share" ‖ sid ‖ from ‖ to.
Bytes ShareLabel(const SessionId& session, std::uint32_t from, std::uint32_t to);

}  // namespace fedpeft::privacy
