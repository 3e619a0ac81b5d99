#include "peft/params/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace fedpeft {
namespace {

/// A 16-bit binary format as its definition reads: sign, exponent, mantissa.
struct Format {
  int exponent_bits;
  int mantissa_bits;
  float (*widen)(std::uint16_t);
  std::uint16_t (*narrow)(float);

  int Bias() const { return (1 << (exponent_bits - 1)) - 1; }
  std::uint16_t Infinity() const { return static_cast<std::uint16_t>(((1 << exponent_bits) - 1) << mantissa_bits); }

  /// The value of a bit pattern by the definition, in double.
  double Reference(std::uint16_t bits) const {
    const int mantissa = bits & ((1 << mantissa_bits) - 1);
    const int exponent = (bits & 0x7fff) >> mantissa_bits;
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == (1 << exponent_bits) - 1) {
      return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
    }
    if (exponent == 0) return sign * std::ldexp(mantissa, 1 - Bias() - mantissa_bits);
    return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - Bias() - mantissa_bits);
  }
};

class HalfTest : public ::testing::TestWithParam<Format> {};

TEST_P(HalfTest, EveryBitPatternWidensToItsDefinition) {
  const Format& format = GetParam();
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const double want = format.Reference(bits);
    const float got = format.widen(bits);
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got)) << i;
    } else {
      EXPECT_EQ(static_cast<double>(got), want) << i;
      EXPECT_EQ(std::signbit(got), std::signbit(want)) << i;
    }
  }
}

TEST_P(HalfTest, EveryBitPatternComesBackFromFloat) {
  const Format& format = GetParam();
  for (int i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const std::uint16_t back = format.narrow(format.widen(bits));
    if (std::isnan(format.Reference(bits))) {
      EXPECT_TRUE(std::isnan(format.widen(back))) << i;
      EXPECT_EQ(back & 0x8000, bits & 0x8000) << i;
    } else {
      EXPECT_EQ(back, bits) << i;
    }
  }
}

// Between any two neighbours the midpoint is a float: it goes to the even one, the floats beside it to the nearer one.
TEST_P(HalfTest, EveryMidpointRoundsToEvenAndItsNeighboursToTheNearer) {
  const Format& format = GetParam();
  for (std::uint16_t low = 0; low + 1 < format.Infinity(); ++low) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    const auto middle = static_cast<float>((format.Reference(low) + format.Reference(high)) / 2);
    for (const std::uint16_t sign : {std::uint16_t{0}, std::uint16_t{0x8000}}) {
      const float signed_middle = sign == 0 ? middle : -middle;
      const float outward = sign == 0 ? INFINITY : -INFINITY;
      EXPECT_EQ(format.narrow(signed_middle), sign | (low % 2 == 0 ? low : high)) << low;
      EXPECT_EQ(format.narrow(std::nextafter(signed_middle, 0.0f)), sign | low) << low;
      EXPECT_EQ(format.narrow(std::nextafter(signed_middle, outward)), sign | high) << low;
    }
  }
}

TEST_P(HalfTest, ValuesFromHalfAStepBeyondTheLargestAreInfinite) {
  const Format& format = GetParam();
  const auto largest = static_cast<std::uint16_t>(format.Infinity() - 1);
  const double step = format.Reference(largest) - format.Reference(static_cast<std::uint16_t>(largest - 1));
  const auto limit = static_cast<float>(format.Reference(largest) + step / 2);
  EXPECT_EQ(format.narrow(limit), format.Infinity());
  EXPECT_EQ(format.narrow(std::nextafter(limit, 0.0f)), largest);
  EXPECT_EQ(format.narrow(-limit), format.Infinity() | 0x8000);
  EXPECT_EQ(format.narrow(INFINITY), format.Infinity());
}

INSTANTIATE_TEST_SUITE_P(Formats, HalfTest,
                         ::testing::Values(Format{5, 10, HalfToFloat, FloatToHalf},
                                           Format{8, 7, Bfloat16ToFloat, FloatToBfloat16}));

TEST(HalfBufferTest, ConvertsAtAnyAlignment) {
  const std::vector<float> values = {1.0f, -2.5f, 0.0f, 65504.0f};
  Bytes bytes(1 + 2 * values.size());
  const MutableByteSpan unaligned = MutableByteSpan(bytes).subspan(1);
  std::vector<float> back(values.size());
  FloatsToHalves(values, unaligned);
  EXPECT_EQ(LoadLe<std::uint16_t>(bytes, 1), 0x3c00);
  HalvesToFloats(unaligned, back);
  EXPECT_EQ(back, values);
  FloatsToBfloat16s({values.data(), 3}, unaligned.first(6));
  EXPECT_EQ(LoadLe<std::uint16_t>(bytes, 1), 0x3f80);
  Bfloat16sToFloats(unaligned.first(6), {back.data(), 3});
  EXPECT_EQ(back, values);
}

}  // namespace
}  // namespace fedpeft
