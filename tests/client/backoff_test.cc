#include "client/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>

namespace fedpeft::client {
namespace {

TEST(BackoffTest, WaitsDoubleUpToTheCapAndStartAgain) {
  Backoff backoff;
  for (const double full : {0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0}) {
    const double wait = ToSeconds(backoff.Next());
    EXPECT_GE(wait, full / 2 - 1e-9);  // a nanosecond is rounded off
    EXPECT_LE(wait, full);
  }
  EXPECT_EQ(backoff.tries(), 8u);
  backoff.Reset();
  EXPECT_LE(ToSeconds(backoff.Next()), 0.1);
}

TEST(BackoffTest, ClientsThatFailTogetherComeBackSpreadOverSeconds) {
  // All lose their coordinator at 0, and it is back after 10 s: in which half second does each try first?
  constexpr int kClients = 2000;
  constexpr double kBack = 10;
  std::array<int, 10> halves{};
  for (int client = 0; client < kClients; ++client) {
    Backoff backoff;
    double at = 0;
    while (at <= kBack) at += ToSeconds(backoff.Next());
    ++halves.at(static_cast<std::size_t>((at - kBack) * 2));
  }
  // Evenly, a half second would have 10 %; the fullest is expected to have 17 %, the ninth fullest 4 %, and with this
  // many clients a share varies by 1 %.
  std::ranges::sort(halves, std::greater());
  EXPECT_LT(halves[0], kClients / 4);
  EXPECT_GT(halves[8], kClients / 100);
}

TEST(PatienceTest, IsCountedFromTheFirstFailure) {
  Patience patience(10);
  const Instant start{};
  EXPECT_FALSE(patience.EndsWithFailureAt(start + Seconds(120))) << "after a poll that was held for two minutes";
  EXPECT_FALSE(patience.EndsWithFailureAt(start + Seconds(130)));
  EXPECT_TRUE(patience.EndsWithFailureAt(start + Seconds(131)));
  patience.Reset();
  EXPECT_FALSE(patience.EndsWithFailureAt(start + Seconds(200)));
}

TEST(PatienceTest, ZeroIsForEver) {
  Patience patience(0);
  EXPECT_FALSE(patience.EndsWithFailureAt(Instant{}));
  EXPECT_FALSE(patience.EndsWithFailureAt(Instant{} + Seconds(1e6)));
}

}  // namespace
}  // namespace fedpeft::client
