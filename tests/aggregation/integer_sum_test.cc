#include "aggregation/integer_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include <thread>

#include "peft/core/random.h"
#include "tests/aggregation/layouts.h"

namespace fedpeft::aggregation {
namespace {

using ::testing::HasSubstr;
using testing::TwoTensors;
using testing::WholePayload;
using testing::Wire;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

IntegerSum MakeSum(const SumSpec& spec, std::int64_t tail = 4) {
  const auto layout = TwoTensors(tail);
  Result<IntegerSum> sum = IntegerSum::Make(layout, WholePayload(*layout, spec.max_abs), spec);
  EXPECT_TRUE(sum.ok()) << sum.status().ToString();
  return std::move(sum).value();
}

std::vector<std::int64_t> Values(const IntegerSum& sum) {
  return {sum.values().begin(), sum.values().end()};
}

struct Update {
  std::vector<float> values;
  std::uint64_t weight;
};

/// Values over many magnitudes, so that floating-point sums would depend on their order.
std::vector<Update> MixedUpdates(std::size_t count, std::size_t size) {
  RandomStream stream(7, "test-updates");
  std::vector<Update> updates(count);
  for (Update& update : updates) {
    update.weight = 1 + stream.NextBelow(1000);
    for (std::size_t i = 0; i < size; ++i) {
      const int magnitude = static_cast<int>(stream.NextBelow(24)) - 20;
      update.values.push_back(static_cast<float>(std::ldexp(stream.NextDouble() * 2 - 1, magnitude)));
    }
  }
  return updates;
}

TEST(GridExponentTest, IsTheSmallerOfTheTwoBounds) {
  // log2(16 · 10^6) rounds up to 24, and 100 of them to 31: min(62 − 31, 50 − 24).
  EXPECT_EQ(*GridExponent({16, 1'000'000, 100}), 26);
  // Powers of two are exact: 2^4 · 2^0 · 2^20 and 2^4.
  EXPECT_EQ(*GridExponent({16, 1, 1 << 20}), 38);
  EXPECT_EQ(*GridExponent({16, 1, 1}), 46);
  EXPECT_EQ(*GridExponent({std::nextafter(16.0, 17.0), 1, 1}), 45);
  EXPECT_EQ(*GridExponent({1e6, 1'000'000'000, 1'000'000}), -8);
}

TEST(GridExponentTest, RefusesBoundsWithoutAGrid) {
  for (const double max_abs : {0.0, -1.0, std::nan(""), HUGE_VAL}) EXPECT_FALSE(GridExponent({max_abs, 1, 1}).ok());
  EXPECT_FALSE(GridExponent({1, 0, 1}).ok());
  EXPECT_FALSE(GridExponent({1, 1, 0}).ok());
  EXPECT_FALSE(GridExponent({1, std::uint64_t{1} << 40, std::uint64_t{1} << 14}).ok());
  EXPECT_FALSE(GridExponent({1, std::uint64_t{1} << 40, std::uint64_t{1} << 40}).ok());
}

TEST(IntegerSumTest, RoundsWeightedValuesToTheGridTiesToEven) {
  // s = 50 − 44 = 6: the grid is 1/64, so values in units of half a grid step tie.
  IntegerSum sum = MakeSum({1, std::uint64_t{1} << 44, 1});
  ASSERT_EQ(sum.grid_exponent(), 6);
  const float half = 0x1p-7f;
  ASSERT_TRUE(sum.Add(Wire({half, 3 * half, 5 * half, -half, -3 * half, 0.3f, 1, -1, 0x1p-149f, -0.0f}), 1).ok());
  // 0.3 · 64 = 19.2.
  EXPECT_THAT(Values(sum), ::testing::ElementsAre(0, 2, 2, 0, -2, 19, 64, -64, 0, 0));
}

TEST(IntegerSumTest, EqualsTheRoundingOfLlrintForRandomValues) {
  const std::vector<Update> updates = MixedUpdates(50, 10);
  IntegerSum sum = MakeSum({16, 1000, 50});
  std::vector<std::int64_t> want(10);
  for (const Update& update : updates) {
    ASSERT_TRUE(sum.Add(Wire(update.values), update.weight).ok());
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double weighted = static_cast<double>(update.values[i]) * static_cast<double>(update.weight);
      want[i] += std::llrint(std::ldexp(weighted, sum.grid_exponent()));
    }
  }
  EXPECT_EQ(Values(sum), want);
}

TEST(IntegerSumTest, SameBitsForEveryOrderOfArrival) {
  const std::vector<Update> updates = MixedUpdates(20, 10);
  std::vector<std::size_t> order(updates.size());
  std::iota(order.begin(), order.end(), 0u);
  RandomStream stream(1, "test-order");
  std::vector<std::int64_t> first;
  for (int shuffle = 0; shuffle < 100; ++shuffle) {
    IntegerSum sum = MakeSum({16, 1000, 20});
    for (const std::size_t index : order) ASSERT_TRUE(sum.Add(Wire(updates[index].values), updates[index].weight).ok());
    if (shuffle == 0) first = Values(sum);
    ASSERT_EQ(Values(sum), first) << "shuffle " << shuffle;
    stream.Shuffle(std::span(order));
  }
}

TEST(IntegerSumTest, SameBitsFromManyThreads) {
  const std::vector<Update> updates = MixedUpdates(40, 10);
  IntegerSum serial = MakeSum({16, 1000, 40});
  for (const Update& update : updates) ASSERT_TRUE(serial.Add(Wire(update.values), update.weight).ok());

  IntegerSum shared = MakeSum({16, 1000, 40});
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < updates.size(); i += 4) {
        const std::lock_guard lock(mutex);
        EXPECT_TRUE(shared.Add(Wire(updates[i].values), updates[i].weight).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Values(shared), Values(serial));
  EXPECT_EQ(shared.total_weight(), serial.total_weight());
}

TEST(IntegerSumTest, ABadValueIsNamedAndLeavesTheSumAlone) {
  const struct {
    std::size_t element;
    float value;
    const char* named;
  } rejects[] = {{0, kNan, "\"a\" of shape [2,3] has nan at element 0"},
                 {5, kInfinity, "\"a\" of shape [2,3] has inf at element 5"},
                 {6, -kInfinity, "\"b\" of shape [4] has -inf at element 0"},
                 {9, 16.5f, "\"b\" of shape [4] has 16.5 at element 3"},
                 {9, std::nextafter(-16.0f, -17.0f), "at element 3, want finite values of at most 16"}};
  IntegerSum sum = MakeSum({16, 10, 10});
  ASSERT_TRUE(sum.Add(Wire(std::vector<float>(10, 16)), 3).ok());
  const std::vector<std::int64_t> before = Values(sum);
  for (const auto& reject : rejects) {
    std::vector<float> values(10, 1);
    values[reject.element] = reject.value;
    const Status status = sum.Add(Wire(values), 1);
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr(reject.named));
    EXPECT_EQ(Values(sum), before);
  }
  EXPECT_EQ(sum.total_weight(), 3u);
  EXPECT_EQ(sum.contributions(), 1u);
}

TEST(IntegerSumTest, ABadLastValueOfALongUpdateLeavesTheSumAlone) {
  constexpr std::int64_t kTail = 50'000;  // several pieces
  IntegerSum sum = MakeSum({1, 1, 2}, kTail);
  std::vector<float> values(6 + kTail, 0.5f);
  values.back() = kNan;
  EXPECT_THAT(sum.Add(Wire(values), 1).message(), HasSubstr("\"b\" of shape [50000] has nan at element 49999"));
  EXPECT_THAT(sum.values(), ::testing::Each(0));
  values.back() = 0.5f;
  ASSERT_TRUE(sum.Add(Wire(values), 1).ok());
  EXPECT_THAT(sum.values(), ::testing::Each(std::int64_t{1} << (sum.grid_exponent() - 1)));
}

TEST(IntegerSumTest, SegmentsHaveTheirOwnBounds) {
  const auto layout = TwoTensors();
  PayloadLayout payload = WholePayload(*layout, 1);
  payload.segments[1].max_abs = 0.1;  // not a float: 0.1f is beyond it
  Result<IntegerSum> sum = IntegerSum::Make(layout, payload, {1, 1, 2});
  ASSERT_TRUE(sum.ok());
  std::vector<float> values = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0.1f};
  EXPECT_THAT(sum->Add(Wire(values), 1).message(), HasSubstr("tensor \"b\""));
  values.back() = std::nextafter(0.1f, 0.0f);
  EXPECT_TRUE(sum->Add(Wire(values), 1).ok());

  payload.segments[1].max_abs = 2;
  EXPECT_THAT(IntegerSum::Make(layout, payload, {1, 1, 2}).status().message(), HasSubstr("tensor \"b\""));
}

TEST(IntegerSumTest, RefusesWrongLengthWeightAndOneTooMany) {
  IntegerSum sum = MakeSum({1, 5, 2});
  const std::vector<float> values(10, 1);
  EXPECT_EQ(sum.Add(Wire(values).first(39), 1).code(), Code::kInvalidArgument);
  EXPECT_EQ(sum.Add(ByteSpan{}, 1).code(), Code::kInvalidArgument);
  EXPECT_EQ(sum.Add(Wire(values), 0).code(), Code::kInvalidArgument);
  EXPECT_THAT(sum.Add(Wire(values), 6).message(), HasSubstr("got weight 6, want 1 to 5"));
  ASSERT_TRUE(sum.Add(Wire(values), 5).ok());
  ASSERT_TRUE(sum.Add(Wire(values), 5).ok());
  EXPECT_EQ(sum.Add(Wire(values), 5).code(), Code::kResourceExhausted);
  EXPECT_EQ(sum.contributions(), 2u);
}

TEST(IntegerSumTest, TheLargestSumFits) {
  const SumSpec spec{16, 1 << 10, 1 << 8};
  IntegerSum sum = MakeSum(spec);
  for (std::uint64_t i = 0; i < spec.max_contributions; ++i) {
    ASSERT_TRUE(sum.Add(Wire(std::vector<float>(10, -16)), spec.max_weight).ok());
  }
  const double want = -std::ldexp(16.0 * (1 << 10) * (1 << 8), sum.grid_exponent());
  EXPECT_THAT(sum.values(), ::testing::Each(static_cast<std::int64_t>(want)));
  // The int64 bound decides here, and is met exactly.
  IntegerSum full = MakeSum({16, 1, 1 << 14});
  ASSERT_EQ(full.grid_exponent(), 44);
  for (int i = 0; i < 1 << 14; ++i) ASSERT_TRUE(full.Add(Wire(std::vector<float>(10, 16)), 1).ok());
  EXPECT_THAT(full.values(), ::testing::Each(std::int64_t{1} << 62));
}

TEST(IntegerSumTest, ReadsUnalignedBytes) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  Bytes shifted(1);
  shifted.insert(shifted.end(), Wire(values).begin(), Wire(values).end());
  IntegerSum aligned = MakeSum({16, 1, 1});
  IntegerSum unaligned = MakeSum({16, 1, 1});
  ASSERT_TRUE(aligned.Add(Wire(values), 1).ok());
  ASSERT_TRUE(unaligned.Add(ByteSpan(shifted).subspan(1), 1).ok());
  EXPECT_EQ(Values(aligned), Values(unaligned));
}

/// Serves ones; pass 2 (reads from offset 0 on for the second time) can fail or serve something else.
UpdateReader SecondPass(Status outcome, float value, int& passes) {
  return [=, &passes](std::uint64_t offset, MutableByteSpan out) {
    if (offset == 0) ++passes;
    for (std::size_t i = 0; i < out.size(); i += sizeof(float)) StoreLe(passes == 2 ? value : 1.0f, out.data() + i);
    return passes == 2 ? outcome : OkStatus();
  };
}

TEST(IntegerSumTest, AFailedFirstPassLeavesTheSumUsable) {
  IntegerSum sum = MakeSum({16, 1, 2});
  const auto broken = [](std::uint64_t, MutableByteSpan) { return Unavailable("spool: gone"); };
  EXPECT_EQ(sum.Add(40, broken, 1).code(), Code::kUnavailable);
  EXPECT_FALSE(sum.spoiled());
  EXPECT_TRUE(sum.Add(Wire(std::vector<float>(10, 1)), 1).ok());
}

TEST(IntegerSumTest, AFailedSecondPassSpoilsTheSumForGood) {
  int passes = 0;
  IntegerSum failing = MakeSum({16, 1, 2});
  EXPECT_EQ(failing.Add(40, SecondPass(Unavailable("spool: gone"), 1, passes), 1).code(), Code::kDataLoss);
  EXPECT_TRUE(failing.spoiled());
  EXPECT_EQ(failing.Add(Wire(std::vector<float>(10, 1)), 1).code(), Code::kDataLoss);

  passes = 0;
  IntegerSum changing = MakeSum({16, 1, 2});
  EXPECT_EQ(changing.Add(40, SecondPass(OkStatus(), 1e30f, passes), 1).code(), Code::kDataLoss);
  EXPECT_TRUE(changing.spoiled());
}

}  // namespace
}  // namespace fedpeft::aggregation
