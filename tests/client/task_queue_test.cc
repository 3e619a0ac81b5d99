#include "client/task_queue.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <thread>

namespace fedpeft::client {
namespace {

Work Train(const std::string& client, std::uint32_t round, std::uint32_t attempt) {
  return {{client, round, attempt, 0}, TrainWork{}};
}
Work Evaluate(const std::string& client, std::uint32_t round) {
  return {{client, round, 1, 1}, EvaluateWork{}};
}

TEST(TaskQueueTest, RepeatedTasksAreDoneOnce) {
  TaskQueue queue;
  queue.Offer(Train("a", 1, 1));
  queue.Offer(Train("a", 1, 1));
  queue.Offer(Train("b", 1, 1));
  EXPECT_EQ(queue.Take()->key.client, "a");
  EXPECT_EQ(queue.Take()->key.client, "b");
  queue.Finish(OkStatus());
  EXPECT_FALSE(queue.Take().has_value());
}

Work Step(const std::string& client, std::uint32_t round, std::uint32_t attempt, std::uint32_t step) {
  return {{client, round, attempt, step}, SecureWork{}};
}

TEST(TaskQueueTest, StepsOfASumComeBeforeOtherTasksInTheirOrder) {
  TaskQueue queue;
  queue.Offer(Evaluate("a", 1));
  queue.Offer(Train("b", 2, 1));
  queue.Offer(Step("a", 2, 1, 4));
  queue.Offer(Step("b", 2, 1, 4));
  queue.Offer(Step("a", 2, 1, 5));
  queue.Offer(Step("a", 2, 1, 5));  // again
  for (const auto& [client, step] : {std::pair("a", 4u), {"b", 4u}, {"a", 5u}}) {
    const std::optional<Work> work = queue.Take();
    EXPECT_EQ(work->key.client, client);
    EXPECT_EQ(work->key.step, step);
  }
}

TEST(TaskQueueTest, ASumEndsTheTrainingsThatAreTooLateForIt) {
  TaskQueue queue;
  queue.Offer(Train("a", 1, 1));
  queue.Offer(Train("b", 1, 1));
  ASSERT_EQ(queue.Take()->key.client, "a");
  queue.Offer(Step("c", 1, 1, 4));
  EXPECT_TRUE(queue.cancelled());
  EXPECT_EQ(queue.Take()->key.client, "c");
  EXPECT_FALSE(queue.cancelled());
  // The next attempt wants them.
  queue.Offer(Train("b", 1, 2));
  EXPECT_EQ(queue.Take()->key.attempt, 2u);
  queue.Offer(Step("c", 1, 1, 5));
  EXPECT_FALSE(queue.cancelled());
}

TEST(TaskQueueTest, StepsAreOverWithTheirRound) {
  TaskQueue queue;
  queue.Offer(Step("a", 1, 1, 8));
  queue.CloseRounds(1);
  queue.Offer(Train("a", 2, 1));
  EXPECT_EQ(queue.Take()->key.round, 2u);
}

TEST(TaskQueueTest, RoundZeroIsEvaluatedOnce) {
  TaskQueue queue;
  const Work start{{"a", 0, 0, 1}, EvaluateWork{}};
  queue.Offer(start);
  queue.Offer(start);
  EXPECT_EQ(queue.Take()->key, start.key);
  queue.Offer(Evaluate("a", 1));
  EXPECT_EQ(queue.Take()->key.round, 1u);
}

TEST(TaskQueueTest, MemoryDoesNotGrowWithTheRounds) {
  TaskQueue queue;
  const auto used = [] { return mallinfo2().uordblks; };
  const auto do_rounds = [&](std::uint32_t from, std::uint32_t until) {
    for (std::uint32_t round = from; round < until; ++round) {
      queue.Offer(Train("a-client-with-a-long-name", round, 1));
      ASSERT_EQ(queue.Take()->key.round, round);
      queue.CloseRounds(round);
    }
  };
  do_rounds(1, 100);
  const std::size_t before = used();
  do_rounds(100, 10'000);
  // A remembered key takes over 80 bytes, so 10000 of them near a megabyte; a deque's block is half a kilobyte. Under a
  // sanitizer, whose allocator tells nothing, this says nothing.
  EXPECT_LT(used(), before + 16'384);
}

TEST(TaskQueueTest, NewerAttemptMakesTheOlderObsoleteButDoesNotCancelIt) {
  TaskQueue queue;
  queue.Offer(Train("a", 3, 1));
  const Work work = *queue.Take();
  EXPECT_TRUE(queue.Wanted(work.key));
  queue.Offer(Train("a", 3, 2));
  EXPECT_FALSE(queue.Wanted(work.key));
  EXPECT_FALSE(queue.cancelled());
  EXPECT_FALSE(queue.WaitWhileWanted(work.key, std::chrono::hours(1)));
  EXPECT_EQ(queue.Take()->key.attempt, 2u);
}

TEST(TaskQueueTest, ClosedRoundCancelsItsTrainingButNotItsEvaluation) {
  TaskQueue queue;
  queue.Offer(Train("a", 3, 1));
  ASSERT_TRUE(queue.Take().has_value());
  queue.CloseRounds(3);
  EXPECT_TRUE(queue.cancelled());
  queue.Offer(Train("b", 3, 1));
  queue.Offer(Evaluate("a", 3));
  EXPECT_EQ(queue.Take()->key.step, 1u);
  EXPECT_FALSE(queue.cancelled());
  queue.CloseRounds(3);
  EXPECT_FALSE(queue.cancelled());
}

TEST(TaskQueueTest, NextRoundCancelsAStraggler) {
  TaskQueue queue;
  queue.Offer(Train("a", 1, 1));
  ASSERT_TRUE(queue.Take().has_value());
  queue.Offer(Train("a", 2, 1));
  EXPECT_TRUE(queue.cancelled());
}

TEST(TaskQueueTest, TrainingOfTheNextRoundEndsTheEvaluationsOfTheOneBefore) {
  TaskQueue queue;
  queue.Offer(Evaluate("a", 1));
  queue.Offer(Evaluate("b", 1));
  ASSERT_EQ(queue.Take()->key.client, "a");
  queue.Offer(Train("b", 2, 1));  // to another client of the process
  EXPECT_TRUE(queue.cancelled());
  EXPECT_EQ(queue.Take()->key, (TaskKey{"b", 2, 1, 0}));
  queue.Offer(Evaluate("a", 2));
  EXPECT_EQ(queue.Take()->key, (TaskKey{"a", 2, 1, 1}));
}

TEST(TaskQueueTest, ResetLetsTheSameTaskComeAgain) {
  TaskQueue queue;
  queue.Offer(Train("a", 1, 1));
  queue.Reset();
  queue.Offer(Train("a", 1, 1));
  EXPECT_EQ(queue.Take()->key.client, "a");
}

TEST(TaskQueueTest, FinishWakesEverybodyAndKeepsTheFirstOutcome) {
  TaskQueue queue;
  std::thread worker([&] { EXPECT_FALSE(queue.Take().has_value()); });
  queue.Finish(Unavailable("first"));
  queue.Finish(OkStatus());
  worker.join();
  EXPECT_EQ(queue.outcome().message(), "first");
  EXPECT_FALSE(queue.WaitUnlessFinished(std::chrono::hours(1)));
}

}  // namespace
}  // namespace fedpeft::client
