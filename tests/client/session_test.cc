// A session, with its worker, against the coordinator's real service; the test plays the coordinator behind it, and
// what a client would compute is made up.
#include "client/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <utility>

#include "tests/server/service_fixture.h"
#include "tests/support/counted.h"

namespace fedpeft::client {
namespace {

using server::ClientsJoined;
using server::ClientsLeft;
using server::ServiceFixture;
using server::TaskAnswered;
using server::UploadArrived;
using server::UploadDecision;
using server::UploadOffered;
using ::testing::HasSubstr;

const UploadDecision kWanted{.kind = UploadDecision::Kind::kWanted, .reason = {}};
const UploadDecision kLater{.kind = UploadDecision::Kind::kUnavailable, .reason = {}};

/// Makes updates of the right length out of the round alone.
class FakeRunner final : public Runner {
 public:
  FakeRunner(std::uint64_t bytes, std::size_t clients) : bytes_(bytes), clients_(clients) { layout_.fill(3); }

  static Bytes UpdateOf(std::uint32_t round, std::uint64_t bytes) {
    return Bytes(bytes, static_cast<std::uint8_t>(round));
  }
  /// From now on training goes on until it is stopped.
  void TrainForEver() { for_ever_ = true; }
  void WaitUntilItTrains() const { trainings_.wait(0); }
  int trainings() const { return trainings_; }
  std::size_t last_index() const { return last_index_; }

  Result<Update> Train(std::size_t index, const std::string&, std::uint32_t round, const Start& start,
                       const std::atomic<bool>& stop, const LocalTrainer::Progress&) override {
    last_index_ = index;
    ++trainings_;
    trainings_.notify_all();
    while (for_ever_ && !stop) std::this_thread::yield();
    if (stop) return Cancelled("training: stopped");
    if (start.params.size() != bytes_) return InvalidArgument("start: has another length");
    Update update{UpdateOf(round, bytes_), {}, {}, {}};
    update.personal.assign(start.personal.begin(), start.personal.end());
    update.personal.push_back(static_cast<std::uint8_t>(round));
    update.stats.examples = 10;
    return update;
  }
  /// As many right as trainings have left their mark on the client's own tensors.
  Result<EvaluateStats> Evaluate(std::size_t, std::uint32_t, const Start& start, const std::atomic<bool>&) override {
    EvaluateStats stats;
    stats.totals = testing::Counted(10, static_cast<std::int64_t>(start.personal.size()), 1);
    return stats;
  }
  bool keeps_personal() const override { return true; }
  std::uint32_t total_rounds() const override { return 3; }
  const Digest& layout_digest() const override { return layout_; }
  std::uint64_t max_broadcast_bytes() const override { return bytes_; }
  std::size_t clients() const override { return clients_; }
  std::size_t examples(std::size_t) const override { return 10; }
  std::size_t held_out(std::size_t) const override { return 0; }

 private:
  const std::uint64_t bytes_;
  const std::size_t clients_;
  Digest layout_{};
  std::atomic<bool> for_ever_ = false;
  std::atomic<int> trainings_ = 0;
  std::atomic<std::size_t> last_index_ = 0;
};

/// A client process as a thread: joins at once as "alice".
class Client {
 public:
  Client(const ServiceFixture& coordinator, int port, std::size_t clients = 1, bool stopped = false,
         bool secure = false, std::uint32_t min_separation = 0)
      : transport_(ConnectTo(port)),
        runner_(coordinator.payload().size(), clients),
        session_(*transport_, runner_, updates_,
                 OptionsFor(coordinator.run(), secure ? &secure_ : nullptr, min_separation)),
        outcome_(Run(stopped)) {}
  ~Client() { Stop(); }

  FakeRunner& runner() { return runner_; }
  void Stop() { stop_.request_stop(); }
  /// How the session ended. What does not end by itself would wait for the calls' own timeout, which is longer.
  Status Outcome() {
    const bool ended = outcome_.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
    return ended ? outcome_.get() : DeadlineExceeded("the session goes on");
  }

 private:
  std::future<Status> Run(bool stopped) {
    if (stopped) stop_.request_stop();
    return std::async(std::launch::async, [this] { return session_.Run(stop_.get_token()); });
  }
  static std::unique_ptr<Transport> ConnectTo(int port) {
    ConnectOptions options;
    options.server = "127.0.0.1:" + std::to_string(port);
    return std::move(Transport::Make(options)).value();
  }
  static SessionOptions OptionsFor(const server::RunInfo& run, SecureClients* secure, std::uint32_t min_separation) {
    SessionOptions options;
    options.guards = {secure, nullptr, min_separation};
    options.run_id = run.run_id;
    options.name = "alice";
    options.weights = run.weights;
    options.tokenizer = run.tokenizer;
    return options;
  }

  std::stop_source stop_;
  UpdateStore updates_ = std::move(UpdateStore::Open("")).value();
  SecureClients secure_{{}, updates_};
  std::unique_ptr<Transport> transport_;
  FakeRunner runner_;
  Session session_;
  std::future<Status> outcome_;
};

class SessionTest : public ::testing::Test {
 protected:
  ServiceFixture& coordinator() { return *coordinator_; }
  std::unique_ptr<Client> Start(std::size_t clients = 1, bool secure = false, std::uint32_t min_separation = 0) {
    auto client =
        std::make_unique<Client>(coordinator(), coordinator().server().port(), clients, false, secure, min_separation);
    const auto joined = coordinator().Next<ClientsJoined>();
    session_ = joined.session;
    examples_ = joined.clients.front().examples;
    return client;
  }
  /// That the client said it has.
  std::uint64_t examples() const { return examples_; }
  /// Another process on the same port, which knows nothing of the one before.
  void Restart() {
    ServiceFixture::Options options;
    options.listen = "127.0.0.1:" + std::to_string(coordinator().server().port());
    coordinator_.reset();
    coordinator_ = std::make_unique<ServiceFixture>(options);
    session_ = coordinator().Next<ClientsJoined>().session;
  }

  void Send(const std::string& client, std::uint32_t round, std::uint32_t attempt, std::uint32_t step,
            decltype(server::Task::body) body) {
    coordinator().server().outbox().Send(
        session_,
        {.key = {.client_id = client, .round = round, .attempt = attempt, .step = step}, .body = std::move(body)});
  }
  void AskToTrain(std::uint32_t round, std::uint32_t attempt = 1, const std::string& client = "alice") {
    Send(client, round, attempt, server::kTrainStep, server::TrainTask{.params = Params()});
  }
  void AskToEvaluate(std::uint32_t round) {
    Send("alice", round, 1, server::kEvaluateStep, server::EvaluateTask{.params = Params()});
  }
  void CloseRound(std::uint32_t round) { Send("alice", round, 1, server::kClosedStep, server::RoundClosed{round}); }
  void FinishRun(bool ok) {
    Send("alice", 3, 1, server::kFinishedStep, server::RunFinished{.reason = "the end", .ok = ok});
  }
  /// Wants the next update that is offered, and counts it.
  void TakeUpdate(std::uint32_t round) {
    auto offered = coordinator().Next<UploadOffered>();
    EXPECT_EQ(offered.manifest.key.round, round);
    offered.answer(kWanted);
    auto arrived = coordinator().Next<UploadArrived>();
    Bytes bytes(arrived.bytes->length());
    ASSERT_TRUE(arrived.bytes->Read(0, bytes).ok());
    EXPECT_EQ(bytes, FakeRunner::UpdateOf(round, coordinator().payload().size()));
    arrived.answer(OkStatus());
  }

 private:
  server::BlobRef Params() {
    return coordinator().server().outbox().Publish(std::make_shared<const Bytes>(coordinator().payload()));
  }

  std::unique_ptr<ServiceFixture> coordinator_ = std::make_unique<ServiceFixture>(ServiceFixture::Options{});
  server::SessionId session_ = 0;
  std::uint64_t examples_ = 0;
};

TEST_F(SessionTest, TrainsEvaluatesAndEndsWithTheRun) {
  const auto client = Start();
  AskToTrain(1);
  TakeUpdate(1);
  AskToEvaluate(1);
  const auto counted = coordinator().Next<TaskAnswered>();
  EXPECT_EQ(std::get<server::EvaluateStats>(counted.outcome).totals.Get(sum::kCorrect), 1);
  counted.answer(OkStatus());
  FinishRun(true);
  EXPECT_TRUE(client->Outcome().ok());
  EXPECT_THAT(coordinator().Next<ClientsLeft>().reason, HasSubstr("run finished"));
}

TEST_F(SessionTest, UnderSecureAggregationATrainerTellsNothingOfItsOwn) {
  const auto client = Start(1, /*secure=*/true);
  EXPECT_EQ(examples(), 0u);
  // A coordinator that asks it to evaluate, and one that takes a step for another task's, hear nothing.
  AskToEvaluate(1);
  Send("alice", 1, 2, server::kTrainStep, server::SecureTask{{nullptr, std::make_shared<const Bytes>(9, 1)}});
  AskToTrain(1);
  const auto answer = coordinator().Next<TaskAnswered>();
  EXPECT_TRUE(std::holds_alternative<server::Trained>(answer.outcome));
  EXPECT_EQ(answer.key.step, server::kTrainStep);
  answer.answer(OkStatus());
  FinishRun(true);
  EXPECT_TRUE(client->Outcome().ok());
}

TEST_F(SessionTest, D13RoundsThatAreTooNearAreRefused) {
  const auto client = Start(1, /*secure=*/false, /*min_separation=*/2);
  AskToTrain(1);
  TakeUpdate(1);
  AskToTrain(1, 2);  // the first attempt was lost
  TakeUpdate(1);
  AskToTrain(2);
  const auto failed = coordinator().Next<TaskAnswered>();
  EXPECT_THAT(std::get<Status>(failed.outcome).message(),
              HasSubstr("sent an update in round 1, and privacy.min_separation lets it send the next in round 3"));
  failed.answer(OkStatus());
  AskToTrain(3);
  TakeUpdate(3);
  EXPECT_EQ(client->runner().trainings(), 2);
}

TEST_F(SessionTest, OwnTensorsGoOnFromTrainingToTraining) {
  const auto client = Start();
  for (const std::uint32_t round : {1u, 2u, 3u}) {
    AskToTrain(round);
    TakeUpdate(round);
    AskToEvaluate(round);
    const auto counted = coordinator().Next<TaskAnswered>();
    EXPECT_EQ(std::get<server::EvaluateStats>(counted.outcome).totals.Get(sum::kCorrect), round);
    counted.answer(OkStatus());
  }
}

TEST_F(SessionTest, RepeatedTasksAreDoneOnce) {
  const auto client = Start();
  AskToTrain(1);
  TakeUpdate(1);
  AskToTrain(1);  // as if the acknowledgement were lost
  AskToEvaluate(1);
  const auto counted = coordinator().Next<TaskAnswered>();
  EXPECT_EQ(counted.key.step, server::kEvaluateStep);
  counted.answer(OkStatus());
  AskToTrain(2);
  TakeUpdate(2);
  EXPECT_EQ(client->runner().trainings(), 2);
}

TEST_F(SessionTest, TaskGoesToTheVirtualClientItNames) {
  const auto client = Start(/*clients=*/3);
  AskToTrain(1, 1, "alice/2");
  TakeUpdate(1);
  EXPECT_EQ(client->runner().last_index(), 2u);
}

TEST_F(SessionTest, FailureIsTold) {
  const auto client = Start(/*clients=*/3);
  Send("alice/1", 1, 1, server::kTrainStep, server::TrainTask{.params = {.sha256 = {}, .length = 1 << 30}});
  const auto failed = coordinator().Next<TaskAnswered>();
  EXPECT_EQ(failed.key.client_id, "alice/1");
  EXPECT_THAT(std::get<Status>(failed.outcome).message(), HasSubstr("have 1073741824 bytes"));
  failed.answer(OkStatus());
}

TEST_F(SessionTest, CloseOfTheRoundEndsItsTraining) {
  const auto client = Start();
  client->runner().TrainForEver();
  AskToTrain(1);
  client->runner().WaitUntilItTrains();
  CloseRound(1);
  AskToEvaluate(1);
  const auto counted = coordinator().Next<TaskAnswered>();
  EXPECT_EQ(counted.key.step, server::kEvaluateStep) << "a training that was given up is no failure";
  counted.answer(OkStatus());
}

TEST_F(SessionTest, StopEndsATrainingInProgress) {
  const auto client = Start();
  client->runner().TrainForEver();
  AskToTrain(1);
  client->runner().WaitUntilItTrains();
  client->Stop();
  EXPECT_EQ(client->Outcome().code(), Code::kCancelled);
  EXPECT_THAT(coordinator().Next<ClientsLeft>().reason, HasSubstr("stopped"));
}

TEST_F(SessionTest, StopEndsAnUploadInProgress) {
  const auto client = Start();
  AskToTrain(1);
  coordinator().Next<UploadOffered>().answer(kWanted);
  const auto arrived = coordinator().Next<UploadArrived>();  // and the client waits for its answer
  client->Stop();
  EXPECT_EQ(client->Outcome().code(), Code::kCancelled);
  EXPECT_THAT(coordinator().Next<ClientsLeft>().reason, HasSubstr("stopped"));
}

TEST_F(SessionTest, StopBeforeTheStartIsNotLost) {
  Client client(coordinator(), coordinator().server().port(), /*clients=*/1, /*stopped=*/true);
  EXPECT_EQ(client.Outcome().code(), Code::kCancelled);
}

TEST_F(SessionTest, StopEndsTheWaitForACoordinator) {
  Client client(coordinator(), /*port=*/1);  // nobody listens there
  client.Stop();
  EXPECT_EQ(client.Outcome().code(), Code::kCancelled);
}

TEST_F(SessionTest, EndOfTheRunEndsAnUploadInProgress) {
  const auto client = Start();
  AskToTrain(1);
  const auto offered = coordinator().Next<UploadOffered>();  // and the client waits for its answer
  FinishRun(true);
  EXPECT_TRUE(client->Outcome().ok());
}

TEST_F(SessionTest, RunThatFailedIsAFailure) {
  const auto client = Start();
  FinishRun(false);
  const Status outcome = client->Outcome();
  EXPECT_EQ(outcome.code(), Code::kAborted);
  EXPECT_THAT(outcome.message(), HasSubstr("the end"));
}

TEST_F(SessionTest, SupersededSessionEndsAndDoesNotJoinAgain) {
  const auto client = Start();
  coordinator().Join("alice");
  const Status outcome = client->Outcome();
  EXPECT_EQ(outcome.code(), Code::kAborted);
  EXPECT_THAT(outcome.message(), HasSubstr("took over"));
}

TEST_F(SessionTest, ForgottenSessionJoinsAgainAndSendsWhatItHasTrained) {
  const auto client = Start();
  AskToTrain(1, 1);
  coordinator().Next<UploadOffered>();  // and dies
  Restart();
  AskToTrain(1, 2);
  auto offered = coordinator().Next<UploadOffered>();
  while (offered.manifest.key.attempt == 1) {  // until it has heard of the second
    offered.answer(kLater);
    offered = coordinator().Next<UploadOffered>();
  }
  EXPECT_EQ(offered.manifest.sha256, Sha256Of(FakeRunner::UpdateOf(1, coordinator().payload().size())));
  offered.answer(kWanted);
  coordinator().Next<UploadArrived>().answer(OkStatus());
  EXPECT_EQ(client->runner().trainings(), 1);
}

TEST_F(SessionTest, WaitsForRoomAsLongAsTheCoordinatorAsks) {
  const auto client = Start();
  const ServiceFixture::Session bob = coordinator().Join("bob");
  coordinator().OpenWanted(bob, coordinator().ManifestOf("bob"));  // all the room there is
  AskToTrain(1);
  const auto offered = coordinator().Next<UploadOffered>();
  const Instant before = Clock::System().Now();
  offered.answer(kWanted);
  coordinator().Next<UploadOffered>().answer(kLater);
  EXPECT_GE(Clock::System().Now() - before, Seconds(0.5)) << "server::UploadTable::kRetryAfterSeconds";
}

}  // namespace
}  // namespace fedpeft::client
