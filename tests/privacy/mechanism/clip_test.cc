#include "privacy/mechanism/clip.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "peft/core/random.h"

namespace fedpeft::privacy {
namespace {

double NormOf(std::span<const float> values) {
  NormCounter counter;
  counter.Add(values);
  return counter.norm();
}

std::vector<float> Random(std::uint64_t seed, std::size_t size, double scale) {
  RandomStream stream(seed, "clip");
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(scale * stream.NextNormal());
  return values;
}

TEST(ClipTest, D1TheNormIsAtMostTheClipAndTheDirectionIsKept) {
  for (const double clip : {.01, 1.0, 37.0}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const std::vector<float> before = Random(seed, 1 + 97 * seed, 3);
      std::vector<float> after = before;
      const double norm = NormOf(before);
      ClipPiece(after, ClipFactor(norm, clip), 30);
      EXPECT_LE(NormOf(after), clip);
      if (norm <= clip) continue;
      EXPECT_GE(NormOf(after), clip * (1 - 1e-5));
      double product = 0;
      for (std::size_t i = 0; i < before.size(); ++i)
        product += static_cast<double>(before[i]) * static_cast<double>(after[i]);
      EXPECT_NEAR(product / (norm * NormOf(after)), 1, 1e-6);
    }
  }
}

TEST(ClipTest, D1ZeroAndSmallVectorsStay) {
  std::vector<float> zero(10, 0.0f);
  ClipPiece(zero, ClipFactor(NormOf(zero), 1), 20);
  EXPECT_EQ(zero, std::vector<float>(10, 0.0f));
  std::vector<float> small{0.25f, -0.125f};
  ClipPiece(small, ClipFactor(NormOf(small), 1), 20);
  EXPECT_EQ(small, (std::vector<float>{0.25f, -0.125f}));
}

TEST(ClipTest, D1WhatIsNotFiniteIsZeroAndCounted) {
  std::vector<float> values{3, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 4};
  NormCounter counter;
  counter.Add(values);
  EXPECT_EQ(counter.norm(), 5);
  EXPECT_EQ(counter.not_finite(), 2u);
  ClipPiece(values, ClipFactor(counter.norm(), 10), 10);
  EXPECT_EQ(values, (std::vector<float>{3, 0, 0, 4}));
}

TEST(ClipTest, S4ValuesAreOnTheGrid) {
  std::vector<float> values = Random(1, 1000, 1);
  ClipPiece(values, 0.37, 12);
  for (const float value : values) EXPECT_EQ(std::ldexp(value, 12), std::trunc(std::ldexp(value, 12)));
}

// Norms between 0.5 and 1.5, whose median is 1: it is found from below and from above. (With the sign turned round, as
// where clients tell that they were clipped, it runs away.)
TEST(AdaptiveClipTest, D5FindsTheMedianOfTheNorms) {
  const AdaptiveClip adaptive;
  for (const double start : {.1, 3.0}) {
    RandomStream stream(5, "norms");
    double clip = start;
    for (int round = 0; round < 60; ++round) {
      int within = 0;
      for (int client = 0; client < 1000; ++client) within += 0.5 + stream.NextDouble() <= clip;
      clip = adaptive.Next(clip, within / 1000.0);
    }
    EXPECT_NEAR(clip, 1, 0.1) << start;
  }
}

TEST(AdaptiveClipTest, D6TheCountTakesItsShareOfTheNoise) {
  AdaptiveClip adaptive;
  adaptive.count_noise = 5;
  EXPECT_NEAR(*adaptive.VectorNoise(1), 1.005038, 1e-6);
  EXPECT_NEAR(*adaptive.VectorNoise(2), 2.041241, 1e-6);
  adaptive.count_noise = 1;
  EXPECT_EQ(adaptive.VectorNoise(2).status().code(), Code::kInvalidArgument);
}

// Three groups, in pieces whose ends are nobody's.
TEST(ClipTest, D1EachGroupIsWithinItsPartOfTheNormAndTheWholeWithinTheNorm) {
  const ClipGroups groups{{{40, 0}, {7, 2}, {30, 1}, {23, 0}}, {0.5, 0.2, 0.3}};
  for (const double clip : {.01, 1.0, 37.0}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const std::vector<float> before = Random(seed, 100, 0.3);
      std::vector<float> after = before;
      VectorClip clipped(clip, groups);
      for (std::size_t at = 0; at < 100; at += 9) {
        clipped.Measure(at, std::span(before).subspan(at, std::min<std::size_t>(9, 100 - at)));
      }
      for (std::size_t at = 0; at < 100; at += 13) {
        clipped.Clip(at, std::span(after).subspan(at, std::min<std::size_t>(13, 100 - at)), 30);
      }
      EXPECT_LE(NormOf(after), clip);
      bool within = true;
      for (std::size_t group = 0; group < 3; ++group) {
        const double most = clip * std::sqrt(groups.shares[group]);
        std::vector<float> of_before, of_after;
        groups.ForEach(0, std::span(before), [&](std::span<const float> part, std::size_t of) {
          if (of == group) of_before.insert(of_before.end(), part.begin(), part.end());
        });
        groups.ForEach(0, std::span(after), [&](std::span<float> part, std::size_t of) {
          if (of == group) of_after.insert(of_after.end(), part.begin(), part.end());
        });
        EXPECT_NEAR(NormOf(of_after), std::min(most, NormOf(of_before)), 1e-5 * most + 1e-7);
        within = within && NormOf(of_before) <= most;
      }
      EXPECT_EQ(clipped.within(), within);
    }
  }
}

TEST(ClipTest, WithoutGroupsAllIsOne) {
  const std::vector<float> before = Random(1, 50, 1);
  std::vector<float> one = before, whole = before;
  VectorClip clipped(0.5, {});
  clipped.Measure(0, before);
  clipped.Clip(0, one, 30);
  ClipPiece(whole, ClipFactor(NormOf(before), 0.5), 30);
  EXPECT_EQ(one, whole);
}

}  // namespace
}  // namespace fedpeft::privacy
