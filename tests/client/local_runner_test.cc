#include "client/local_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "peft/metrics/metrics.h"
#include "peft/model/load.h"
#include "peft/plan/base_values.h"
#include "peft/plan/token_encoder.h"
#include "tests/client/texts.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"

namespace fedpeft::client {
namespace {

using ::testing::HasSubstr;

class LocalRunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::WriteTinyBert(folder_.path()).ok());
    base_ = LoadBaseModel(folder_.path(), BaseDtype::kFloat32).value();
    run_.plan = testing::TinyPlan();
    run_.train.batch_size = 8;
    run_.train.learning_rate = 0.01;
    run_.schedule.emplace_back();
    run_.schedule[0].rounds = 2;
    layout_ = PlanLayout(run_.plan).value();
  }

  /// Two clients with other texts each.
  std::unique_ptr<LocalRunner> Make(std::vector<ViewConfig> views) {
    run_.schedule[0].views = std::move(views);
    std::vector<Example> texts = Texts();
    const std::vector<Example> first(texts.begin(), texts.begin() + 20), second(texts.begin() + 20, texts.end());
    return LocalRunner::Make(run_, base_, {first, second}).value();
  }
  RunViews Views() const { return RunViews::Make(run_.plan, run_.schedule, layout_).value(); }
  /// The initial parameters as broadcast.
  Bytes Broadcast() const { return ParamVector::Initial(layout_, run_.seed).Gather(Views().Broadcast()); }
  Runner::Update Train(LocalRunner& runner, std::size_t client, std::uint32_t round, ByteSpan personal = {}) const {
    const Bytes start = Broadcast();
    auto update = runner.Train(client, "c" + std::to_string(client), round, {start, personal}, stop_, {});
    EXPECT_TRUE(update.ok()) << update.status().ToString();
    return std::move(*update);
  }
  double Loss(LocalRunner& runner, std::size_t client, ByteSpan personal) const {
    const Bytes start = Broadcast();
    return MetricOf(Metric::kLoss, runner.Evaluate(client, 1, {start, personal}, stop_)->totals).value();
  }

  testing::TempFolder folder_;
  RunSpec run_;
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
  const std::atomic<bool> stop_ = false;
};

TEST_F(LocalRunnerTest, UpdatesHoldWhatTheRoundShares) {
  const auto runner = Make({{.frozen = {"lora_a"}}, {.frozen = {"lora_b", "head"}}});
  const Runner::Update b = Train(*runner, 0, 1), a = Train(*runner, 0, 2);
  EXPECT_EQ(b.payload.size(), Views().Update(1).size * sizeof(float));
  EXPECT_EQ(a.payload.size(), Views().Update(2).size * sizeof(float));
  EXPECT_EQ(a.payload.size() + b.payload.size(), layout_->size() * sizeof(float));
  EXPECT_TRUE(b.personal.empty());
}

// That a client's data makes training fail is told without noise otherwise.
TEST_F(LocalRunnerTest, AFailureIsAnUpdateOfNothingWhereClientsAreHiddenFromTheCoordinator) {
  run_.train.learning_rate = 1e30;
  const Bytes start = Broadcast();
  const auto train = [&] { return Make({})->Train(0, "c0", 1, {start, {}}, stop_, {}); };
  EXPECT_EQ(train().status().code(), Code::kAborted);
  run_.privacy.noise_multiplier = 1;
  for (const auto mechanism : {PrivacySpec::Mechanism::kLocal, PrivacySpec::Mechanism::kDistributed}) {
    run_.privacy.mechanism = mechanism;
    const Result<Runner::Update> update = train();
    ASSERT_TRUE(update.ok()) << update.status().ToString();
    EXPECT_EQ(update->payload, Bytes(layout_->size() * sizeof(float), 0));
    EXPECT_EQ(update->stats.examples, 0);
  }
  const std::atomic<bool> stopped = true;
  EXPECT_EQ(Make({})->Train(0, "c0", 1, {start, {}}, stopped, {}).status().code(), Code::kCancelled);
}

TEST_F(LocalRunnerTest, AClientsOwnTensorsGoOnFromItsLastTraining) {
  const auto runner = Make({{.local = {"head"}}});
  const Runner::Update first = Train(*runner, 0, 1);
  const std::size_t tensors = layout_->tensors().size();  // a byte each says which are its own
  EXPECT_EQ(first.payload.size() + first.personal.size(), layout_->size() * sizeof(float) + tensors);
  const Runner::Update second = Train(*runner, 0, 2, first.personal);
  EXPECT_NE(second.personal, first.personal);
  // The head alone has learned something of this client's texts, and more the second time.
  const double start = Loss(*runner, 0, {}), once = Loss(*runner, 0, first.personal);
  EXPECT_LT(once, start);
  EXPECT_LT(Loss(*runner, 0, second.personal), once);
}

TEST_F(LocalRunnerTest, ClientsOfAProcessDoNotSeeEachOthersTensors) {
  const auto runner = Make({{.local = {"head"}}});
  const Runner::Update alone = Train(*runner, 1, 1);
  const auto other = Make({{.local = {"head"}}});
  const Runner::Update before = Train(*other, 0, 1);
  Train(*other, 0, 2, before.personal);
  const Runner::Update after = Train(*other, 1, 1);
  EXPECT_EQ(after.payload, alone.payload);
  EXPECT_EQ(after.personal, alone.personal);
}

TEST_F(LocalRunnerTest, ALocalRoundBeginsWithWhatWasSharedBefore) {
  const auto runner = Make({{}, {.local = {"head"}}});
  const Runner::Update shared = Train(*runner, 0, 1);
  EXPECT_TRUE(shared.personal.empty());
  const Runner::Update local = Train(*runner, 0, 2, shared.personal), fresh = Train(*runner, 0, 2);
  EXPECT_EQ(local.payload, fresh.payload);
  EXPECT_EQ(local.personal, fresh.personal);
}

TEST_F(LocalRunnerTest, PartsBecomeAClientsOwnOneByOne) {
  const auto runner = Make({{.local = {"lora_b"}}, {.local = {"head"}}});
  const Runner::Update one = Train(*runner, 0, 1), both = Train(*runner, 0, 2, one.personal);
  EXPECT_LT(one.personal.size(), both.personal.size());
  const OwnTensors before = *DecodeOwn(layout_, one.personal), after = *DecodeOwn(layout_, both.personal);
  for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
    const Role role = layout_->tensors()[i].role;
    EXPECT_EQ(before.which[i], role == Role::kLoraB);
    EXPECT_EQ(after.which[i], role == Role::kLoraB || role == Role::kHead);
    const bool same = std::ranges::equal(before.values.tensor(i), after.values.tensor(i));
    EXPECT_EQ(same, role != Role::kHead);
  }
}

TEST_F(LocalRunnerTest, ASharedRoundBeginsWithWhatIsShared) {
  const auto runner = Make({{.local = {"head"}}, {}});
  const Runner::Update local = Train(*runner, 0, 1);
  const Runner::Update shared = Train(*runner, 0, 2, local.personal), fresh = Train(*runner, 0, 2);
  EXPECT_EQ(shared.payload, fresh.payload);
  // And leaves the client's own as they were.
  EXPECT_EQ(shared.personal, local.personal);
}

TEST_F(LocalRunnerTest, OwnTensorsAreAFileThatTheRunsExportTakesIn) {
  run_.base_name = "tiny";
  const auto runner = Make({{.local = {"head"}}});
  const testing::TempFolder state;
  runner->WritePersonalTo({state.path(), "run-1", folder_.path()});
  const Runner::Update update = Train(*runner, 0, 1);
  const std::string path = PersonalPath(state.path(), "c0");
  ParamVector params = ParamVector::Initial(layout_, run_.seed);
  EXPECT_THAT(ReadPersonal(path, "run-2", params).message(), HasSubstr("is of run run-1, want the adapter's run-2"));
  ASSERT_TRUE(ReadPersonal(path, "run-1", params).ok());
  const OwnTensors own = *DecodeOwn(layout_, update.personal);
  const ParamVector initial = ParamVector::Initial(layout_, run_.seed);
  for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
    const ParamVector& want = own.which[i] ? own.values : initial;
    EXPECT_TRUE(std::ranges::equal(params.tensor(i), want.tensor(i))) << layout_->tensors()[i].name;
  }
}

/// What a client keeps of a prompt is what an export says: the vectors themselves.
TEST_F(LocalRunnerTest, OwnPromptsAreWrittenAsExportsHaveThem) {
  const testing::TempFolder state;
  for (const MethodConfig& method : std::initializer_list<MethodConfig>{
           PromptConfig{.length = 2, .start = PromptConfig::Start::kText, .ids = {4, 8}},
           PromptConfig{.length = 2, .encoder = TokenEncoder::kMlp}}) {
    run_.plan.method = method;
    layout_ = PlanLayout(run_.plan).value();
    const std::string part(RoleName(layout_->tensors().front().role));
    const auto runner = Make({{.local = {part}}});
    runner->WritePersonalTo({state.path(), "run-1", folder_.path()});
    const Runner::Update update = Train(*runner, 0, 1);
    const OwnTensors own = *DecodeOwn(layout_, update.personal);
    ParamVector want = EncodeTokens(run_.plan, own.values);
    ASSERT_TRUE(AddBaseValues(*ModelFolder::Open(folder_.path()), run_.plan, 1, want).ok());
    ParamVector got(want.layout());
    ASSERT_TRUE(ReadPersonal(PersonalPath(state.path(), "c0"), "run-1", got).ok());
    EXPECT_TRUE(std::ranges::equal(got.tensor(0), want.tensor(0))) << part;
  }
}

/// AdaLoRA of rank 3 whose middle rank of every linear is not in use.
class RankedRunnerTest : public LocalRunnerTest {
 protected:
  void SetUp() override {
    LocalRunnerTest::SetUp();
    AdaLoraConfig config;
    config.lora.rank = 3;
    config.lora.target_modules = {"query", "value"};
    config.target_rank = 1;
    run_.plan.method = config;
    run_.train.weight_decay = 0.1;
    layout_ = PlanLayout(run_.plan).value();
    params_ = std::make_unique<ParamVector>(ParamVector::Initial(layout_, run_.seed));
    for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
      if (layout_->tensors()[i].role == Role::kRankMask) params_->tensor(i)[1] = 0;
    }
    kept_ = KeptRanksOf(*params_);
  }
  Bytes Broadcast() const {
    Bytes bytes = params_->Gather(Views().Masks());
    const Bytes rest = params_->Gather(Views().Broadcast(kept_));
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    return bytes;
  }

  std::unique_ptr<ParamVector> params_;
  KeptRanks kept_;
};

TEST_F(RankedRunnerTest, UnusedRanksAreNeitherTrainedNorSent) {
  const auto runner = Make({});
  const Bytes start = Broadcast();
  EXPECT_LT(start.size(), runner->max_broadcast_bytes());
  const auto update = runner->Train(0, "c", 1, {start, {}}, stop_, {});
  ASSERT_TRUE(update.ok()) << update.status().ToString();
  const PayloadLayout payload = Views().Update(1, kept_);
  EXPECT_EQ(update->layout, payload.digest);
  EXPECT_EQ(update->payload.size(), payload.size * sizeof(float));
  // Of the ranks in use all moved, and their scores are shares of one.
  ParamVector moved(layout_);
  ASSERT_TRUE(moved.Scatter(payload, update->payload).ok());
  double scores = 0;
  for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
    if (layout_->tensors()[i].role == Role::kLoraE) {
      EXPECT_NE(moved.tensor(i)[0], 0);
    }
    if (layout_->tensors()[i].role != Role::kRankScore) continue;
    for (const float score : moved.tensor(i)) scores += score;
    EXPECT_GT(moved.tensor(i)[2], 0);
  }
  EXPECT_NEAR(scores, 1, 1e-5);
}

TEST_F(RankedRunnerTest, ABroadcastThatDoesNotFitItsMasksIsRefused) {
  const auto runner = Make({});
  Bytes start = Broadcast();
  start.resize(start.size() - sizeof(float));
  EXPECT_THAT(runner->Train(0, "c", 1, {start, {}}, stop_, {}).status().message(), HasSubstr("payload: has"));
  start.resize(8);
  EXPECT_THAT(runner->Train(0, "c", 1, {start, {}}, stop_, {}).status().message(), HasSubstr("payload: has"));
}

TEST_F(LocalRunnerTest, ForeignBytesAreRefused) {
  const auto runner = Make({{.local = {"head"}}});
  const Bytes start = Broadcast(), odd(4), claims(layout_->tensors().size(), 1);
  EXPECT_THAT(runner->Train(0, "c", 1, {start, claims}, stop_, {}).status().message(), HasSubstr("own tensors"));
  EXPECT_THAT(runner->Train(0, "c", 1, {start, odd}, stop_, {}).status().message(), HasSubstr("own tensors"));
  EXPECT_THAT(runner->Train(0, "c", 1, {odd, {}}, stop_, {}).status().message(), HasSubstr("payload: has 4 bytes"));
}

}  // namespace
}  // namespace fedpeft::client
