// The rules of a round under correlated noise: a client's rounds are so many apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "peft/core/random.h"
#include "tests/server/round_player.h"

namespace fedpeft::server {
namespace {

using testing::Names;
using testing::Player;
using ::testing::SizeIs;
using testing::SmallRun;
using testing::Stage;

RunSpec CorrelatedRun(std::uint32_t rounds, std::uint32_t cohort, std::uint32_t separation) {
  RunSpec run = SmallRun(rounds, 1);
  run.schedule[0].cohort = cohort;
  run.schedule[0].reducer.weights = ReducerSpec::Weights::kUniform;
  run.limits.max_attempts = 1000;
  run.privacy.mechanism = PrivacySpec::Mechanism::kDpFtrl;
  run.privacy.min_separation = separation;
  run.privacy.noise_multiplier = 1;
  return run;
}

std::vector<std::string> ClientNames(std::uint32_t count) {
  std::vector<std::string> clients;
  for (std::uint32_t i = 0; i < count; ++i) clients.push_back("client-" + std::to_string(100 + i));
  return clients;
}

/// Plays a run in which clients fail, come late, leave, and refuse rounds that are too near, and the coordinator is
/// killed: what is committed, as the database has it.
class World {
 public:
  explicit World(std::uint64_t seed) : chance_(seed, "world") {
    run_.seed = seed;
    run_.schedule[0].min_clients = 2;
  }

  void Play() {
    while (committed_.size() < run_.total_rounds()) {
      ASSERT_LT(++lives_, 100);
      Live();
    }
  }
  /// By round, from 1 on, who is in the sum.
  const std::vector<Names>& committed() const { return committed_; }

 private:
  static constexpr std::uint32_t kSeparation = 4;

  /// Until the process ends.
  void Live() {
    ResumePoint resume;
    resume.committed_round = static_cast<std::uint32_t>(committed_.size());
    resume.committed_attempt = resume.committed_round == 0 ? 0 : 1;
    resume.last_attempt = last_attempt_;
    for (std::uint32_t round = 1; round <= committed_.size(); ++round) {
      for (const std::string& client : committed_[round - 1]) {
        if (round + kSeparation > committed_.size() + 1) resume.recent[client] = round;
      }
    }
    Player player(run_, resume);
    player.Join(ClientNames(24));
    Names asked = player.Asked(), done;
    while (player.machine().stage() != Stage::kFinished && chance_.NextBelow(40) > 0) {
      const std::uint32_t round = player.machine().round(), before = player.machine().committed_round();
      if (asked.empty()) {
        player.Wait(5);
      } else {
        const std::string client = *asked.begin();
        asked.erase(client);
        const std::uint32_t last = sent_.contains(client) ? sent_[client] : 0;
        if (last != 0 && last != round && round < last + kSeparation) {
          player.SendAndStore(TaskFailed{client});  // it refuses
        } else if (chance_.NextBelow(5) == 0) {
          sent_[client] = round;  // late, or lost on its way: it cannot know
          player.SendAndStore(TaskFailed{client});
        } else {
          sent_[client] = round;
          done.insert(client);
          player.Update(client);
        }
      }
      last_attempt_ = player.machine().attempt();
      if (player.machine().committed_round() > before) {
        committed_.push_back(done);
        last_attempt_ = 0;
      }
      const Names again = player.Asked();
      if (again.empty() && player.machine().stage() == Stage::kTraining) continue;
      asked = again;
      done.clear();
    }
  }

  RunSpec run_ = CorrelatedRun(20, 3, kSeparation);
  RandomStream chance_;
  std::vector<Names> committed_;
  std::map<std::string, std::uint32_t> sent_;
  std::uint32_t last_attempt_ = 0;
  int lives_ = 0;
};

TEST(CorrelatedRoundTest, D13AClientsRoundsAreApartWhateverHappens) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    World world(seed);
    world.Play();
    ASSERT_THAT(world.committed(), SizeIs(20)) << seed;
    std::map<std::string, std::size_t> last;
    for (std::size_t round = 0; round < world.committed().size(); ++round) {
      EXPECT_GE(world.committed()[round].size(), 2u);
      for (const std::string& client : world.committed()[round]) {
        if (last.contains(client)) {
          EXPECT_GE(round - last[client], 4u) << "seed " << seed << ", " << client;
        }
        last[client] = round;
      }
    }
  }
}

TEST(CorrelatedRoundTest, WaitsUntilEnoughClientsMayTakePart) {
  RunSpec run = CorrelatedRun(3, 2, 2);
  run.schedule[0].min_clients = 2;
  Player player(run);
  player.Join({"a", "b"});
  player.Update("a");
  player.Update("b");
  EXPECT_EQ(player.machine().committed_round(), 1u);
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Join({"c"});
  EXPECT_EQ(player.machine().stage(), Stage::kWaiting);
  player.Join({"d"});
  EXPECT_EQ(player.Asked(), (Names{"c", "d"}));
  player.Update("c");
  player.Update("d");
  EXPECT_EQ(player.Asked(), (Names{"a", "b"}));
}

TEST(CorrelatedRoundTest, WhoeverSentAnUpdateToALostAttemptIsAskedAgain) {
  RunSpec run = CorrelatedRun(3, 2, 3);
  run.schedule[0].min_clients = 2;
  Player player(run);
  player.Join({"a", "b"});
  player.Join(ClientNames(6));
  player.Update("a");
  player.SendAndStore(TaskFailed{"b"});
  ASSERT_THAT(player.Got<LoseAttempt>(), SizeIs(1));
  player.Wait(2);
  const Names again = player.Asked();
  EXPECT_THAT(again, SizeIs(2));
  EXPECT_TRUE(again.contains("a")) << "it can be in this round, and in none so soon after it";
  player.Leave("a");
  for (const std::string& client : again) {
    if (client != "a") player.Update(client);
  }
  ASSERT_THAT(player.Got<LoseAttempt>(), SizeIs(1));
  player.Wait(2);
  const Names third = player.Asked();
  EXPECT_THAT(third, SizeIs(2));
  for (const std::string& client : third) player.Update(client);
  ASSERT_EQ(player.machine().committed_round(), 1u);
  const Names second_round = player.Asked();
  player.Join({"a"});
  for (const std::string& client : second_round) player.Update(client);
  ASSERT_EQ(player.machine().committed_round(), 2u);
  EXPECT_THAT(player.Asked(), SizeIs(2));
  EXPECT_FALSE(player.Asked().contains("a"));
}

TEST(CorrelatedRoundTest, FewUpdatesAreNotReleased) {
  RunSpec run = CorrelatedRun(2, 3, 2);
  run.schedule[0].min_clients = 2;
  Player player(run);
  player.Join({"a", "b", "c"});
  for (const std::string& client : player.Asked()) {
    if (player.machine().stage() == Stage::kTraining) player.SendAndStore(TaskFailed{client});
  }
  EXPECT_EQ(player.machine().committed_round(), 0u);
}

TEST(CorrelatedRoundTest, TheCohortIsAFixedNumberOfThoseWhoMay) {
  Player player(CorrelatedRun(30, 3, 5));
  player.Join({"x"});  // one is enough to begin with
  player.Update("x");
  player.Join(ClientNames(20));
  Names all;
  for (std::uint32_t round = 2; round <= 5; ++round) {
    while (player.machine().stage() == Stage::kWaiting) player.Wait(1);
    const std::uint32_t before = player.machine().committed_round();
    const Names asked = player.Asked();
    EXPECT_THAT(asked, SizeIs(3));
    for (const std::string& client : asked) {
      EXPECT_TRUE(all.insert(client).second) << client << " again";
      player.Update(client);
    }
    EXPECT_EQ(player.machine().committed_round(), before + 1);
  }
  EXPECT_FALSE(all.contains("x"));
}

}  // namespace
}  // namespace fedpeft::server
