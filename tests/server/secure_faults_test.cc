// Secure aggregation over the real service, with one client that falls silent, trickles, or sends damaged bytes.
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>

#include "client/secure_clients.h"
#include "client/update_store.h"
#include "configs/views.h"
#include "peft/core/random.h"
#include "peft/plan/plan.h"
#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.grpc.pb.h"
#include "server/checkpoint.h"
#include "server/coordinator.h"
#include "server/secure_round.h"
#include "server/service.h"
#include "server/state_reader.h"
#include "server/store.h"
#include "tests/server/small_run.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using fedpeft::testing::TempFolder;
using testing::SmallRun;
using Stage = privacy::ServerSession::Stage;

constexpr std::uint32_t kClients = 7;
constexpr std::uint64_t kExamples = 10;
// Real time passes here; under a sanitizer everything takes as much longer.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif
constexpr double kSlower = SANITIZED ? 10 : 1;
constexpr double kDeadlineSeconds = kSlower;

std::string Text(const Digest& digest) {
  return {digest.begin(), digest.end()};
}

/// LoRA as wide as the layer: masked vectors are some chunks long.
RunSpec LargeRun(std::uint32_t rounds) {
  RunSpec run = SmallRun(rounds, 6);
  run.plan.base = {"bert", 256, 1, 2, 1024, 16, 16};
  run.plan.method = LoraConfig{256, 4, 0, {"query", "key", "value", "dense"}};
  run.schedule[0].cohort = kClients;
  run.schedule[0].min_clients = 6;
  run.schedule[0].deadline_s = 5 * kSlower;
  run.schedule[0].reducer.max_weight = 1000;
  run.limits.upload_window_bytes = std::uint64_t{64} << 20;
  run.secure.on = true;
  run.secure.bits = 32;
  run.secure.step_deadline_s = kDeadlineSeconds;
  run.secure.upload_deadline_s = kDeadlineSeconds;
  return run;
}

/// A coordinator and its service, and seven clients of one session.
class Faults {
 public:
  /// What the last client does in place of answering a step; false: it answers.
  using Fault = std::function<bool(Faults&, const v1::Task&, const client::SecureClients::Reply&)>;

  explicit Faults(const RunSpec& run) : run_(run), layout_(*PlanLayout(run.plan)) {
    coordinator_ = *Coordinator::Open({state_.path(), "config", run});
    RunInfo info;
    info.run_id = coordinator_->run_id();
    info.layout = coordinator_->layout_digest();
    info.max_update_bytes = coordinator_->max_update_bytes();
    info.upload_window_bytes = run.limits.upload_window_bytes;
    info.reticent = true;
    ServiceOptions service;
    service.listen = "127.0.0.1:0";
    service.spool_folder = state_.File("spool");
    server_ = *CoordinatorServer::Start(service, info, [this](Event event) { coordinator_->Post(std::move(event)); });
    coordinator_->Start(server_->outbox());
    store_ = std::make_unique<client::UpdateStore>(*client::UpdateStore::Open(clients_folder_.path()));
    clients_ = std::make_unique<client::SecureClients>(
        client::SecureClients::Setup{run, coordinator_->run_id(), {}, nullptr, {}, {}}, *store_);
    stub_ = v1::Coordinator::NewStub(
        grpc::CreateChannel("localhost:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials()));
    v1::JoinRequest join;
    join.set_protocol_version(kProtocolVersion);
    join.set_run_id(coordinator_->run_id());
    join.set_name("x");
    join.set_role(v1::ROLE_TRAINER);
    join.set_weights_sha256(std::string(32, '\0'));
    join.set_tokenizer_sha256(std::string(32, '\0'));
    join.set_layout_sha256(Text(coordinator_->layout_digest()));
    for (std::uint32_t i = 0; i < kClients; ++i) join.add_examples(0);
    v1::JoinReply reply;
    FEDPEFT_CHECK(Call(&v1::Coordinator::Stub::Join, join, reply).ok());
    token_ = reply.session();
  }
  ~Faults() {
    server_->Drain();
    server_->Shutdown();
    coordinator_.reset();
  }

  /// Answers tasks until the run is over; the last client answers none that `fault` takes.
  void Play(const Fault& fault) {
    v1::NextTaskRequest poll;
    for (bool over = false; !over;) {
      poll.set_session(token_);
      v1::NextTaskReply reply;
      ASSERT_TRUE(Call(&v1::Coordinator::Stub::NextTask, poll, reply).ok());
      poll.clear_received();
      for (const v1::Task& task : reply.tasks()) {
        *poll.add_received() = task.key();
        over = over || task.has_finished();
        if (task.has_train()) Train(task);
        if (task.has_secure()) Step(task, fault);
      }
    }
  }

  std::vector<RoundRecord> Rounds() { return *StateReader::Open(state_.path())->Rounds(); }
  std::vector<AttemptRecord> Attempts() { return *StateReader::Open(state_.path())->Attempts(); }

  /// The largest difference between a round's step and the mean of its submitters' updates.
  double Error(std::uint32_t round) {
    const std::vector<Submission> submissions = *StateReader::Open(state_.path())->Submissions(round);
    const std::vector<float> before = Params(round - 1), after = Params(round);
    std::vector<double> mean(before.size());
    for (const Submission& one : submissions) {
      const std::vector<float> update = Update(one.client, round);
      for (std::size_t i = 0; i < mean.size(); ++i) mean[i] += update[i] / static_cast<double>(submissions.size());
    }
    double largest = 0;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      largest = std::max(largest, std::abs(double{after[i]} - double{before[i]} - mean[i]));
    }
    return largest;
  }

  std::uint64_t Open(const v1::Task& task, const client::SecureClients::Reply& reply) {
    v1::OpenUploadRequest open;
    open.set_session(token_);
    v1::UploadManifest& manifest = *open.mutable_manifest();
    manifest.set_run_id(coordinator_->run_id());
    *manifest.mutable_key() = task.key();
    manifest.set_length(reply.bytes.size());
    manifest.set_sha256(Text(Sha256Of(reply.bytes)));
    manifest.set_payload_sha256(Text(reply.layout));
    manifest.set_base_sha256(Text(reply.base));
    v1::OpenUploadReply opened;
    EXPECT_TRUE(Call(&v1::Coordinator::Stub::OpenUpload, open, opened).ok());
    EXPECT_TRUE(opened.has_accepted()) << opened.refusal();
    return opened.accepted().upload();
  }
  /// Sends the first `length` bytes, and then ends the stream, or breaks it off.
  grpc::Status Send(std::uint64_t upload, ByteSpan whole, std::uint64_t length, bool end) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::UploadReply reply;
    const auto stream = stub_->Upload(&context, &reply);
    v1::UploadChunk message;
    message.set_session(token_);
    message.set_upload(upload);
    for (std::uint64_t at = 0; at < length;) {
      const std::size_t size = ChunkSize(at, whole.size());
      FillChunk(at, whole.subspan(at, size), *message.mutable_chunk());
      // Of the last chunk, perhaps a part: a message that was cut off on its way.
      if (at + size > length) message.mutable_chunk()->mutable_data()->resize(length - at);
      if (!stream->Write(message)) break;
      at += size;
    }
    if (end) {
      stream->WritesDone();
    } else {
      context.TryCancel();
    }
    return stream->Finish();
  }

 private:
  template <typename Request, typename Reply>
  grpc::Status Call(grpc::Status (v1::Coordinator::Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                    const Request& request, Reply& reply) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return (stub_.get()->*method)(&context, request, &reply);
  }
  void Submit(v1::SubmitRequest& request, const v1::Task& task) {
    request.set_session(token_);
    request.set_run_id(coordinator_->run_id());
    *request.mutable_key() = task.key();
    v1::SubmitReply reply;
    // What comes too late is refused.
    static_cast<void>(Call(&v1::Coordinator::Stub::Submit, request, reply));
  }
  void Train(const v1::Task& task) {
    client::KeptUpdate kept;
    kept.round = task.key().round();
    std::ranges::copy(task.train().params().sha256(), kept.base.begin());
    kept.layout = RunViews::Make(run_.plan, run_.schedule, layout_).value().Update(kept.round).digest;
    const std::vector<float> values = Update(task.key().client_id(), kept.round);
    const ByteSpan bytes = AsBytes(std::span<const float>(values));
    kept.payload.assign(bytes.begin(), bytes.end());
    ASSERT_TRUE(store_->Keep(coordinator_->run_id(), task.key().client_id(), kept).ok());
    v1::SubmitRequest request;
    request.mutable_trained();
    Submit(request, task);
  }
  void Step(const v1::Task& task, const Fault& fault) {
    const v1::TaskKey& key = task.key();
    const auto reply = clients_->Handle({key.client_id(), key.round(), key.attempt(), key.step()},
                                        AsBytes(task.secure().step()), kExamples);
    if (!reply.ok()) return;  // it was left out before, and is not asked any more
    if (key.client_id() == "x/6" && fault(*this, task, *reply)) return;
    if (reply->masked) {
      EXPECT_TRUE(Send(Open(task, *reply), reply->bytes, reply->bytes.size(), /*end=*/true).ok());
      return;
    }
    v1::SubmitRequest request;
    request.set_secure(reply->bytes.data(), reply->bytes.size());
    Submit(request, task);
  }
  std::vector<float> Update(const std::string& client, std::uint32_t round) const {
    RandomStream stream(5, "fault-update/" + client, {round});
    std::vector<float> values(layout_->size());
    for (float& value : values) value = static_cast<float>(stream.NextBelow(1000)) / 8192 - 0.06F;
    return values;
  }
  std::vector<float> Params(std::uint32_t round) const {
    auto checkpoint = ReadCheckpoint(JoinPath(state_.path(), Store::ParamsFile(round)), layout_);
    FEDPEFT_CHECK(checkpoint.ok());
    return {checkpoint->params.values().begin(), checkpoint->params.values().end()};
  }

  const RunSpec run_;
  const std::shared_ptr<const ParamLayout> layout_;
  TempFolder state_, clients_folder_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<CoordinatorServer> server_;
  std::unique_ptr<client::UpdateStore> store_;
  std::unique_ptr<client::SecureClients> clients_;
  std::unique_ptr<v1::Coordinator::Stub> stub_;
  std::string token_;
};

/// A step of the first round's grid: 32 bits hold seven clients of weight 1000 and values up to 1.
constexpr double kExact = 0x1p-18;

void ExpectSumsOfSix(Faults& faults, std::uint32_t rounds) {
  const std::vector<RoundRecord> records = faults.Rounds();
  ASSERT_EQ(records.size(), rounds + 1);
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    EXPECT_EQ(records[round].participants, 6u) << round;
    EXPECT_LT(faults.Error(round), kExact) << round;
  }
  EXPECT_EQ(faults.Attempts().size(), rounds) << "no attempt was lost";
}

TEST(SecureFaultsTest, F4UploadsThatBreakOffAnywhereAreNotInTheSum) {
  // At each end of a chunk, within chunks, and before the stream's end.
  const std::vector<std::uint64_t> cuts = {0, kChunkBytes / 2, kChunkBytes, 2 * kChunkBytes, 2 * kChunkBytes + 5};
  RunSpec run = LargeRun(static_cast<std::uint32_t>(cuts.size()) + 1);
  run.limits.keep_rounds = 100;
  Faults faults(run);
  faults.Play([&](Faults& self, const v1::Task& task, const client::SecureClients::Reply& reply) {
    if (!reply.masked) return false;
    EXPECT_GT(reply.bytes.size(), 2 * kChunkBytes + 5);
    const std::uint32_t index = task.key().round() - 1;
    const std::uint64_t cut = index < cuts.size() ? cuts[index] : reply.bytes.size();
    EXPECT_FALSE(self.Send(self.Open(task, reply), reply.bytes, cut, /*end=*/false).ok());
    return true;
  });
  ExpectSumsOfSix(faults, run.total_rounds());
}

TEST(SecureFaultsTest, F10ABitThatFlipsOnTheWayKeepsTheVectorOut) {
  RunSpec run = LargeRun(1);
  Faults faults(run);
  faults.Play([](Faults& self, const v1::Task& task, const client::SecureClients::Reply& reply) {
    if (!reply.masked) return false;
    const std::uint64_t upload = self.Open(task, reply);
    Bytes damaged = reply.bytes;
    damaged[kChunkBytes + 17] ^= 4;
    EXPECT_EQ(self.Send(upload, damaged, damaged.size(), /*end=*/true).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
    return true;
  });
  ExpectSumsOfSix(faults, 1);
}

TEST(SecureFaultsTest, F9ASilentClientHoldsNoStepBeyondItsDeadline) {
  for (const Stage stage : {Stage::kAdvertise, Stage::kShare, Stage::kUpload, Stage::kSign, Stage::kUnmask}) {
    Faults faults(LargeRun(1));
    std::optional<Instant> silent;
    faults.Play([&](Faults&, const v1::Task& task, const client::SecureClients::Reply&) {
      if (task.key().step() != kSecureStep + static_cast<std::uint32_t>(stage)) return false;
      silent = Clock::System().Now();
      return true;
    });
    // Then the steps that were left, and the commit; unmasking does not wait for shares that are not needed.
    EXPECT_LT(ToSeconds(Clock::System().Now() - *silent), kDeadlineSeconds + 1.5 * kSlower) << static_cast<int>(stage);
    EXPECT_EQ(faults.Rounds().back().participants, stage <= Stage::kUpload ? 6u : 7u);
    EXPECT_LT(faults.Error(1), kExact);
  }
}

}  // namespace
}  // namespace fedpeft::server
