// Peers that lie, are slow or say nothing, in a federation whose other clients are honest: refused with a reason, and
// the honest ones end with the parameters that they would have had among themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/integration/federation.h"
#include "tests/integration/peer.h"
#include "tests/support/tiny_data.h"

namespace fedpeft::testing {
namespace {

using ::testing::HasSubstr;
using Clients = std::vector<std::unique_ptr<Process>>;

/// The run waits for its evaluator: who has joined before is in the first round.
Settings WithEvaluator(Settings settings) {
  settings.evaluation = "{every: 1, min_evaluators: 1}";
  return settings;
}

/// Trainers a and b and, once they have joined, the evaluator.
Clients JoinHonest(Federation& federation) {
  Clients clients;
  clients.push_back(federation.Join("a", federation.Data(0, 40)));
  clients.push_back(federation.Join("b", federation.Data(100, 30)));
  for (const auto& client : clients) {
    EXPECT_TRUE(Eventually([&] { return client->errors().find("session.joined") != std::string::npos; }));
  }
  clients.push_back(federation.Join("eve", federation.Data(200, 10), {"--role", "evaluator"}));
  return clients;
}

std::vector<std::string> HashesWithoutLiars(const Settings& settings, const Arguments& serve = {}) {
  Federation federation(settings);
  federation.Serve(serve);
  federation.Finish(JoinHonest(federation));
  return federation.Hashes();
}

Bytes Filled(Bytes update, float value) {
  for (std::size_t at = 0; at < update.size(); at += sizeof(float)) StoreLe(value, update.data() + at);
  return update;
}

/// Opens an upload of `update` under an honest manifest with one thing changed; why it is refused.
std::string Lie(Peer& peer, const v1::Task& task, const std::function<void(v1::UploadManifest&)>& change) {
  v1::UploadManifest manifest = peer.ManifestOf(task, peer.Zeros());
  change(manifest);
  std::uint64_t upload = 0;
  return peer.OpenRefusal(manifest, upload);
}

void LieAboutManifests(Peer& peer, const v1::Task& task) {
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.set_length(m.length() + 4); }), HasSubstr("length"));
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.set_length(std::uint64_t{1} << 60); }), HasSubstr("1152921504606846976"));
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.set_sha256("short"); }), HasSubstr("sha256"));
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.set_run_id("other"); }), HasSubstr("run_id"));
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.mutable_stats()->set_loss(NAN); }), HasSubstr("finite"));
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.mutable_key()->set_client_id("a"); }), HasSubstr("does not speak for"));
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.mutable_key()->set_round(7); }), HasSubstr("not open"));
}

void LieAboutChunks(Peer& peer, const v1::Task& task) {
  const Bytes update = peer.Zeros(), longer(update.size() + 4);
  Bytes other = update;
  other.back() = 1;
  const auto send = [&](const std::vector<v1::Chunk>& chunks) {
    std::uint64_t upload = 0;
    EXPECT_EQ(peer.OpenRefusal(peer.ManifestOf(task, update), upload), "");
    return peer.Send(upload, chunks);
  };
  v1::Chunk damaged = Peer::ChunkOf(0, update);
  damaged.set_crc32c(damaged.crc32c() ^ 1);
  EXPECT_EQ(send({damaged}).error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(send({Peer::ChunkOf(0, longer)}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(send({Peer::ChunkOf(4, ByteSpan(update).subspan(4))}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(send({Peer::ChunkOf(0, ByteSpan(update).first(1)), Peer::ChunkOf(1, ByteSpan(update).subspan(1, 1))})
                .error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(send({}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Status wrong_hash = send({Peer::ChunkOf(0, other)});
  EXPECT_EQ(wrong_hash.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(wrong_hash.error_message(), HasSubstr("sha256"));
  EXPECT_EQ(peer.Send(12345, {Peer::ChunkOf(0, update)}).error_code(), grpc::StatusCode::NOT_FOUND);
}

void LieAboutSessions(Peer& peer) {
  const std::string unknown(kSessionBytes, 'x');
  EXPECT_EQ(peer.TryPoll(unknown).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(peer.TryPoll("").error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(peer.TryFetch(unknown, std::string(32, 'x'), 0).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(peer.TryFetch(peer.session(), std::string(32, 'x'), 0).error_code(), grpc::StatusCode::NOT_FOUND);
  v1::JoinReply reply;
  v1::JoinRequest other_base = peer.join();
  other_base.set_name("thief");
  other_base.set_weights_sha256(std::string(32, '\1'));
  EXPECT_EQ(peer.TryJoin(other_base, reply).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  v1::JoinRequest bad_name = peer.join();
  bad_name.set_name("a/0");
  EXPECT_EQ(peer.TryJoin(bad_name, reply).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

/// A whole and well-formed update whose values nobody may add; why it is refused. Ends the peer's part in the round.
std::string SendValues(Peer& peer, const v1::Task& task, float value) {
  const Bytes update = Filled(peer.Zeros(), value);
  std::uint64_t upload = 0;
  EXPECT_EQ(peer.OpenRefusal(peer.ManifestOf(task, update), upload), "");
  const grpc::Status status = peer.Send(upload, {Peer::ChunkOf(0, update)});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  return status.error_message();
}

/// What the coordinator itself refuses ends the liar's part in the round: one such lie a round. Returns the next task.
v1::Task LieAboutContent(Peer& peer, v1::Task task) {
  const std::string other(32, '\1');
  EXPECT_THAT(Lie(peer, task, [&](auto& m) { m.set_base_sha256(other); }), HasSubstr("against parameters"));
  task = peer.NextTrainTask();
  EXPECT_THAT(Lie(peer, task, [&](auto& m) { m.set_payload_sha256(other); }), HasSubstr("payload"));
  task = peer.NextTrainTask();
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.mutable_stats()->set_examples(~std::uint64_t{0}); }),
              HasSubstr("examples"));
  task = peer.NextTrainTask();
  EXPECT_THAT(Lie(peer, task, [](auto& m) { m.mutable_stats()->set_loss(-1); }), HasSubstr("not negative"));
  task = peer.NextTrainTask();
  EXPECT_THAT(SendValues(peer, task, NAN), HasSubstr("finite"));
  return peer.NextTrainTask();
}

TEST(HostileTest, LiarsAreRefusedAndChangeNothing) {
  const Settings settings = WithEvaluator({.rounds = 8});
  Federation federation(settings);
  federation.Serve();
  Peer liar(federation.address(), "liar");
  const Clients clients = JoinHonest(federation);

  const v1::Task first = liar.NextTrainTask();
  LieAboutSessions(liar);
  LieAboutManifests(liar, first);
  LieAboutChunks(liar, first);

  const v1::Task second = LieAboutContent(liar, first);
  EXPECT_EQ(second.key().round(), 6);
  EXPECT_THAT(Lie(liar, first, [](auto&) {}), HasSubstr("not open"));  // replayed
  EXPECT_NE(SendValues(liar, second, 1e30F), "");                      // far beyond max_abs
  const v1::Task third = liar.NextTrainTask();
  EXPECT_NE(SendValues(liar, third, -INFINITY), "");
  const v1::Task fourth = liar.NextTrainTask();
  EXPECT_TRUE(liar.GiveUp(fourth).ok());
  federation.Finish(clients);

  for (const auto& round : federation.Rounds()) EXPECT_EQ(round["participants"], round["round"] == 0 ? 0 : 2);
  EXPECT_EQ(federation.Hashes(), HashesWithoutLiars(settings));
}

TEST(HostileTest, SilentAndSlowClientsAreNotWaitedForBeyondTheDeadline) {
  const Settings settings = WithEvaluator({.rounds = 2, .deadline_s = 4, .limits = "{client_timeout_s: 10}"});
  Federation federation(settings);
  federation.Serve();
  const Peer silent(federation.address(), "silent");
  Peer slow(federation.address(), "slow");
  const Clients clients = JoinHonest(federation);
  const v1::Task task = slow.NextTrainTask();
  std::uint64_t upload = 0;
  EXPECT_EQ(slow.OpenRefusal(slow.ManifestOf(task, slow.Zeros()), upload), "");  // and then no byte
  const v1::Task next = slow.NextTrainTask();
  EXPECT_EQ(next.key().round(), 2);
  EXPECT_EQ(slow.Send(upload, {Peer::ChunkOf(0, slow.Zeros())}).error_code(), grpc::StatusCode::NOT_FOUND);
  federation.Finish(clients);
  EXPECT_EQ(federation.Hashes(), HashesWithoutLiars(settings));
}

/// So many classes that the head makes an update larger than a chunk: it goes in several and through the spool.
Arguments WithLargeUpdates() {
  std::string labels;
  for (const char* label : kTinyLabels) labels += std::string(label) + ",";
  for (int i = 0; i < 10'000; ++i) labels += "l" + std::to_string(i) + ",";
  labels.pop_back();
  return {"--set", "problem.labels=[" + labels + "]"};
}

TEST(HostileTest, AnUploadThatStallsInTheMiddleIsEndedAtTheDeadlineAndTheOthersCount) {
  const Settings settings = WithEvaluator({.rounds = 2, .deadline_s = 8});
  Federation federation(settings);
  federation.Serve(WithLargeUpdates());
  Peer slow(federation.address(), "slow");
  const Clients clients = JoinHonest(federation);
  const v1::Task task = slow.NextTrainTask();
  const Bytes update = slow.Zeros();
  ASSERT_GT(update.size(), kChunkBytes);
  std::uint64_t upload = 0;
  EXPECT_EQ(slow.OpenRefusal(slow.ManifestOf(task, update), upload), "");
  Peer::Stalled stalled(slow, upload, Peer::ChunkOf(0, ByteSpan(update).first(kChunkBytes)));
  const grpc::Status ended = stalled.End();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(ended.error_message(), HasSubstr("round is closed"));
  EXPECT_TRUE(slow.GiveUp(slow.NextTrainTask()).ok());
  federation.Finish(clients);
  for (const auto& round : federation.Rounds()) EXPECT_EQ(round["participants"], round["round"] == 0 ? 0 : 2);
  EXPECT_EQ(federation.Hashes(), HashesWithoutLiars(settings, WithLargeUpdates()));
}

}  // namespace
}  // namespace fedpeft::testing
