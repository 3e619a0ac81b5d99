// The real server on loopback, real stubs, and a sink that plays the coordinator.
#include "server/service.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <limits>
#include <memory>
#include <thread>

#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.grpc.pb.h"
#include "server/session.h"
#include "server/transfer.h"
#include "tests/server/service_fixture.h"

namespace fedpeft::server {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

class ServiceTest : public ::testing::Test, protected ServiceFixture {
 protected:
  ServiceTest() : ServiceFixture(Options{}) {}
};

TEST_F(ServiceTest, TellsTheRunToAnybody) {
  v1::GetRunReply reply;
  grpc::ClientContext context;
  ASSERT_TRUE(stub().GetRun(Within(context), v1::GetRunRequest(), &reply).ok());
  EXPECT_EQ(reply.run_id(), "run-1");
  EXPECT_EQ(reply.run_config(), "the run");
  EXPECT_EQ(reply.protocol_version(), kProtocolVersion);
}

TEST_F(ServiceTest, JoinPollTaskAnswer) {
  const Session alice = Join("alice");
  EXPECT_EQ(alice.client_id, "alice");
  const auto joined = Next<ClientsJoined>();
  auto poll = PollAsync(alice.token);
  server().outbox().Send(joined.session, EvaluateTaskFor("alice"));
  const PollOutcome outcome = poll.get();
  ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  ASSERT_EQ(outcome.reply.tasks_size(), 1);
  EXPECT_EQ(outcome.reply.tasks(0).evaluate().params().length(), 5u);

  auto answer = SubmitAsync(EvaluationOf(alice, "alice"));
  auto answered = Next<TaskAnswered>();
  EXPECT_EQ(std::get<EvaluateStats>(answered.outcome).totals.Get(sum::kCorrect), 9);
  answered.answer(OkStatus());
  EXPECT_TRUE(answer.get().ok());
}

TEST_F(ServiceTest, SubmitOfLiesIsRefused) {
  const Session alice = Join("alice");
  v1::SubmitRequest other = EvaluationOf(alice, "bob");
  EXPECT_EQ(SubmitAsync(other).get().error_code(), grpc::PERMISSION_DENIED);
  v1::SubmitRequest more = EvaluationOf(alice, "alice");
  more.mutable_evaluated()->mutable_sums(1)->set_value(11);
  EXPECT_EQ(SubmitAsync(more).get().error_code(), grpc::INVALID_ARGUMENT);
  v1::SubmitRequest nan = EvaluationOf(alice, "alice");
  nan.mutable_evaluated()->set_seconds(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(SubmitAsync(nan).get().error_code(), grpc::INVALID_ARGUMENT);
  for (const auto& [name, value] : {std::pair("correct", 1), std::pair("unheard of", 1), std::pair("loss", -1)}) {
    v1::SubmitRequest odd = EvaluationOf(alice, "alice");
    SetSum(name, value, odd);
    EXPECT_EQ(SubmitAsync(odd).get().error_code(), grpc::INVALID_ARGUMENT) << name;
  }
  v1::SubmitRequest nothing = EvaluationOf(alice, "alice");
  nothing.clear_evaluated();
  EXPECT_EQ(SubmitAsync(nothing).get().error_code(), grpc::INVALID_ARGUMENT);
  v1::SubmitRequest stranger = EvaluationOf(alice, "alice");
  stranger.set_session("nobody's");
  EXPECT_EQ(SubmitAsync(stranger).get().error_code(), grpc::UNAUTHENTICATED);
}

TEST_F(ServiceTest, AnswerThatComesTooLateIsHarmless) {
  const Session alice = Join("alice");
  grpc::ClientContext context;
  v1::SubmitReply reply;
  auto submitted = std::async(std::launch::async,
                              [&] { return stub().Submit(Within(context), EvaluationOf(alice, "alice"), &reply); });
  // Cancelled only now: a deadline might pass before the call has come to the coordinator at all.
  const auto answered = Next<TaskAnswered>();
  context.TryCancel();
  EXPECT_EQ(submitted.get().error_code(), grpc::CANCELLED);
  answered.answer(OkStatus());
}

TEST_F(ServiceTest, JoinOfAnotherBaseIsRefusedWithBothHashes) {
  v1::JoinRequest request = JoinRequestOf("alice");
  request.set_weights_sha256(std::string(32, 'x'));
  const grpc::Status status = TryJoin(request);
  EXPECT_EQ(status.error_code(), grpc::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("7878"));
  EXPECT_THAT(status.error_message(), HasSubstr(Hex(run().weights)));
  request.set_weights_sha256("short");
  EXPECT_EQ(TryJoin(request).error_code(), grpc::INVALID_ARGUMENT);
  v1::JoinRequest bad_name = JoinRequestOf("../../etc");
  EXPECT_EQ(TryJoin(bad_name).error_code(), grpc::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, CountsOfAPeerAreBoundedBeforeItIsBelieved) {
  v1::JoinRequest crowd = JoinRequestOf("crowd");
  for (std::uint64_t i = 0; i < run().max_virtual_clients; ++i) crowd.add_examples(1);
  EXPECT_THAT(TryJoin(crowd).error_message(), HasSubstr("virtual clients: got 10001"));
  crowd.clear_examples();
  EXPECT_EQ(TryJoin(crowd).error_code(), grpc::INVALID_ARGUMENT);

  v1::JoinRequest apart = JoinRequestOf("apart");
  apart.add_examples(100);
  apart.add_held_out(10);
  EXPECT_THAT(TryJoin(apart).error_message(), HasSubstr("held_out: got 1 entries"));
  apart.add_held_out(10);
  apart.add_held_out(10);
  EXPECT_THAT(TryJoin(apart).error_message(), HasSubstr("held_out: got 3 entries"));
  apart.mutable_held_out()->RemoveLast();
  apart.set_role(v1::ROLE_EVALUATOR);
  EXPECT_THAT(TryJoin(apart).error_message(), HasSubstr("none of an evaluator"));
  apart.set_role(v1::ROLE_TRAINER);
  EXPECT_EQ(TryJoin(apart).error_code(), grpc::OK);

  v1::NextTaskRequest poll;
  poll.set_session(Join("alice").token);
  const auto try_poll = [&](std::size_t keys) {
    while (static_cast<std::size_t>(poll.received_size()) < keys) poll.add_received();
    grpc::ClientContext context;
    v1::NextTaskReply reply;
    return stub().NextTask(Within(context), poll, &reply).error_code();
  };
  EXPECT_EQ(try_poll(SessionRegistry::kMaxTasksAReply + 1), grpc::INVALID_ARGUMENT);
  // Two bytes a key: more than a message may have is not even parsed.
  EXPECT_EQ(try_poll(kChunkBytes), grpc::RESOURCE_EXHAUSTED);
}

TEST_F(ServiceTest, NewerSessionAbortsTheOlderPoll) {
  const Session older = Join("alice");
  Next<ClientsJoined>();
  auto poll = PollAsync(older.token);
  // Whether the poll arrives before or after the new session, it is told the same.
  const Session newer = Join("alice");
  EXPECT_EQ(poll.get().status.error_code(), grpc::ABORTED);
  EXPECT_NE(older.token, newer.token);
  EXPECT_EQ(PollAsync(older.token).get().status.error_code(), grpc::ABORTED);
}

TEST_F(ServiceTest, LeaveEndsTheSession) {
  const Session alice = Join("alice");
  Next<ClientsJoined>();
  v1::LeaveRequest request;
  request.set_session(alice.token);
  request.set_reason("done");
  {
    grpc::ClientContext context;
    v1::LeaveReply reply;
    EXPECT_TRUE(stub().Leave(Within(context), request, &reply).ok());
  }
  EXPECT_THAT(Next<ClientsLeft>().reason, HasSubstr("done"));
  grpc::ClientContext context;
  v1::LeaveReply reply;
  EXPECT_EQ(stub().Leave(Within(context), request, &reply).error_code(), grpc::UNAUTHENTICATED);
}

TEST_F(ServiceTest, UploadArrivesWhole) {
  const Session alice = Join("alice");
  const v1::OpenUploadReply opened = OpenWanted(alice, ManifestOf("alice"));
  EXPECT_EQ(opened.accepted().offset(), 0u);
  auto sent = SendAsync(alice, opened.accepted().upload(), 0, payload().size());
  auto arrived = Next<UploadArrived>();
  Bytes read(arrived.bytes->length());
  ASSERT_TRUE(arrived.bytes->Read(0, read).ok());
  EXPECT_EQ(read, payload());
  arrived.answer(OkStatus());
  EXPECT_TRUE(sent.get().ok());
}

TEST_F(ServiceTest, UploadThatBrokeOffGoesOn) {
  const Session alice = Join("alice");
  const v1::OpenUploadReply first = OpenWanted(alice, ManifestOf("alice"));
  EXPECT_EQ(SendAsync(alice, first.accepted().upload(), 0, kChunkBytes).get().error_code(), grpc::INVALID_ARGUMENT);
  const v1::OpenUploadReply again = OpenWanted(alice, ManifestOf("alice"));
  EXPECT_EQ(again.accepted().offset(), kChunkBytes);
  auto sent = SendAsync(alice, again.accepted().upload(), kChunkBytes, payload().size());
  Next<UploadArrived>().answer(OkStatus());
  EXPECT_TRUE(sent.get().ok());
}

TEST_F(ServiceTest, UploadIsRefusedForGoodOrAlreadyHereOrLater) {
  const Session alice = Join("alice");
  EXPECT_EQ(Open(alice, ManifestOf("alice"), {.kind = UploadDecision::Kind::kRefused, .reason = "round closed"})
                .reply.refusal(),
            "round closed");
  EXPECT_TRUE(Open(alice, ManifestOf("alice"), {.kind = UploadDecision::Kind::kAlreadyHere, .reason = {}})
                  .reply.accepted()
                  .complete());
  EXPECT_EQ(
      Open(alice, ManifestOf("alice"), {.kind = UploadDecision::Kind::kUnavailable, .reason = {}}).status.error_code(),
      grpc::UNAVAILABLE);
  // The window holds one payload: the second client is to come back.
  const Session bob = Join("bob");
  OpenWanted(alice, ManifestOf("alice"));
  EXPECT_GT(OpenWanted(bob, ManifestOf("bob")).retry_after_s(), 0);
}

TEST_F(ServiceTest, LyingManifestsReachNobody) {
  const Session alice = Join("alice");
  v1::UploadManifest huge = ManifestOf("alice");
  huge.set_length(std::uint64_t{1} << 60);
  EXPECT_EQ(TryOpen(alice, huge).error_code(), grpc::INVALID_ARGUMENT);
  v1::UploadManifest other_run = ManifestOf("alice");
  other_run.set_run_id("run-2");
  EXPECT_EQ(TryOpen(alice, other_run).error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_EQ(TryOpen(alice, ManifestOf("bob")).error_code(), grpc::PERMISSION_DENIED);
}

TEST_F(ServiceTest, LyingChunksEndTheirStreamAlone) {
  const Session alice = Join("alice");
  v1::UploadManifest wrong_hash = ManifestOf("alice");
  (*wrong_hash.mutable_sha256())[0] ^= 1;
  const v1::OpenUploadReply opened = OpenWanted(alice, wrong_hash);
  const std::uint64_t id = opened.accepted().upload();
  EXPECT_EQ(SendAsync(alice, id, kChunkBytes, payload().size()).get().error_code(), grpc::INVALID_ARGUMENT) << "gap";
  EXPECT_EQ(SendAsync(alice, id + 7, 0, kChunkBytes).get().error_code(), grpc::NOT_FOUND);
  const Session bob = Join("bob");
  EXPECT_EQ(SendAsync(bob, id, 0, kChunkBytes).get().error_code(), grpc::NOT_FOUND) << "another's upload";
  const grpc::Status lied = SendAsync(alice, id, 0, payload().size()).get();
  EXPECT_EQ(lied.error_code(), grpc::INVALID_ARGUMENT);
  EXPECT_THAT(lied.error_message(), HasSubstr("sha256"));
  // Nobody else is disturbed, and the liar may send the truth.
  const v1::OpenUploadReply truth = OpenWanted(alice, ManifestOf("alice"));
  auto sent = SendAsync(alice, truth.accepted().upload(), 0, payload().size());
  Next<UploadArrived>().answer(OkStatus());
  EXPECT_TRUE(sent.get().ok());
}

TEST_F(ServiceTest, ReplayedAndOversizeStreamsAreRefused) {
  const Session alice = Join("alice");
  const std::uint64_t id = OpenWanted(alice, ManifestOf("alice")).accepted().upload();
  EXPECT_EQ(SendChunks(alice, id, {0, 0}).error_code(), grpc::INVALID_ARGUMENT) << "the first chunk twice";
  // An upload that is whole and was spoilt afterwards starts again: there is no chunk left to go on with.
  EXPECT_EQ(SendChunks(alice, id, {kChunkBytes, 2 * kChunkBytes, 0}).error_code(), grpc::INVALID_ARGUMENT);
  const v1::OpenUploadReply again = OpenWanted(alice, ManifestOf("alice"));
  EXPECT_EQ(again.accepted().offset(), 0u);
  v1::UploadChunk oversize;
  oversize.set_session(alice.token);
  oversize.set_upload(again.accepted().upload());
  oversize.mutable_chunk()->set_data(std::string(kMaxMessageBytes + 1, 'x'));
  EXPECT_EQ(SendMessages({oversize}).error_code(), grpc::RESOURCE_EXHAUSTED);
}

TEST_F(ServiceTest, ClosedRoundEndsAnOpenStream) {
  const Session alice = Join("alice");
  const std::uint64_t id = OpenWanted(alice, ManifestOf("alice")).accepted().upload();
  grpc::ClientContext context;
  v1::UploadReply reply;
  auto stream = stub().Upload(Within(context), &reply);
  ASSERT_TRUE(stream->Write(ChunkOf(alice, id, 0)));
  server().outbox().CloseUploadsBefore(2, 0);
  // Never half-closed: the server ends it, with the reason, or finds no upload if the chunk arrives only now. A client
  // cannot see which came first; that a stream in being is ended with the reason is TransferTest's to show.
  EXPECT_THAT(stream->Finish().error_code(), AnyOf(grpc::FAILED_PRECONDITION, grpc::NOT_FOUND));
}

TEST_F(ServiceTest, FetchStreamsABlobFromAnyOffset) {
  const Session alice = Join("alice");
  const BlobRef ref = server().outbox().Publish(std::make_shared<const Bytes>(payload()));
  for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{kChunkBytes}, std::uint64_t{77}, ref.length}) {
    const FetchOutcome fetched = Fetch(alice.token, ref, offset);
    EXPECT_TRUE(fetched.status.ok()) << fetched.status.error_message();
    EXPECT_EQ(fetched.data, AsText(ByteSpan(payload()).subspan(offset)));
  }
  EXPECT_EQ(Fetch(alice.token, ref, ref.length + 1).status.error_code(), grpc::OUT_OF_RANGE);
  EXPECT_EQ(Fetch("nobody", ref, 0).status.error_code(), grpc::UNAUTHENTICATED);
  server().outbox().Retire(ref.sha256);
  EXPECT_EQ(Fetch(alice.token, ref, 0).status.error_code(), grpc::NOT_FOUND);
}

TEST_F(ServiceTest, ShutdownEndsFiftyPollsAndAWaitingAnswerPromptly) {
  std::vector<std::future<PollOutcome>> polls;
  for (int i = 0; i < 50; ++i) {
    const Session session = Join("client-" + std::to_string(i));
    const Task task = EvaluateTaskFor(session.client_id);
    server().outbox().Send(Next<ClientsJoined>().session, task);
    ASSERT_TRUE(PollAsync(session.token).get().status.ok());
    polls.push_back(PollAsync(session.token, {task.key}));
  }
  // What is acknowledged came with a poll that is open now; one on its way to a server that shuts down is gRPC's to
  // end.
  ASSERT_TRUE(server().WaitUntilDelivered(Seconds(30)));
  const Session alice = Join("alice");
  auto unanswered = SubmitAsync(EvaluationOf(alice, "alice"));
  const auto answered = Next<TaskAnswered>();
  const auto start = std::chrono::steady_clock::now();
  server().Shutdown();
  // One second of grace for what waits for the coordinator; the rest is room for a busy machine.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  for (auto& poll : polls) EXPECT_EQ(poll.get().status.error_code(), grpc::UNAVAILABLE);
  EXPECT_FALSE(unanswered.get().ok());
  answered.answer(OkStatus());  // Later than the call, and the server.
}

TEST_F(ServiceTest, HealthServiceSaysServingUntilDrained) {
  // grpc.health.v1.Health/Check by hand: {1: service} to {1: status}, of which 1 is SERVING and 2 NOT_SERVING.
  grpc::GenericStub health(
      grpc::CreateChannel("localhost:" + std::to_string(server().port()), grpc::InsecureChannelCredentials()));
  const auto check = [&](const std::string& service) {
    const grpc::Slice request("\x0a" + std::string(1, static_cast<char>(service.size())) + service);
    const grpc::ByteBuffer message(&request, 1);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto call = health.PrepareUnaryCall(Within(context), "/grpc.health.v1.Health/Check", message, &queue);
    call->StartCall();
    grpc::ByteBuffer reply;
    grpc::Status status;
    call->Finish(&reply, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok) && ok);
    grpc::Slice bytes;
    EXPECT_TRUE(status.ok() && reply.DumpToSingleSlice(&bytes).ok()) << status.error_message();
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(check("fedpeft.v1.Coordinator"), "\x08\x01");
  server().Drain();
  EXPECT_EQ(check("fedpeft.v1.Coordinator"), "\x08\x02");
}

TEST_F(ServiceTest, DeliveryIsAwaitedUntilAcknowledged) {
  const Session alice = Join("alice");
  const auto joined = Next<ClientsJoined>();
  EXPECT_TRUE(server().WaitUntilDelivered(Seconds(0)));
  const Task task = EvaluateTaskFor("alice");
  server().outbox().Send(joined.session, task);
  EXPECT_FALSE(server().WaitUntilDelivered(Seconds(0)));
  EXPECT_EQ(PollAsync(alice.token).get().reply.tasks_size(), 1);
  auto acknowledging = PollAsync(alice.token, {task.key});
  EXPECT_TRUE(server().WaitUntilDelivered(Seconds(10)));
  server().Drain();
  EXPECT_EQ(acknowledging.get().status.error_code(), grpc::UNAVAILABLE);
}

/// Time that stands still until it is moved.
class HandClock final : public Clock {
 public:
  Instant Now() const override { return Instant(Duration(now_.load())); }
  void Advance(Duration by) { now_ += by.count(); }

 private:
  std::atomic<Duration::rep> now_{0};
};

/// A base, so that the clock is made before the server that reads it and outlives it.
struct HasClock {
  HandClock clock;
};

class TimedServiceTest : public ::testing::Test, protected HasClock, protected ServiceFixture {
 protected:
  TimedServiceTest()
      : ServiceFixture(
            {.tls_certificate = {}, .tls_key = {}, .client_ca = {}, .client_timeout_s = 15, .clock = &clock}) {}
};

TEST_F(TimedServiceTest, ClientThatVanishesHasLeftAfterTheTimeout) {
  const Session alice = Join("alice");
  const auto joined = Next<ClientsJoined>();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(20));
  v1::NextTaskRequest request;
  request.set_session(alice.token);
  v1::NextTaskReply reply;
  EXPECT_EQ(stub().NextTask(&context, request, &reply).error_code(), grpc::DEADLINE_EXCEEDED);
  // Again and again, because the timeout begins when the server notices that the poll is gone.
  do {
    clock.Advance(Seconds(15));
  } while (!EventComesWithin(std::chrono::milliseconds(200)));
  EXPECT_EQ(Next<ClientsLeft>().session, joined.session);
}

TEST_F(TimedServiceTest, AnUploadWhoseFirstChunkNeverComesIsEnded) {
  grpc::ClientContext context;
  v1::UploadReply reply;
  const auto stream = stub().Upload(Within(context), &reply);
  auto ended = std::async(std::launch::async, [&] { return stream->Finish(); });
  // Again and again, because the silence begins when the server has the stream.
  do {
    clock.Advance(Seconds(UploadTable::kSilenceSeconds));
  } while (ended.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready);
  EXPECT_THAT(ended.get().error_message(), HasSubstr("no chunk"));
}

TEST_F(TimedServiceTest, AFetchThatNobodyReadsIsEndedAndLetsGoOfItsBlob) {
  const Session alice = Join("alice");
  // More than the connection takes on its own.
  auto bytes = std::make_shared<const Bytes>(64 * kChunkBytes);
  const std::weak_ptr<const Bytes> held = bytes;
  const BlobRef blob = server().outbox().Publish(std::move(bytes));
  v1::FetchRequest request;
  request.set_session(alice.token);
  request.set_sha256(blob.sha256.data(), blob.sha256.size());
  grpc::ClientContext context;
  const auto stream = stub().Fetch(Within(context), request);
  stream->WaitForInitialMetadata();  // which comes with the first chunk
  server().outbox().Retire(blob.sha256);
  EXPECT_FALSE(held.expired());
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!held.expired() && std::chrono::steady_clock::now() < patience) {
    clock.Advance(Seconds(UploadTable::kSilenceSeconds));
    std::this_thread::yield();
  }
  EXPECT_TRUE(held.expired());
  v1::Chunk chunk;
  while (stream->Read(&chunk)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::CANCELLED);
}

TEST(ServiceStartTest, PlainTextIsForLoopbackAlone) {
  testing::TempFolder folder;
  ServiceOptions options;
  options.listen = "0.0.0.0:0";
  options.spool_folder = folder.File("spool");
  const auto refused = CoordinatorServer::Start(options, RunInfo(), [](const Event&) {});
  EXPECT_EQ(refused.status().code(), Code::kFailedPrecondition);
  options.allow_plain_text = true;
  EXPECT_TRUE(CoordinatorServer::Start(options, RunInfo(), [](const Event&) {}).ok());
}

TEST(ServiceStartTest, PortInUseIsAnError) {
  testing::TempFolder folder;
  ServiceOptions options;
  options.listen = "127.0.0.1:0";
  options.spool_folder = folder.File("spool");
  const auto first = CoordinatorServer::Start(options, RunInfo(), [](const Event&) {});
  ASSERT_TRUE(first.ok());
  options.listen = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = CoordinatorServer::Start(options, RunInfo(), [](const Event&) {});
  EXPECT_EQ(second.status().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace fedpeft::server
