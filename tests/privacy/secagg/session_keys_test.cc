#include "privacy/secagg/session_keys.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "privacy/crypto/aead.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/secagg/masks.h"
#include "tests/privacy/hex.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using testing::Counting;
using testing::KeyOf;
using testing::SeededRandom;

AgreementKey KnownKey(int i) {
  return std::move(*AgreementKey::Of(Suite::kX25519, KeyOf(Sha256Of(AsBytes("kat-client-" + std::to_string(i))))));
}

// Made with another library.
class KnownSession : public ::testing::Test {
 protected:
  KeyEnd EndOf(const AgreementKey& key) const { return {&key == &one_ ? 1u : 2u, key.public_key()}; }

  const AgreementKey one_ = KnownKey(1), two_ = KnownKey(2);
  const SessionId session_ = Sha256Of(AsBytes("kat-session"));
  const Digest model_ = Sha256Of(AsBytes("kat-model"));
};

TEST_F(KnownSession, C1DerivesTheKnownKeys) {
  EXPECT_EQ(Hex(one_.public_key()), "43a2cebdf959e8d3567490ff114b1871f92d111d0a8bbbe50d763c4f63062212");
  EXPECT_EQ(Hex(two_.public_key()), "06c6b7b0a3249c8dc043e3a5780c21e360cbedcb185ca2dbc1050a14b4e3ff7a");
  const SecretKey agreed = *one_.Agree(two_.public_key());
  EXPECT_EQ(Hex(agreed.bytes()), "f55dbe2f89571d4f0ee6554ff294bb7f116ee6030aad535bde03951e8823ee00");
  const std::string pair = "28970e5536131d5fe64e4e706d6b34f4157edb7a0715f3ebb91d16a4e65b7294";
  EXPECT_EQ(Hex(PairMaskKey(agreed, session_, EndOf(one_), EndOf(two_), model_).bytes()), pair);
  EXPECT_EQ(Hex(PairMaskKey(agreed, session_, EndOf(two_), EndOf(one_), model_).bytes()), pair);
  EXPECT_EQ(Hex(ShareKey(agreed, session_, EndOf(one_), EndOf(two_)).bytes()),
            "b7eca349fd2aa896cfafb34d1102d7a30ee811f430c02a4938c7efdf41c0be86");
  const SecretKey seed = KeyOf(Sha256Of(AsBytes("kat-self-seed-1")));
  EXPECT_EQ(Hex(SelfMaskKey(seed, session_, 1, model_).bytes()),
            "8842befb680f14e3a449fe91a6fd92876135f3895e6a098ce75dd57e0c8a124f");
}

TEST_F(KnownSession, C1SealsTheKnownShares) {
  const SecretKey key = ShareKey(*one_.Agree(two_.public_key()), session_, EndOf(one_), EndOf(two_));
  Nonce nonce;
  std::ranges::copy(Counting(0, nonce.size()), nonce.begin());
  const Bytes sealed = Seal(key, nonce, ShareLabel(session_, 1, 2), Counting(0, kSharePairBytes));
  EXPECT_EQ(Hex(ByteSpan(sealed).subspan(kNonceBytes, 16)), "090a19cf1ea616d43051546f45001bad");
  EXPECT_EQ(Hex(ByteSpan(sealed).last(kTagBytes)), "fcfb7ba7a12353d5a974835921c7a24b");
}

// A client that is sent its own shares as another's cannot open them.
TEST_F(KnownSession, A5ReflectedSharesDoNotOpen) {
  const SecretKey agreed = *one_.Agree(two_.public_key());
  const SecretKey there = ShareKey(agreed, session_, EndOf(one_), EndOf(two_));
  const SecretKey back = ShareKey(agreed, session_, EndOf(two_), EndOf(one_));
  const Bytes sealed = Seal(there, RandomSource::System(), ShareLabel(session_, 1, 2), Counting(0, kSharePairBytes));
  Bytes plain(kSharePairBytes);
  EXPECT_FALSE(Open(back, ShareLabel(session_, 2, 1), sealed, plain).ok());
  EXPECT_FALSE(Open(there, ShareLabel(session_, 2, 1), sealed, plain).ok());
  EXPECT_TRUE(Open(there, ShareLabel(session_, 1, 2), sealed, plain).ok()) << "or the test says nothing";
}

// Nothing that goes into a key leaves it as it was.
TEST_F(KnownSession, C3EverythingCounts) {
  const auto flipped = [](const Digest& digest, std::size_t bit) {
    Digest changed = digest;
    changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    return changed;
  };
  const SecretKey agreed = *one_.Agree(two_.public_key());
  const Bytes& first = one_.public_key();
  const Bytes& second = two_.public_key();
  std::set<std::string> keys;
  std::size_t count = 0;
  const auto add = [&](const SecretKey& key) {
    keys.insert(Hex(key.bytes()));
    ++count;
  };
  add(PairMaskKey(agreed, session_, {1, first}, {2, second}, model_));
  for (std::size_t bit = 0; bit < 256; ++bit) {
    add(PairMaskKey(agreed, flipped(session_, bit), {1, first}, {2, second}, model_));
    add(PairMaskKey(agreed, session_, {1, first}, {2, second}, flipped(model_, bit)));
    Bytes other = second;
    other[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    add(PairMaskKey(agreed, session_, {1, first}, {2, other}, model_));
  }
  for (std::uint32_t client = 3; client < 40; ++client) {
    add(PairMaskKey(agreed, session_, {1, first}, {client, second}, model_));
    add(SelfMaskKey(agreed, session_, client, model_));
  }
  EXPECT_EQ(keys.size(), count);
}

// A million pairs of random secrets and sessions: no two masks begin alike.
TEST(SessionKeysTest, C3MasksOfAMillionPairsDiffer) {
  constexpr std::size_t kPairs = 1'000'000;
  SeededRandom random(1);
  const Bytes first = Counting(1, 32), second = Counting(2, 32);
  const Digest model{};
  std::vector<std::uint64_t> starts(kPairs);
  for (std::uint64_t& start : starts) {
    SessionId session;
    random.Fill(session);
    const SecretKey key = PairMaskKey(RandomSecret<32>(random), session, {0, first}, {1, second}, model);
    start =
        LoadLe<std::uint64_t>(key.bytes());  // the first block is a bijection of the key's; the key is what may repeat
  }
  std::ranges::sort(starts);
  EXPECT_EQ(std::ranges::adjacent_find(starts), starts.end());
}

TEST(SessionKeysTest, RootsAreRfc6962s) {
  const auto leaf = [](int i) { return Sha256Of(AsBytes("leaf " + std::to_string(i))); };
  const auto node = [](const Digest& left, const Digest& right) {
    Bytes bytes{1};
    bytes.insert(bytes.end(), left.begin(), left.end());
    bytes.insert(bytes.end(), right.begin(), right.end());
    return Sha256Of(bytes);
  };
  std::vector<Digest> leaves{leaf(0)};
  EXPECT_EQ(MerkleRoot(leaves), leaf(0));
  leaves.push_back(leaf(1));
  EXPECT_EQ(MerkleRoot(leaves), node(leaf(0), leaf(1)));
  leaves.push_back(leaf(2));
  EXPECT_EQ(MerkleRoot(leaves), node(node(leaf(0), leaf(1)), leaf(2)));
  leaves.push_back(leaf(3));
  leaves.push_back(leaf(4));
  EXPECT_EQ(MerkleRoot(leaves), node(node(node(leaf(0), leaf(1)), node(leaf(2), leaf(3))), leaf(4)));
}

}  // namespace
}  // namespace fedpeft::privacy
