#include "client/own_privacy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "configs/clip_groups.h"
#include "peft/core/files.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"

namespace fedpeft::client {
namespace {

using fedpeft::testing::TempFolder;
using ::testing::HasSubstr;
using ::testing::SizeIs;

RunSpec LocalRun(std::uint32_t rounds, double epsilon, double noise = 0) {
  RunSpec run;
  run.schedule.resize(1);
  run.schedule[0].rounds = rounds;
  run.privacy.mechanism = PrivacySpec::Mechanism::kLocal;
  run.privacy.budget = {epsilon, 1e-5};
  run.privacy.clip = 0.5;
  run.privacy.noise_multiplier = noise;
  return run;
}

Bytes BytesOf(const std::vector<float>& values) {
  Bytes bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

std::vector<float> FloatsOf(const Bytes& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class OwnPrivacyTest : public ::testing::Test {
 protected:
  OwnPrivacy Open(const RunSpec& run, const std::string& run_id = "run", double limit = 0) {
    OwnPrivacy::Setup setup{run, run_id};
    if (limit > 0) setup.limit = {limit, 1e-5};
    return *OwnPrivacy::Make(std::move(setup), updates_);
  }

  /// As a worker does.
  static Status Give(OwnPrivacy&& own, const std::string& client, std::size_t examples, std::uint32_t round,
                     Bytes& update) {
    return Give(own, client, examples, round, update);
  }
  static Status Give(OwnPrivacy& own, const std::string& client, std::size_t examples, std::uint32_t round,
                     Bytes& update) {
    RETURN_IF_ERROR(own.Admit(client, examples));
    return own.Hide(client, examples, round, update);
  }

  TempFolder folder_;
  UpdateStore updates_ = *UpdateStore::Open(folder_.path());
};

TEST_F(OwnPrivacyTest, D7TheNoiseIsForTwiceTheNorm) {
  constexpr std::size_t kValues = 200'000;
  OwnPrivacy own = Open(LocalRun(1, 10));
  Bytes update = BytesOf(std::vector<float>(kValues));
  ASSERT_TRUE(Give(own, "me", 10, 1, update).ok());
  double squares = 0;
  for (const float value : FloatsOf(update)) squares += std::pow(double{value}, 2);
  const double deviation = std::sqrt(squares / kValues);
  EXPECT_GE(deviation, 0.4999 * 2 * 0.5 * (1 - 5 / std::sqrt(2.0 * kValues)));
  EXPECT_LE(deviation, 0.5003 * 2 * 0.5 * (1 + 5 / std::sqrt(2.0 * kValues)));
}

TEST_F(OwnPrivacyTest, AnUpdateIsClippedAndWhatIsNotFiniteIsZero) {
  OwnPrivacy own = Open(LocalRun(1, 1e15, 1e-6));
  Bytes update = BytesOf({3, NAN, -4, INFINITY});
  ASSERT_TRUE(Give(own, "me", 10, 1, update).ok());
  const std::vector<float> hidden = FloatsOf(update);
  EXPECT_NEAR(hidden[0], 0.3, 1e-4);
  EXPECT_NEAR(hidden[1], 0, 1e-4);
  EXPECT_NEAR(hidden[2], -0.4, 1e-4);
  EXPECT_NEAR(hidden[3], 0, 1e-4);
}

TEST_F(OwnPrivacyTest, TheBudgetEndsWhatAClientGivesAndARestartDoesNotForgetIt) {
  const RunSpec run = LocalRun(3, 2);
  Bytes update = BytesOf({1, 2});
  for (std::uint32_t round = 1; round <= 3; ++round) {
    OwnPrivacy own = Open(run);  // as another process
    EXPECT_TRUE(own.Admit("me", 10).ok());
    EXPECT_TRUE(Give(own, "me", 10, round, update).ok());
  }
  OwnPrivacy own = Open(run);
  EXPECT_EQ(own.Admit("me", 10).code(), Code::kFailedPrecondition);
  const Bytes before = update;
  EXPECT_THAT(Give(own, "me", 10, 4, update).message(), HasSubstr("the run's 2.0"));
  EXPECT_EQ(update, before);
  EXPECT_TRUE(own.Admit("other", 10).ok()) << "each has its own";
  const auto ledger = PrivacyLedger::Open(updates_.LedgerPath("me"));
  ASSERT_TRUE(ledger.ok());
  EXPECT_THAT(ledger->rows(), SizeIs(3));
  EXPECT_LE(*EpsilonOfRows(ledger->rows(), 1e-5), 2);
}

TEST_F(OwnPrivacyTest, ThePolicysLimitIsForAllRuns) {
  const RunSpec run = LocalRun(1, 2);
  Bytes update = BytesOf({1, 2});
  EXPECT_TRUE(Give(Open(run, "first", 2.5), "me", 10, 1, update).ok());
  EXPECT_THAT(Give(Open(run, "second", 2.5), "me", 10, 1, update).message(), HasSubstr("its policy's 2.5"));
  EXPECT_TRUE(Give(Open(run, "second"), "me", 10, 1, update).ok());
}

TEST_F(OwnPrivacyTest, HiddenExamplesCostWhatTheirNumberSays) {
  RunSpec run = LocalRun(2, 3);
  run.privacy.mechanism = PrivacySpec::Mechanism::kExampleLevel;
  run.train.batch_size = 8;
  run.train.epochs = 2;
  OwnPrivacy own = Open(run);
  const Bytes update = BytesOf({1, 2});
  for (const std::size_t examples : {std::size_t{100}, std::size_t{1000}}) {
    const std::string client = std::to_string(examples);
    for (std::uint32_t round = 1; round <= 2; ++round) {
      Bytes mine = update;
      EXPECT_TRUE(Give(own, client, examples, round, mine).ok());
      EXPECT_EQ(mine, update) << "training has hidden them";
    }
    EXPECT_EQ(own.Admit(client, examples).code(), Code::kFailedPrecondition);
    const auto rows = PrivacyLedger::Open(updates_.LedgerPath(client))->rows();
    ASSERT_THAT(rows, SizeIs(2));
    EXPECT_EQ(rows[0].times, 2 * ((examples + 7) / 8));
    EXPECT_EQ(std::get<privacy::PoissonSum>(rows[0].release).sampling, 8.0 / static_cast<double>(examples));
    EXPECT_NEAR(*EpsilonOfRows(rows, 1e-5), 3, 0.01);
  }
}

TEST_F(OwnPrivacyTest, ADamagedLedgerIsNotTakenForAnEmptyOne) {
  const RunSpec run = LocalRun(1, 2);
  for (const char* text : {"run 1 1\n", "run 1 1 laplace 2\n", "run one 1 gaussian 2\n"}) {
    ASSERT_TRUE(WriteFileAtomically(updates_.LedgerPath("me"), AsBytes(std::string_view(text))).ok());
    EXPECT_EQ(Open(run).Admit("me", 10).code(), Code::kDataLoss) << text;
  }
}

TEST_F(OwnPrivacyTest, D2GroupsHaveTheirPartOfTheNorm) {
  RunSpec run = LocalRun(1, 1e9, 1e-3);
  run.plan = fedpeft::testing::TinyPlan();
  run.privacy.clip_groups = {{{"head"}, 0.36}};
  const privacy::ClipGroups groups = *UpdateClipGroups(run, 1);
  OwnPrivacy own = Open(run);
  std::size_t size = 0;
  for (const auto& stretch : groups.stretches) size += stretch.size;
  Bytes update = BytesOf(std::vector<float>(size, 1));
  ASSERT_TRUE(Give(own, "me", 10, 1, update).ok());
  double squares[2] = {0, 0};
  const std::vector<float> hidden = FloatsOf(update);
  groups.ForEach(0, std::span(hidden), [&](std::span<const float> part, std::size_t group) {
    for (const float value : part) squares[group] += static_cast<double>(value) * value;
  });
  EXPECT_NEAR(std::sqrt(squares[0]), 0.5 * 0.6, 0.01) << "the head";
  EXPECT_NEAR(std::sqrt(squares[1]), 0.5 * 0.8, 0.01);
}

}  // namespace
}  // namespace fedpeft::client
