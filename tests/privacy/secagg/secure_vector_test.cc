#include "privacy/secagg/secure_vector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "peft/core/random.h"
#include "privacy/secagg/ring.h"
#include "tests/privacy/random.h"

namespace fedpeft::privacy {
namespace {

using ::testing::HasSubstr;
using testing::SeededRandom;
using Elements = std::vector<std::uint32_t>;

SecureVectorSpec SmallSpec(std::uint64_t clients) {
  SecureVectorSpec spec;
  spec.values = 1000;
  spec.counters = 3;
  spec.budget = {24, clients, 10};
  spec.exponent = 10;
  return spec;
}

SecureVectorLayout LayoutOf(const SecureVectorSpec& spec) {
  Result<SecureVectorLayout> layout = SecureVectorLayout::Make(spec);
  EXPECT_TRUE(layout.ok()) << layout.status().ToString();
  return std::move(*layout);
}

Bytes Packed(const Elements& elements, int bits) {
  Bytes packed(PackedBytes(elements.size(), bits));
  PackRing(elements, bits, packed);
  return packed;
}

std::vector<float> RandomValues(RandomStream& draws, std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(draws.NextNormal() * 0.1);
  return values;
}

/// Clients of weights 1, 2, …, masked in pairs that cancel.
class SecureVectorTest : public ::testing::Test {
 protected:
  struct Vector {
    std::vector<float> values;
    std::int64_t weight = 0;
    Bytes packed;
  };

  std::vector<Vector> Vectors(const SecureVectorLayout& layout, std::int64_t clients) {
    std::vector<Vector> vectors;
    for (std::int64_t i = 0; i < clients; ++i) {
      Vector vector{RandomValues(draws_, layout.spec().values), 1 + i % 10, {}};
      const std::int64_t counters[] = {vector.weight, 100 * vector.weight, -7};
      Elements elements = *layout.Encode(vector.values, counters, random_);
      if (i % 2 == 0) mask_ = RandomSecret<32>(random_);
      std::vector<Mask> masks;
      masks.push_back({mask_.Clone(), i % 2 == 1});
      if (i / 2 != clients / 2) AddMasks(masks, 0, elements);
      vector.packed = Packed(elements, layout.spec().budget.bits);
      vectors.push_back(std::move(vector));
    }
    return vectors;
  }

  void ExpectMean(const SecureVectorLayout& layout, const std::vector<Vector>& vectors, const SecureMean& sum) {
    double weight = 0;
    for (const Vector& vector : vectors) weight += static_cast<double>(vector.weight);
    ASSERT_EQ(sum.mean.size(), layout.spec().values);
    const double step = std::ldexp(1.0, -layout.spec().exponent);
    double squares = 0, largest = 0;
    for (std::size_t i = 0; i < sum.mean.size(); ++i) {
      double exact = 0;
      for (const Vector& vector : vectors) {
        exact += static_cast<double>(vector.values[i]) * static_cast<double>(vector.weight) / weight;
      }
      const double error = static_cast<double>(sum.mean[i]) - exact;
      squares += error * error;
      largest = std::max(largest, std::fabs(error));
    }
    EXPECT_LE(largest, layout.spec().rotation ? 6 * step : step);
    EXPECT_LE(std::sqrt(squares / static_cast<double>(sum.mean.size())), step);
    EXPECT_EQ(sum.counters[0], static_cast<std::int64_t>(weight));
    EXPECT_EQ(sum.counters[1], static_cast<std::int64_t>(100 * weight));
    EXPECT_EQ(sum.counters[2], -7 * static_cast<std::int64_t>(vectors.size()));
  }

  SeededRandom random_{1};
  RandomStream draws_{1, "values"};
  SecretKey mask_;
};

TEST_F(SecureVectorTest, P9MeanAndCountersOfWeightedClients) {
  for (const std::int64_t clients : {1, 2, 20, 101}) {
    const SecureVectorLayout layout = LayoutOf(SmallSpec(101));
    const auto vectors = Vectors(layout, clients);
    MaskedSum sum(layout);
    for (const Vector& vector : vectors) ASSERT_TRUE(sum.AddPiece(0, vector.packed).ok());
    const Result<SecureMean> mean = sum.Finish(static_cast<std::uint64_t>(clients));
    ASSERT_TRUE(mean.ok()) << mean.status().ToString();
    ExpectMean(layout, vectors, *mean);
    EXPECT_EQ(mean->counters.back(), 0) << "nothing saturated";
  }
}

TEST_F(SecureVectorTest, RotatedVectorsGiveTheSameMean) {
  SecureVectorSpec spec = SmallSpec(10);
  spec.rotation.emplace().fill(5);
  const SecureVectorLayout layout = LayoutOf(spec);
  const auto vectors = Vectors(layout, 10);
  MaskedSum sum(layout);
  for (const Vector& vector : vectors) ASSERT_TRUE(sum.AddPiece(0, vector.packed).ok());
  const Result<SecureMean> mean = sum.Finish(10);
  ASSERT_TRUE(mean.ok());
  ExpectMean(layout, vectors, *mean);
}

TEST_F(SecureVectorTest, CountsWhatSaturates) {
  SecureVectorSpec spec = SmallSpec(10);
  spec.exponent = 20;
  const SecureVectorLayout layout = LayoutOf(spec);
  std::vector<float> values(1000);
  values[3] = values[5] = 1e6f;
  values[7] = -1e6f;
  const std::int64_t counters[] = {1, 0, 0};
  MaskedSum sum(layout);
  ASSERT_TRUE(sum.AddPiece(0, Packed(*layout.Encode(values, counters, random_), 24)).ok());
  EXPECT_EQ(sum.Finish(1)->counters.back(), 3);
}

TEST_F(SecureVectorTest, B5BytesOnTheWire) {
  SecureVectorSpec spec = SmallSpec(1000);
  spec.budget.max_weight = 1;
  spec.values = 1'000'000;
  const SecureVectorLayout layout = LayoutOf(spec);
  EXPECT_LE(static_cast<double>(layout.packed_bytes()), 1.05 * 1e6 * 24 / 8);
  EXPECT_EQ(layout.elements() % kMaskAlignment, 0u);
}

// One client adds half the ring to everything, or sends noise, or has another model's masks.
TEST_F(SecureVectorTest, Q7A8A11CanariesFindWhatIsNoSum) {
  const SecureVectorLayout layout = LayoutOf(SmallSpec(10));
  const auto finished = [&](const std::function<void(Elements&)>& change) {
    MaskedSum sum(layout);
    for (int i = 0; i < 10; ++i) {
      const std::int64_t counters[] = {1, 0, 0};
      Elements elements = *layout.Encode(std::vector<float>(1000, 0.1f), counters, random_);
      if (i == 3) change(elements);
      EXPECT_TRUE(sum.AddPiece(0, Packed(elements, 24)).ok());
    }
    return sum.Finish(10).status();
  };
  EXPECT_TRUE(finished([](Elements&) {}).ok());
  const Status half = finished([](Elements& elements) {
    for (std::uint32_t& element : elements) element += 1u << 23;
  });
  EXPECT_EQ(half.code(), Code::kDataLoss);
  EXPECT_THAT(half.message(), HasSubstr("canaries are not zero"));
  EXPECT_THAT(finished([&](Elements& elements) {
                for (std::uint32_t& element : elements) element = draws_.NextU32();
              }).message(),
              HasSubstr("canaries"));
  EXPECT_THAT(finished([&](Elements& elements) {
                std::vector<Mask> masks;
                masks.push_back({RandomSecret<32>(random_), false});
                AddMasks(masks, 0, elements);
              }).message(),
              HasSubstr("canaries"));
}

TEST_F(SecureVectorTest, P9RefusesWeightsThatCannotBe) {
  const SecureVectorLayout layout = LayoutOf(SmallSpec(10));
  MaskedSum sum(layout);
  const std::int64_t counters[] = {10, 0, 0};
  ASSERT_TRUE(sum.AddPiece(0, Packed(*layout.Encode(std::vector<float>(1000), counters, random_), 24)).ok());
  EXPECT_TRUE(sum.Finish(1).ok());
  EXPECT_TRUE(sum.Finish(10).ok());
  EXPECT_THAT(sum.Finish(11).status().message(), HasSubstr("got a weight of 10 for 11 clients"));
  EXPECT_EQ(sum.Finish(0).status().code(), Code::kDataLoss);
}

TEST_F(SecureVectorTest, RefusesValuesThatAreNotFinite) {
  const SecureVectorLayout layout = LayoutOf(SmallSpec(10));
  const std::int64_t counters[] = {1, 0, 0};
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> values(1000);
    values[999] = bad;
    EXPECT_EQ(layout.Encode(values, counters, random_).status().code(), Code::kInvalidArgument);
  }
}

TEST_F(SecureVectorTest, RefusesValuesThatRotateBeyondFloats) {
  SecureVectorSpec spec = SmallSpec(10);
  spec.rotation.emplace().fill(5);
  const SecureVectorLayout layout = LayoutOf(spec);
  const std::int64_t counters[] = {1, 0, 0};
  EXPECT_EQ(layout.Encode(std::vector<float>(1000, 3e38f), counters, random_).status().code(), Code::kInvalidArgument);
}

TEST_F(SecureVectorTest, P9ClientsRefuseWeightsBeyondTheirMost) {
  const SecureVectorLayout layout = LayoutOf(SmallSpec(10));
  for (const std::int64_t weight : {-1, 0, 11}) {
    const std::int64_t counters[] = {weight, 0, 0};
    EXPECT_THAT(layout.Encode(std::vector<float>(1000), counters, random_).status().message(),
                HasSubstr("want 1 to 10"));
  }
}

TEST_F(SecureVectorTest, RefusesMoreSaturatedValuesThanThereAre) {
  const SecureVectorSpec spec = SmallSpec(10);
  const SecureVectorLayout layout = LayoutOf(spec);
  const CounterCode code = *CounterCode::Make(spec.budget);
  const std::int64_t counters[] = {1, 0, 0};
  const auto refusal = [&](std::int64_t saturated) {
    Elements elements = *layout.Encode(std::vector<float>(1000), counters, random_);
    code.Encode(saturated, std::span(elements).subspan(1000 + 3 * code.limbs(), code.limbs()));
    MaskedSum sum(layout);
    EXPECT_TRUE(sum.AddPiece(0, Packed(elements, 24)).ok());
    return sum.Finish(1).status().code();
  };
  EXPECT_EQ(refusal(1000), Code::kOk);
  EXPECT_EQ(refusal(1001), Code::kDataLoss);
  EXPECT_EQ(refusal(-1), Code::kDataLoss);
}

TEST_F(SecureVectorTest, RefusesPiecesThatAreNone) {
  const SecureVectorLayout layout = LayoutOf(SmallSpec(10));
  MaskedSum sum(layout);
  EXPECT_FALSE(sum.AddPiece(0, Bytes(layout.packed_bytes() + 3)).ok());
  EXPECT_FALSE(sum.AddPiece(layout.elements(), Bytes(3)).ok());
  EXPECT_FALSE(sum.AddPiece(layout.elements() + 8, Bytes(3)).ok());
  EXPECT_FALSE(sum.AddPiece(0, Bytes(25)).ok()) << "eight elements and a third of one";
  EXPECT_TRUE(sum.AddPiece(layout.elements() - 8, Bytes(24)).ok());
}

// 64 uploads at once, in pieces and in any order: the same as one after another.
TEST_F(SecureVectorTest, P12UploadsAtOnceGiveTheSameSum) {
  const SecureVectorLayout layout = LayoutOf(SmallSpec(64));
  const auto vectors = Vectors(layout, 64);
  MaskedSum serial(layout), parallel(layout);
  for (const Vector& vector : vectors) ASSERT_TRUE(serial.AddPiece(0, vector.packed).ok());
  {
    std::vector<std::jthread> uploads;
    for (const Vector& vector : vectors) {
      uploads.emplace_back([&] {
        constexpr std::size_t kPiece = 24 * 16;  // bytes of 128 elements
        for (std::size_t at = 0; at < vector.packed.size(); at += kPiece) {
          const ByteSpan piece = ByteSpan(vector.packed).subspan(at, std::min(kPiece, vector.packed.size() - at));
          EXPECT_TRUE(parallel.AddPiece(at / 3, piece).ok());
        }
      });
    }
  }
  std::vector<Mask> masks;
  for (int i = 0; i < 5; ++i) masks.push_back({RandomSecret<32>(random_), i % 2 == 0});
  std::vector<Mask> opposite;
  for (const Mask& mask : masks) opposite.push_back({mask.key.Clone(), !mask.subtract});
  parallel.Unmask(masks, 4);
  parallel.Unmask(opposite, 3);
  const Result<SecureMean> one = serial.Finish(64), other = parallel.Finish(64);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ(one->mean, other->mean);
  EXPECT_EQ(one->counters, other->counters);
}

}  // namespace
}  // namespace fedpeft::privacy
