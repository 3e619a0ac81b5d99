#include "peft/kernels/int8_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "peft/core/random.h"

namespace fedpeft {
namespace {

using ::testing::Each;

constexpr std::int64_t kSizes[] = {0, 1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 384, 1000};

std::vector<float> Normals(std::int64_t n, std::uint64_t seed) {
  RandomStream stream(seed, "rows");
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(stream.NextNormal()));
  return values;
}

struct Quantised {
  std::vector<std::int8_t> bytes;
  float worth = 0;
};

Quantised Quantise(const Int8Rows& rows, const std::vector<float>& x, const std::vector<float>* by = nullptr) {
  Quantised result{std::vector<std::int8_t>(x.size()), 0};
  result.worth = rows.quantise(x.data(), by == nullptr ? nullptr : by->data(), std::ssize(x), result.bytes.data());
  return result;
}

std::vector<float> Widen(const Int8Rows& rows, const std::vector<std::int32_t>& sums, float worth,
                         const std::vector<float>* scales, const std::vector<float>* bias) {
  std::vector<float> y(sums.size());
  rows.widen(sums.data(), worth, scales == nullptr ? nullptr : scales->data(), bias == nullptr ? nullptr : bias->data(),
             std::ssize(sums), y.data());
  return y;
}

TEST(Int8RowsTest, EveryInstructionSetGivesTheSameBits) {
  const Int8Rows& plain = Int8RowsOfProcessor().back();
  for (const Int8Rows& rows : Int8RowsOfProcessor()) {
    for (const std::int64_t n : kSizes) {
      SCOPED_TRACE(::testing::Message() << rows.name << ", " << n);
      const std::vector<float> x = Normals(n, 1), by = Normals(n, 2), bias = Normals(n, 3);
      for (const auto* scale : {static_cast<const std::vector<float>*>(nullptr), &by}) {
        const Quantised got = Quantise(rows, x, scale), want = Quantise(plain, x, scale);
        EXPECT_EQ(got.bytes, want.bytes);
        EXPECT_EQ(got.worth, want.worth);
        std::vector<std::int32_t> sums;
        for (const float value : x) sums.push_back(static_cast<std::int32_t>(value * 1e6f));
        for (const auto* added : {static_cast<const std::vector<float>*>(nullptr), &bias}) {
          EXPECT_EQ(Widen(rows, sums, 0.37f, scale, added), Widen(plain, sums, 0.37f, scale, added));
        }
      }
    }
  }
}

TEST(Int8RowsTest, BytesAreTheNearestSteps) {
  for (const Int8Rows& rows : Int8RowsOfProcessor()) {
    const std::vector<float> x = Normals(1000, 4), by = Normals(1000, 5);
    const Quantised got = Quantise(rows, x, &by);
    float largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] * by[i]));
    EXPECT_EQ(got.worth, largest / 127);
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_LE(std::abs(x[i] * by[i] - got.worth * static_cast<float>(got.bytes[i])), got.worth * 0.50001f);
    }
    EXPECT_EQ(Quantise(rows, {-127, 2.5f, 3.5f, 127}).bytes, (std::vector<std::int8_t>{-127, 2, 4, 127}));
  }
}

TEST(Int8RowsTest, RowsThatAreNextToNothingAreZeros) {
  for (const Int8Rows& rows : Int8RowsOfProcessor()) {
    for (const float tiny : {0.0f, -0.0f, 1e-45f, 1e-38f, 9e-31f}) {
      const Quantised got = Quantise(rows, {tiny, -tiny, 0});
      EXPECT_EQ(got.worth, 0) << tiny;
      EXPECT_THAT(got.bytes, Each(0)) << tiny;
    }
    EXPECT_EQ(Quantise(rows, {2e-30f}).bytes, std::vector<std::int8_t>{127});
  }
}

TEST(Int8RowsTest, WhatIsNotFiniteIsSeenInTheWorth) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Int8Rows& rows : Int8RowsOfProcessor()) {
    for (const float bad : {kInfinity, -kInfinity, std::nanf(""), -std::nanf("")}) {
      EXPECT_FALSE(std::isfinite(Quantise(rows, {1, bad, 2}).worth)) << rows.name << " " << bad;
    }
    // A product that overflows, of finite factors.
    const std::vector<float> large = {3e38f, 1};
    EXPECT_FALSE(std::isfinite(Quantise(rows, large, &large).worth));
  }
}

TEST(Int8RowsTest, SumsBecomeWhatTheyAreWorth) {
  const std::vector<float> scales = {2, 0.5f}, bias = {1, -1};
  for (const Int8Rows& rows : Int8RowsOfProcessor()) {
    EXPECT_EQ(Widen(rows, {10, -20}, 0.5f, nullptr, nullptr), (std::vector<float>{5, -10}));
    EXPECT_EQ(Widen(rows, {10, -20}, 0.5f, &scales, nullptr), (std::vector<float>{10, -5}));
    EXPECT_EQ(Widen(rows, {10, -20}, 0.5f, &scales, &bias), (std::vector<float>{11, -6}));
  }
}

}  // namespace
}  // namespace fedpeft
