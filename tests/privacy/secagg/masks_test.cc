#include "privacy/secagg/masks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "peft/core/random.h"
#include "privacy/crypto/keystream.h"
#include "privacy/secagg/masks_vaes.h"
#include "privacy/secagg/ring.h"
#include "tests/privacy/hex.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using testing::FromHex;
using testing::KeyOf;
using testing::SeededRandom;
using Elements = std::vector<std::uint32_t>;

std::vector<Mask> OneMask(const SecretKey& key, bool subtract = false) {
  std::vector<Mask> masks;
  masks.push_back({key.Clone(), subtract});
  return masks;
}

std::vector<MaskKernel> Kernels() {
  if (!vaes::Available()) return {MaskKernel::kOpenssl};
  return {MaskKernel::kOpenssl, MaskKernel::kVaes};
}

TEST(MasksTest, C1EqualsTheKnownMask) {
  const auto masks = OneMask(KeyOf(FromHex("28970e5536131d5fe64e4e706d6b34f4157edb7a0715f3ebb91d16a4e65b7294")));
  for (const MaskKernel kernel : Kernels()) {
    Elements elements(4);
    AddMasks(masks, 0, elements, kernel);
    EXPECT_EQ(elements, (Elements{1749697523u, 4171026404u, 905535339u, 2096639498u})) << NameOf(kernel);
    for (std::uint32_t& element : elements) element &= RingMask(20);
    EXPECT_EQ(elements, (Elements{672755u, 839652u, 614251u, 536074u}));
  }
}

// Every length, so that each way through the loops and each tail is taken; then a long one.
TEST(MasksTest, C7KernelsAddTheKeystream) {
  SeededRandom random(1);
  RandomStream draws(2, "draws");
  std::vector<Mask> masks;
  for (int i = 0; i < 3; ++i) masks.push_back({RandomSecret<32>(random), i % 2 == 1});
  std::vector<std::size_t> lengths(1026);
  std::iota(lengths.begin(), lengths.end(), 0);
  lengths.push_back(1'000'003);
  for (const std::size_t length : lengths) {
    const std::uint64_t first = draws.NextBelow(1 << 30) * kMaskAlignment;
    Elements before(length);
    std::ranges::generate(before, [&] { return draws.NextU32(); });
    Elements expected = before, words(length);
    for (const Mask& mask : masks) {
      Keystream stream(mask.key);
      stream.Seek(first / 4);
      stream.Read({reinterpret_cast<std::uint8_t*>(words.data()), 4 * length});
      for (std::size_t i = 0; i < length; ++i) expected[i] += mask.subtract ? 0 - words[i] : words[i];
    }
    for (const MaskKernel kernel : Kernels()) {
      Elements elements = before;
      AddMasks(masks, first, elements, kernel);
      ASSERT_EQ(elements, expected) << NameOf(kernel) << ": " << length << " from " << first;
    }
  }
}

TEST(MasksTest, C6PiecesAreTheWhole) {
  SeededRandom random(3);
  std::vector<Mask> masks;
  for (int i = 0; i < 5; ++i) masks.push_back({RandomSecret<32>(random), i % 2 == 0});
  for (const MaskKernel kernel : Kernels()) {
    Elements whole(20'000), pieces(whole.size());
    AddMasks(masks, 0, whole, kernel);
    for (std::size_t at = 0; at < pieces.size(); at += 1000) {
      AddMasks(masks, at, std::span(pieces).subspan(at, 1000), kernel);
    }
    EXPECT_EQ(pieces, whole) << NameOf(kernel);
  }
}

TEST(MasksTest, OppositeMasksCancel) {
  SeededRandom random(4);
  const SecretKey key = RandomSecret<32>(random);
  for (const MaskKernel kernel : Kernels()) {
    Elements elements(10'000);
    for (std::uint32_t i = 0; i < elements.size(); ++i) elements[i] = i * i;
    const Elements before = elements;
    AddMasks(OneMask(key), 8, elements, kernel);
    EXPECT_NE(elements, before);
    AddMasks(OneMask(key, /*subtract=*/true), 8, elements, kernel);
    EXPECT_EQ(elements, before);
  }
}

TEST(MasksTest, C7CountersGoBeyond32Bits) {
  SeededRandom random(5);
  const auto masks = OneMask(RandomSecret<32>(random));
  const std::uint64_t first = (std::uint64_t{1} << 34) - 64;  // blocks 2^32 − 16 and on
  Elements reference(256);
  AddMasks(masks, first, reference, MaskKernel::kOpenssl);
  for (const MaskKernel kernel : Kernels()) {
    Elements elements(256);
    AddMasks(masks, first, elements, kernel);
    EXPECT_EQ(elements, reference) << NameOf(kernel);
  }
}

// 2^20 random keys have as many first blocks.
TEST(MasksTest, A9KeysDoNotCollide) {
  SeededRandom random(6);
  std::set<std::uint64_t> seen;
  constexpr std::size_t kKeys = 1 << 20;
  for (std::size_t i = 0; i < kKeys; ++i) {
    std::array<std::uint32_t, 2> start{};
    AddMasks(OneMask(RandomSecret<32>(random)), 0, start);
    seen.insert(std::uint64_t{start[0]} << 32 | start[1]);
  }
  EXPECT_EQ(seen.size(), kKeys);
}

// A masked vector says nothing: its bytes are as even as chance's.
/// By their upper 8 bits, at a false-alarm rate below 1e-6.
void ExpectUniform(const Elements& elements, int bits) {
  std::vector<double> bins(256);
  for (const std::uint32_t element : elements) ++bins[(element & RingMask(bits)) >> (bits - 8)];
  double chi = 0;
  const double expected = static_cast<double>(elements.size()) / 256;
  for (const double count : bins) chi += (count - expected) * (count - expected) / expected;
  EXPECT_NEAR(chi, 255, 5.5 * std::sqrt(2 * 255.0)) << bits;
}

TEST(MasksTest, P3MaskedElementsAreUniform) {
  SeededRandom random(7);
  Elements elements(std::size_t{1} << 20, 12345);
  AddMasks(OneMask(RandomSecret<32>(random)), 0, elements);
  for (const int bits : {8, 20, 32}) ExpectUniform(elements, bits);
}

TEST(MasksTest, P4OneMaskThatIsLeftHidesTheVector) {
  // A client's own mask and those it shares with four neighbours; the coordinator has its seed, and three neighbours
  // help.
  SeededRandom random(8);
  std::vector<Mask> masks, known;
  for (const bool subtract : {false, false, true, false, true}) masks.push_back({RandomSecret<32>(random), subtract});
  Elements elements(std::size_t{1} << 20, 12345);
  AddMasks(masks, 0, elements);
  for (Mask& mask : std::span(masks).first(4)) known.push_back({std::move(mask.key), !mask.subtract});
  AddMasks(known, 0, elements);
  for (const int bits : {8, 20, 32}) ExpectUniform(elements, bits);
  // And with the last one nothing does.
  AddMasks(OneMask(std::move(masks[4].key)), 0, elements);
  EXPECT_EQ(std::ranges::count(elements, 12345u), std::ssize(elements));
}

}  // namespace
}  // namespace fedpeft::privacy
