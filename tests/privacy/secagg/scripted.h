// One honest execution of five clients with identities, recorded: what a fuzz program puts a message into, at any
// stage.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "peft/core/check.h"
#include "privacy/secagg/client_session.h"
#include "privacy/secagg/server_session.h"
#include "proto/secure_aggregation.pb.h"
#include "tests/privacy/random.h"
#include "tests/privacy/secagg/identities.h"
#include "tests/privacy/secagg/sessions.h"

namespace fedpeft::testing {

class ScriptedExecution {
 public:
  static constexpr std::size_t kClients = 5;
  /// Config, cohort, shares, survivors, unmask.
  static constexpr std::size_t kSteps = 5;
  /// The answer to `shares` is an upload.
  static constexpr std::size_t kUploadStep = 2;

  ScriptedExecution() {
    for (std::size_t i = 0; i < kClients; ++i) identities_.push_back(IdentityOf(i));
    for (std::size_t i = 0; i < kClients; ++i) players_.push_back(NewPlayer(i));
    server_ = NewServer();
    Play(server_->Handle(Instant{}, privacy::SecureTick{}));
    FEDPEFT_CHECK(server_->stage() == privacy::ServerSession::Stage::kFinished);
  }

  struct Player {
    std::unique_ptr<SeededRandom> random;
    std::unique_ptr<privacy::ClientSession> session;
  };
  /// Client i before its first step: with the same secrets each time.
  Player NewPlayer(std::size_t i) const {
    Player player{std::make_unique<SeededRandom>(i), nullptr};
    privacy::ClientSession::Setup setup;
    setup.client_id = NameOf(i);
    setup.identity = {&identities_[i], identities_[i].public_key()};
    setup.check = Enrolled;
    setup.random = player.random.get();
    player.session = std::make_unique<privacy::ClientSession>(std::move(setup));
    return player;
  }
  std::unique_ptr<privacy::ServerSession> NewServer() const {
    privacy::ServerSession::Setup setup;
    setup.config = SmallConfig(8, 24, kClients);
    setup.config.max_drop_out = 0.2;
    for (std::size_t i = 0; i < kClients; ++i) setup.clients.push_back(NameOf(i));
    setup.check = Enrolled;
    return std::make_unique<privacy::ServerSession>(std::move(setup));
  }

  /// What client 0 was sent at that step, and what client i answered; empty for the upload.
  const Bytes& step(std::size_t at) const { return steps_.at(at); }
  const Bytes& answer(std::size_t client, std::size_t at) const { return answers_.at({client, at}); }

 private:
  void Play(std::vector<privacy::SecureAction> actions) {
    for (std::size_t at = 0; at < kSteps && !actions.empty(); ++at) {
      std::vector<privacy::SecureAction> next;
      for (privacy::SecureAction& action : actions) {
        auto& ask = std::get<privacy::SecureAsk>(action);
        const std::size_t i = IndexOf(ask.client);
        const Result<std::optional<Bytes>> answer = players_[i].session->Handle(ask.step.Joined());
        FEDPEFT_CHECK(answer.ok());
        if (players_[i].session->masking()) players_[i].session->Masked();
        if (i == 0) steps_[at] = ask.step.Joined();
        answers_[{i, at}] = answer->value_or(Bytes());
        const privacy::SecureEvent event = *answer ? privacy::SecureEvent(privacy::SecureAnswered{ask.client, **answer})
                                                   : privacy::SecureEvent(privacy::SecureUploaded{ask.client});
        for (privacy::SecureAction& more : server_->Handle(Instant{}, event)) next.push_back(std::move(more));
      }
      actions = std::move(next);
    }
  }

  std::vector<privacy::SigningKey> identities_;
  std::vector<Player> players_;
  std::unique_ptr<privacy::ServerSession> server_;
  std::map<std::size_t, Bytes> steps_;
  std::map<std::pair<std::size_t, std::size_t>, Bytes> answers_;
};

}  // namespace fedpeft::testing
