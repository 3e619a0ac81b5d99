#include "privacy/secagg/shamir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "peft/core/hash.h"
#include "privacy/secagg/field.h"
#include "privacy/secagg/polynomial.h"
#include "tests/privacy/hex.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::KeyOf;
using testing::SeededRandom;
using Words = SecretPolynomials::Words;

Words WordsOf(const Share& share) {
  Words words{};
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = LoadLe<std::uint64_t>(share.bytes(), 8 * i);
  return words;
}

/// With a byte of the word changed, by an amount that others' hardly cancel.
Share Damaged(const Share& share, std::size_t word = 0, std::uint64_t change = 1) {
  Share damaged = share.Clone();
  damaged.mutable_bytes()[8 * word + change / 255 % 7] ^= static_cast<std::uint8_t>(1 + change % 255);
  return damaged;
}

IsTheSecret Equals(const SecretKey& secret) {
  return [hex = Hex(secret.bytes())](const SecretKey& found) { return Hex(found.bytes()) == hex; };
}

/// Shares of holders 1 to `count`.
std::vector<HeldShare> SharesOf(const SecretKey& secret, std::uint32_t count, std::uint32_t threshold,
                                std::uint64_t seed = 1) {
  SeededRandom random(seed);
  const SecretPolynomials polynomials(secret, threshold, random);
  std::vector<HeldShare> shares;
  for (std::uint32_t x = 1; x <= count; ++x) shares.push_back({x, polynomials.At(x)});
  return shares;
}

void Shuffle(RandomStream& random, std::vector<HeldShare>& shares) {
  for (std::size_t i = shares.size(); i > 1; --i) std::swap(shares[i - 1], shares[random.NextBelow(i)]);
}

// Made with another library.
TEST(ShamirTest, C1EqualsTheKnownShares) {
  const SecretKey secret = KeyOf(Sha256Of(AsBytes("kat-shamir")));
  Words first{}, second{};
  for (std::uint64_t m = 0; m < first.size(); ++m) {
    first[m] = 1000003 * (m + 1);
    second[m] = 998244353 * (m + 1);
  }
  const Words coefficients[] = {first, second};
  const SecretPolynomials polynomials(secret, coefficients);
  EXPECT_THAT(WordsOf(polynomials.At(1)),
              ElementsAre(41454045472251348u, 30245292439630481u, 26417370916374400u, 30252175647486820u, 9066358555u));
  EXPECT_THAT(WordsOf(polynomials.At(2)), ElementsAre(41454048467984410u, 30245298431096605u, 26417379903573586u,
                                                      30252187630419068u, 24045023865u));
  EXPECT_THAT(WordsOf(polynomials.At(7)), ElementsAre(41454093393980310u, 30245388283088405u, 26417514681561286u,
                                                      30252367334402668u, 248675003365u));
}

TEST(ShamirTest, H1AnyThresholdSharesRecover) {
  RandomStream draws(1, "draws");
  SeededRandom random(2);
  for (int i = 0; i < 1000; ++i) {
    const auto count = static_cast<std::uint32_t>(1 + draws.NextBelow(i < 950 ? 40 : 300));
    const auto threshold = static_cast<std::uint32_t>(1 + draws.NextBelow(count));
    SecretKey secret = RandomSecret<32>(random);
    if (i % 10 < 2) std::ranges::fill(secret.mutable_bytes(), std::uint8_t(i % 10 == 0 ? 0 : 0xff));
    std::vector<HeldShare> shares = SharesOf(secret, count, threshold, static_cast<std::uint64_t>(i));
    Shuffle(draws, shares);
    const Result<Recovered> recovered = Recover(std::span(shares).first(threshold), threshold, Equals(secret));
    ASSERT_TRUE(recovered.ok()) << count << " " << threshold << " " << recovered.status().ToString();
    EXPECT_THAT(recovered->wrong, IsEmpty());
  }
}

// What threshold − 1 shares of one secret, with a guess for the missing one, say of it: anything alike.
TEST(ShamirTest, H2FewerSharesSayNothing) {
  constexpr int kSharings = 100'000;
  constexpr std::size_t kBins = 256;
  const SecretKey secret = KeyOf(Bytes(32, 0x5a));
  const std::uint64_t x[] = {1, 2, 3};
  const std::vector<std::uint64_t> weights = LagrangeAtZero(x);
  SeededRandom random(3);
  std::vector<double> bins(kBins);
  for (int i = 0; i < kSharings; ++i) {
    const SecretPolynomials polynomials(secret, 3, random);
    const std::uint64_t word = field::Add(field::Mul(weights[0], WordsOf(polynomials.At(1))[0]),
                                          field::Mul(weights[1], WordsOf(polynomials.At(2))[0]));
    ++bins[word >> 53];
  }
  double chi = 0;
  for (const double count : bins) chi += std::pow(count - kSharings / 256.0, 2) / (kSharings / 256.0);
  EXPECT_LT(chi, 255 + 5 * std::sqrt(2 * 255)) << "255 degrees of freedom";
}

TEST(ShamirTest, H3RefusesBadShares) {
  const SecretKey secret = KeyOf(Bytes(32, 7));
  const auto refusal = [&](const std::function<void(std::vector<HeldShare>&)>& change) {
    std::vector<HeldShare> shares = SharesOf(secret, 4, 3);
    change(shares);
    const Result<Recovered> recovered = Recover(shares, 3, Equals(secret));
    EXPECT_EQ(recovered.status().code(), Code::kInvalidArgument);
    return recovered.status().message();
  };
  EXPECT_THAT(refusal([](auto& shares) { shares[1].x = 0; }), HasSubstr("none 0"));
  EXPECT_THAT(refusal([](auto& shares) { shares[1].x = 1; }), HasSubstr("each x once"));
  EXPECT_THAT(refusal([](auto& shares) { shares.resize(2); }), HasSubstr("got 2, want 3"));
  EXPECT_THAT(refusal([](auto& shares) { shares.clear(); }), HasSubstr("got 0, want 3"));
  for (const std::uint64_t word : {field::kPrime, ~std::uint64_t{0}}) {
    EXPECT_THAT(refusal([&](auto& shares) { StoreLe(word, shares[2].share.mutable_bytes().data() + 32); }),
                HasSubstr("share of 3: got a word that is not below"));
  }
  EXPECT_EQ(Recover({}, 0, Equals(secret)).status().code(), Code::kInvalidArgument);
}

TEST(ShamirTest, H4NamesTheWrongShares) {
  RandomStream draws(4, "draws");
  SeededRandom random(5);
  for (int i = 0; i < 300; ++i) {
    const SecretKey secret = RandomSecret<32>(random);
    const auto threshold = static_cast<std::uint32_t>(1 + draws.NextBelow(20));
    const auto spare = static_cast<std::uint32_t>(1 + draws.NextBelow(9));
    std::vector<HeldShare> shares = SharesOf(secret, threshold + spare, threshold, static_cast<std::uint64_t>(i));
    std::vector<std::uint32_t> wrong;
    for (std::uint32_t j = 0; j < std::max(spare / 2, 1u); ++j) {
      const auto at = static_cast<std::uint32_t>(j == 0 ? 0 : draws.NextBelow(shares.size()));
      if (std::ranges::count(wrong, at + 1) > 0) continue;
      shares[at].share = Damaged(shares[at].share, draws.NextBelow(kSecretWords), draws.NextU32());
      wrong.push_back(at + 1);
    }
    std::ranges::sort(wrong);
    const Result<Recovered> recovered = Recover(shares, threshold, Equals(secret));
    ASSERT_TRUE(recovered.ok()) << threshold << " + " << spare << ": " << recovered.status().ToString();
    EXPECT_EQ(Hex(recovered->secret.bytes()), Hex(secret.bytes()));
    EXPECT_EQ(recovered->wrong, wrong);
  }
}

TEST(ShamirTest, H4GivesNothingWithoutASpareShare) {
  const SecretKey secret = KeyOf(Bytes(32, 7));
  for (std::size_t word = 0; word < kSecretWords; ++word) {
    std::vector<HeldShare> shares = SharesOf(secret, 5, 5);
    shares[2].share = Damaged(shares[2].share, word);
    EXPECT_EQ(Recover(shares, 5, Equals(secret)).status().code(), Code::kDataLoss);
  }
  std::vector<HeldShare> shares = SharesOf(secret, 6, 4);  // two wrong of two to spare
  shares[1].share = Damaged(shares[1].share);
  shares[3].share = Damaged(shares[3].share);
  EXPECT_EQ(Recover(shares, 4, Equals(secret)).status().code(), Code::kDataLoss);
}

TEST(PolynomialTest, DecodesUpToHalfOfTheSpareValues) {
  RandomStream draws(6, "draws");
  const auto number = [&] { return draws.NextBelow(field::kPrime); };
  for (int i = 0; i < 300; ++i) {
    const std::size_t terms = 1 + draws.NextBelow(12);
    const std::size_t errors = draws.NextBelow(6);
    const std::size_t points = terms + 2 * errors + draws.NextBelow(2);
    Polynomial polynomial(terms);
    std::ranges::generate(polynomial, number);
    if (i % 10 == 0) polynomial.assign(1, 0);
    while (!polynomial.empty() && polynomial.back() == 0) polynomial.pop_back();
    std::vector<std::uint64_t> x(points), y(points);
    std::iota(x.begin(), x.end(), 1 + draws.NextBelow(1000));
    for (std::size_t j = 0; j < points; ++j) y[j] = ValueAt(polynomial, x[j]);
    for (std::size_t j = 0; j < errors; ++j) y[(7 * j + 3) % points] = number();
    EXPECT_EQ(DecodeReedSolomon(x, y, terms), polynomial) << terms << " terms, " << errors << " of " << points;
  }
}

TEST(PolynomialTest, FindsNothingAmongRandomValues) {
  RandomStream draws(7, "draws");
  for (int i = 0; i < 100; ++i) {
    std::vector<std::uint64_t> x(20), y(20);
    std::iota(x.begin(), x.end(), 1);
    std::ranges::generate(y, [&] { return draws.NextBelow(field::kPrime); });
    EXPECT_EQ(DecodeReedSolomon(x, y, 10), std::nullopt);
  }
}

TEST(FieldTest, IsAField) {
  EXPECT_EQ(field::Add(field::kPrime - 1, 1), 0u);
  EXPECT_EQ(field::Sub(0, 1), field::kPrime - 1);
  EXPECT_EQ(field::Mul(field::kPrime - 1, field::kPrime - 1), 1u);
  EXPECT_EQ(field::Inverse(0), 0u);
  RandomStream draws(8, "draws");
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t a = 1 + draws.NextBelow(field::kPrime - 1), b = draws.NextBelow(field::kPrime);
    EXPECT_EQ(field::Mul(a, field::Inverse(a)), 1u);
    EXPECT_EQ(field::Sub(field::Add(a, b), b), a);
    __extension__ using Wide = unsigned __int128;
    EXPECT_EQ(field::Mul(a, b), static_cast<std::uint64_t>(static_cast<Wide>(a) * b % field::kPrime));
  }
}

}  // namespace
}  // namespace fedpeft::privacy
