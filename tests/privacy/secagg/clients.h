// The clients of an execution, given each step by hand: what a coordinator does that does not keep to the protocol.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "peft/core/check.h"
#include "privacy/secagg/client_session.h"
#include "privacy/secagg/server_session.h"
#include "proto/secure_aggregation.pb.h"
#include "tests/privacy/random.h"
#include "tests/privacy/secagg/identities.h"

namespace fedpeft::testing {

inline v1::SecureStep StepOf(const Bytes& bytes) {
  v1::SecureStep step;
  FEDPEFT_CHECK(step.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return step;
}
inline v1::SecureAnswer AnswerOf(const Bytes& bytes) {
  v1::SecureAnswer answer;
  FEDPEFT_CHECK(answer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return answer;
}
template <typename Message>
Bytes BytesOf(const Message& message) {
  const std::string text = message.SerializeAsString();
  return {text.begin(), text.end()};
}

/// Clients by hand: each step is given to them as a test likes. A twin is the same client once more, with the same
/// secrets: what a corrupt one can do with them, it can do twice.
class Clients {
 public:
  Clients(privacy::SessionConfig config, std::uint32_t clients, bool identities = false, std::uint64_t seed = 1)
      : config_(std::move(config)), clients_(clients) {
    for (std::size_t i = 0; i < clients; ++i) identities_.push_back(IdentityOf(i));
    privacy::ServerSession::Setup setup;
    setup.config = config_;
    for (std::size_t i = 0; i < clients; ++i) {
      setup.clients.push_back(NameOf(i));
      for (const bool twin : {false, true}) {
        auto& random = randoms_.emplace_back(std::make_unique<SeededRandom>(1000 * seed + i));
        privacy::ClientSession::Setup client;
        client.client_id = NameOf(i);
        client.policy.semi_malicious = false;
        client.random = random.get();
        if (identities) {
          client.identity = {&identities_[i], identities_[i].public_key()};
          client.check = Enrolled;
        }
        sessions_[{i, twin}] = std::make_unique<privacy::ClientSession>(std::move(client));
      }
    }
    server_.emplace(std::move(setup));
  }
  /// Plays honestly until the coordinator would ask that; gives those steps, by client.
  std::map<std::size_t, Bytes> UntilStep(v1::SecureStep::StepCase until) {
    std::map<std::size_t, Bytes> held;
    std::vector<privacy::SecureAction> actions = server_->Handle(Instant{}, privacy::SecureTick{});
    while (!actions.empty()) {
      std::vector<privacy::SecureAction> next;
      for (privacy::SecureAction& action : actions) {
        auto* const ask = std::get_if<privacy::SecureAsk>(&action);
        if (ask == nullptr) continue;
        const std::size_t i = IndexOf(ask->client);
        const auto kind = StepOf(ask->step.Joined()).step_case();
        if (kind == until) {
          held.emplace(i, ask->step.Joined());
          continue;
        }
        if (kind == v1::SecureStep::kCohort) cohorts_[i] = StepOf(ask->step.Joined()).cohort();
        const auto answer = Give(i, ask->step.Joined());
        (void)Give(i, ask->step.Joined(), /*twin=*/true);
        FEDPEFT_CHECK(answer.ok());
        if (*answer && kind == v1::SecureStep::kCohort) shares_[i] = AnswerOf(**answer).shares();
        const privacy::SecureEvent event = *answer
                                               ? privacy::SecureEvent(privacy::SecureAnswered{ask->client, **answer})
                                               : privacy::SecureEvent(privacy::SecureUploaded{ask->client});
        for (privacy::SecureAction& more : server_->Handle(Instant{}, event)) next.push_back(std::move(more));
      }
      actions = std::move(next);
    }
    return held;
  }

  Result<std::optional<Bytes>> Give(std::size_t i, const Bytes& step, bool twin = false) {
    privacy::ClientSession& session = *sessions_.at({i, twin});
    Result<std::optional<Bytes>> answer = session.Handle(step);
    if (session.masking()) session.Masked();
    return answer;
  }
  Status Refusal(std::size_t i, const v1::SecureStep& step) { return Give(i, BytesOf(step)).status(); }
  privacy::ServerSession& server() { return *server_; }
  const v1::Cohort& cohort(std::size_t i) const { return cohorts_.at(i); }
  const v1::SealedShares& shares(std::size_t i) const { return shares_.at(i); }
  const privacy::SessionId& id(std::size_t i) const { return sessions_.at({i, false})->id(); }
  std::uint32_t size() const { return clients_; }

 private:
  privacy::SessionConfig config_;
  std::uint32_t clients_;
  std::vector<privacy::SigningKey> identities_;
  std::vector<std::unique_ptr<SeededRandom>> randoms_;
  std::map<std::pair<std::size_t, bool>, std::unique_ptr<privacy::ClientSession>> sessions_;
  std::optional<privacy::ServerSession> server_;
  std::map<std::size_t, v1::Cohort> cohorts_;
  std::map<std::size_t, v1::SealedShares> shares_;
};

}  // namespace fedpeft::testing
