// SecureFederation: a coordinator and real clients' sessions of secure aggregation, in one process.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/secure_clients.h"
#include "client/update_store.h"
#include "server/checkpoint.h"
#include "server/store.h"
#include "tests/server/coordinator_fixture.h"

namespace fedpeft::server::testing {

/// A client's side: what it has trained, and its sessions. It dies with the object.
class Member {
 public:
  Member(const RunSpec& run, const std::string& run_id, const std::string& folder)
      : store_(*client::UpdateStore::Open(folder)),
        clients_({run, run_id, {}, nullptr, {}, {}}, store_),
        run_id_(run_id) {}

  void Keep(const TaskKey& key, const Digest& base, const PayloadLayout& payload, Bytes update) {
    client::KeptUpdate kept;
    kept.round = key.round;
    kept.base = base;
    kept.layout = payload.digest;
    kept.stats.loss = 0.5;
    kept.payload = std::move(update);
    FEDPEFT_CHECK(store_.Keep(run_id_, key.client_id, kept).ok());
  }
  Result<client::SecureClients::Reply> Take(const TaskKey& key, ByteSpan step) {
    return clients_.Handle({key.client_id, key.round, key.attempt, key.step}, step, kExamples);
  }

  static constexpr std::uint64_t kExamples = 10;

 private:
  client::UpdateStore store_;
  client::SecureClients clients_;
  const std::string run_id_;
};

/// Who is lost at a step, before it answers.
using Lost = std::function<bool(const TaskKey&)>;

/// A federation and its clients' sides.
class SecureFederation {
 public:
  SecureFederation(const std::string& state, const RunSpec& run, const std::string& clients)
      : run_(run), clients_folder_(clients), federation_(state, run) {}

  void JoinAll(int clients) {
    federation_.JoinAll(clients);
    // The first attempt begins with as few as may be; it fails, and the next one is among all.
    const std::uint32_t fewest = run_.schedule[0].min_clients;
    if (static_cast<std::uint32_t>(clients) == fewest) return;
    for (const auto& [session, task] : federation_.TakeTrain(fewest)) {
      EXPECT_TRUE(federation_.Answer(session, task.key, Unavailable("not yet")).ok());
    }
  }

  /// Everybody trains, and says so.
  void Train(std::size_t clients) {
    for (const auto& [session, task] : federation_.TakeTrain(clients)) {
      const BlobRef base = std::get<TrainTask>(task.body).params;
      Of(task.key.client_id)
          .Keep(task.key, base.sha256, federation_.payload(task.key.round), federation_.Update(task.key));
      EXPECT_EQ(federation_.Answer(session, task.key, Trained{}).ToString(), "OK");
    }
  }

  /// Steps are answered as they come, until the coordinator goes on to something else; but for those that `instead`
  /// says it has dealt with.
  void Play(const std::function<bool(SessionId, const Task&)>& instead) {
    while (auto next = federation_.service().TakeStep()) {
      const auto& [session, task] = *next;
      if (!gone_.contains(session) && !instead(session, task)) Reply(session, task, StepReply(task));
    }
  }
  /// Who is lost comes back as another process with the same folder, if it does.
  void Sum(
      const Lost& lost = [](const TaskKey&) { return false; }, bool comes_back = false) {
    Play([&](SessionId session, const Task& task) {
      if (!lost(task.key)) return false;
      Leave(session, task.key.client_id);
      if (comes_back) federation_.Join(session + 100, task.key.client_id);
      return true;
    });
  }

  Result<client::SecureClients::Reply> StepReply(const Task& task) {
    return Of(task.key.client_id).Take(task.key, std::get<SecureTask>(task.body).step.Joined());
  }
  void Reply(SessionId session, const Task& task, const Result<client::SecureClients::Reply>& reply) {
    if (!reply.ok()) {
      refusals_.push_back(reply.status());
      EXPECT_TRUE(federation_.Answer(session, task.key, reply.status()).ok());
    } else if (reply->masked) {
      UploadManifest manifest = ManifestOf(task.key, *reply);
      EXPECT_EQ(federation_.Offer(session, manifest).kind, UploadDecision::Kind::kWanted);
      EXPECT_EQ(federation_.Upload(session, manifest, reply->bytes).ToString(), "OK");
      EXPECT_NE(federation_.Offer(session, manifest).kind, UploadDecision::Kind::kWanted);
    } else {
      EXPECT_EQ(federation_.Answer(session, task.key, SecureAnswer{reply->bytes}).ToString(), "OK");
    }
  }

  static UploadManifest ManifestOf(const TaskKey& key, const client::SecureClients::Reply& reply) {
    UploadManifest manifest;
    manifest.key = key;
    manifest.length = reply.bytes.size();
    manifest.sha256 = Sha256Of(reply.bytes);
    manifest.payload = reply.layout;
    manifest.base = reply.base;
    return manifest;
  }

  void Leave(SessionId session, const std::string& client) {
    gone_.insert(session);
    members_.erase(client);
    federation_.coordinator().Post(ClientsLeft{session, "killed"});
  }
  Federation& federation() { return federation_; }
  const std::vector<Status>& refusals() const { return refusals_; }

  Member& Of(const std::string& client) {
    std::unique_ptr<Member>& member = members_[client];
    if (!member) {
      member = std::make_unique<Member>(run_, federation_.coordinator().run_id(), JoinPath(clients_folder_, client));
    }
    return *member;
  }

 private:
  const RunSpec run_;
  const std::string clients_folder_;
  Federation federation_;
  std::map<std::string, std::unique_ptr<Member>> members_;
  std::set<SessionId> gone_;
  std::vector<Status> refusals_;
};

/// The parameters after that round.
inline std::vector<float> ParamsOf(const std::string& state, std::uint32_t round, const RunSpec& run) {
  const auto checkpoint = ReadCheckpoint(JoinPath(state, Store::ParamsFile(round)), *PlanLayout(run.plan));
  FEDPEFT_CHECK(checkpoint.ok());
  return {checkpoint->params.values().begin(), checkpoint->params.values().end()};
}

}  // namespace fedpeft::server::testing
