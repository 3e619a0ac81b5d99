#include "privacy/secagg/ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "peft/core/random.h"

namespace fedpeft::privacy {
namespace {

using ::testing::HasSubstr;
using Elements = std::vector<std::uint32_t>;

Bytes Packed(const Elements& elements, int bits) {
  Bytes packed(PackedBytes(elements.size(), bits), 0xaa);
  PackRing(elements, bits, packed);
  return packed;
}

// Made with another library.
TEST(RingTest, C1PacksAsKnown) {
  EXPECT_EQ(Hex(Packed({0x12345, 0xABCDE, 0xFFFFF}, 20)), "4523e1cdabffff0f");
  EXPECT_EQ(Hex(Packed({0x1, 0xABCDEF}, 24)), "010000efcdab");
  EXPECT_EQ(Hex(Packed({0xABC, 0x123, 0xFFF}, 12)), "bc3a12ff0f");
}

TEST(RingTest, Q4PacksAllWidthsAndLengths) {
  RandomStream random(1, "elements");
  for (int bits = 1; bits <= 32; ++bits) {
    for (std::size_t count = 0; count <= 130; ++count) {
      Elements elements(count), unpacked(count, 7), sum(count);
      for (std::uint32_t& element : elements) element = random.NextU32();  // upper bits do not count
      for (std::uint32_t& element : sum) element = random.NextU32();
      const Elements before = sum;
      const Bytes packed = Packed(elements, bits);
      ASSERT_TRUE(UnpackRing(packed, bits, unpacked).ok());
      ASSERT_TRUE(AddPackedRing(packed, bits, sum).ok());
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_EQ(unpacked[i], elements[i] & RingMask(bits)) << bits << " " << count;
        ASSERT_EQ(sum[i], before[i] + unpacked[i]);
      }
    }
  }
}

TEST(RingTest, RefusesOtherLengthsAndBitsBehindTheEnd) {
  Elements elements(3, 9);
  for (const std::size_t size : {0u, 7u, 9u}) {
    EXPECT_THAT(UnpackRing(Bytes(size), 20, elements).message(), HasSubstr("want 8")) << size;
    EXPECT_EQ(AddPackedRing(Bytes(size), 20, elements).code(), Code::kInvalidArgument);
  }
  Bytes packed = Packed(elements, 20);
  packed.back() |= 0x10;
  EXPECT_THAT(AddPackedRing(packed, 20, elements).message(), HasSubstr("behind the last element"));
  EXPECT_EQ(elements, Elements(3, 9)) << "nothing is added of what is refused";
}

TEST(RingTest, CentersElements) {
  EXPECT_EQ(Centered(0, 8), 0);
  EXPECT_EQ(Centered(0x7f, 8), 127);
  EXPECT_EQ(Centered(0x80, 8), -128);
  EXPECT_EQ(Centered(0xff, 8), -1);
  EXPECT_EQ(Centered(0xabcd00ff, 8), -1) << "upper bits do not count";
  EXPECT_EQ(Centered(0x80000000, 32), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(Centered(0xfffff, 20), -1);
}

}  // namespace
}  // namespace fedpeft::privacy
