// A whole execution of secure aggregation in one process: clients, coordinator, and a network between them that a test
// makes as bad as it likes. No real time, and all randomness is the test's.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "peft/core/check.h"
#include "peft/core/random.h"
#include "privacy/secagg/client_session.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/server_session.h"
#include "tests/privacy/random.h"

namespace fedpeft::testing {

using Elements = std::vector<std::uint32_t>;

/// What a client does last before it is lost.
enum class Last { kNothing, kAdvertise, kShare, kUpload, kSign, kUnmask };

inline privacy::SessionConfig SmallConfig(std::uint64_t elements, int bits, std::uint32_t most_clients) {
  privacy::SessionConfig config;
  config.run_id = "run";
  config.round = 1;
  config.attempt = 1;
  config.nonce.fill(7);
  config.model.fill(8);
  config.payload.fill(9);
  config.elements = elements;
  config.budget = {bits, most_clients, 1};
  config.min_clients = privacy::kFewestClients;
  config.max_corrupt = 0.1;
  config.max_drop_out = 0.3;
  return config;
}

class SecureFederation {
 public:
  struct Client {
    std::string id;
    privacy::ClientSession session;
    Elements input;
    Last last = Last::kUnmask;
    /// Whether it goes on; false once it is lost or has given up.
    bool alive = true;
    std::optional<Status> gave_up = {};
  };
  /// A message on its way.
  struct Packet {
    std::size_t client = 0;
    bool to_client = false;
    Bytes bytes;
    /// Of the masked vector instead.
    bool upload = false;
    Elements vector;
  };

  SecureFederation(privacy::SessionConfig config, std::uint32_t clients, std::uint64_t seed,
                   privacy::ClientPolicy policy = {})
      : config_(config), keys_(seed), draws_(seed, "network") {
    privacy::ServerSession::Setup setup;
    setup.config = config;
    for (std::uint32_t i = 0; i < clients; ++i) {
      privacy::ClientSession::Setup client;
      client.client_id = "client-" + std::to_string(i);
      client.policy = policy;
      client.random = &keys_;
      setup.clients.push_back(client.client_id);
      Elements input(config.elements);
      for (std::uint32_t& element : input) element = draws_.NextU32();
      clients_.push_back({client.client_id, privacy::ClientSession(std::move(client)), std::move(input)});
    }
    server_.emplace(std::move(setup));
    sum_.resize(config.elements);
  }

  Client& client(std::size_t i) { return clients_[i]; }
  std::size_t size() const { return clients_.size(); }
  privacy::ServerSession& server() { return *server_; }
  /// What happens to a packet: may change it; the number of times it arrives.
  std::function<int(Packet&)> network = [](Packet&) { return 1; };
  /// A packet that arrives right after a stage's deadline.
  std::function<std::optional<Packet>()> after_deadline = [] { return std::optional<Packet>(); };
  /// Packets arrive in random order.
  bool shuffled = false;

  /// Until nothing is on its way any more and no time is left to pass.
  void Run() {
    Handle(privacy::SecureTick{});
    while (!over()) {
      if (packets_.empty()) {
        const auto wakeup = server_->Wakeup();
        FEDPEFT_CHECK(wakeup.has_value());
        now_ = std::max(now_, *wakeup);
        Handle(privacy::SecureTick{});
        if (const auto late = after_deadline()) Deliver(*late);
        continue;
      }
      const std::size_t at = shuffled ? draws_.NextBelow(packets_.size()) : 0;
      Packet packet = std::move(packets_[at]);
      packets_.erase(packets_.begin() + static_cast<std::ptrdiff_t>(at));
      Deliver(packet);
    }
  }
  bool over() const { return finished_.has_value() || aborted_.has_value(); }

  const std::optional<std::string>& aborted() const { return aborted_; }
  const std::optional<privacy::SecureFinished>& finished() const { return finished_; }
  const std::vector<privacy::SecureDrop>& dropped() const { return dropped_; }
  const std::vector<privacy::SecureBlame>& blamed() const { return blamed_; }
  const std::vector<privacy::SecureExpel>& expelled() const { return expelled_; }
  /// What the coordinator has at the end, modulo 2^bits.
  Elements Unmasked(privacy::MaskKernel kernel = privacy::FastestMaskKernel()) const {
    Elements sum = sum_;
    privacy::AddMasks(finished_->masks, 0, sum, kernel);
    return Reduced(std::move(sum));
  }
  /// What it should have: the sum of the inputs of those it names.
  Elements Expected() const {
    Elements sum(config_.elements);
    for (const Client& client : clients_) {
      if (std::ranges::count(finished_->clients, client.id) == 0) continue;
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += client.input[i];
    }
    return Reduced(std::move(sum));
  }

 private:
  Elements Reduced(Elements elements) const {
    for (std::uint32_t& element : elements) element &= privacy::RingMask(config_.budget.bits);
    return elements;
  }

  void Send(Packet packet) {
    const int times = network(packet);
    for (int i = 0; i < times; ++i) packets_.push_back(packet);
  }

  void Deliver(const Packet& packet) {
    Client& client = clients_[packet.client];
    if (packet.to_client) return AtClient(packet.client, packet.bytes);
    if (!packet.upload) return Handle(privacy::SecureAnswered{client.id, packet.bytes});
    if (!server_->WantsUpload(client.id)) return;
    for (std::size_t i = 0; i < sum_.size(); ++i) sum_[i] += packet.vector[i];
    Handle(privacy::SecureUploaded{client.id});
  }

  void AtClient(std::size_t i, const Bytes& step) {
    Client& client = clients_[i];
    if (!client.alive) return;
    const bool masked = client.session.masking();
    const Result<std::optional<Bytes>> answer = client.session.Handle(step);
    if (!answer.ok()) {
      client.gave_up = answer.status();
      return Lose(i);
    }
    steps_[i].insert(Sha256Of(step));
    if (steps_[i].size() > static_cast<std::size_t>(client.last)) return Lose(i);
    if (answer->has_value()) Send({i, false, **answer, false, {}});
    if (!masked && client.session.masking()) {
      Elements vector = client.input;
      client.session.AddMasksTo(0, vector);
      client.session.Masked();
      for (std::uint32_t& element : vector) element &= privacy::RingMask(config_.budget.bits);
      Send({i, false, {}, true, std::move(vector)});
    }
  }

  void Lose(std::size_t i) {
    clients_[i].alive = false;
    if (draws_.NextBelow(2) == 0)
      Handle(privacy::SecureDeparted{{clients_[i].id}});  // the rest is found out by the clock
  }

  void Handle(const privacy::SecureEvent& event) {
    if (over()) return;
    for (privacy::SecureAction& action : server_->Handle(now_, event)) {
      if (auto* ask = std::get_if<privacy::SecureAsk>(&action)) {
        Send({IndexOf(ask->client), true, ask->step.Joined(), false, {}});
      } else if (auto* drop = std::get_if<privacy::SecureDrop>(&action)) {
        dropped_.push_back(*drop);
      } else if (auto* blame = std::get_if<privacy::SecureBlame>(&action)) {
        blamed_.push_back(*blame);
      } else if (auto* expel = std::get_if<privacy::SecureExpel>(&action)) {
        expelled_.push_back(*expel);
      } else if (auto* finished = std::get_if<privacy::SecureFinished>(&action)) {
        finished_ = std::move(*finished);
      } else {
        aborted_ = std::get<privacy::SecureAborted>(action).reason;
      }
    }
  }

  std::size_t IndexOf(const std::string& id) const {
    return static_cast<std::size_t>(std::ranges::find(clients_, id, &Client::id) - clients_.begin());
  }

  privacy::SessionConfig config_;
  SeededRandom keys_;
  RandomStream draws_;
  std::vector<Client> clients_;
  std::optional<privacy::ServerSession> server_;
  /// Different ones that a client got.
  std::map<std::size_t, std::set<Digest>> steps_;
  std::deque<Packet> packets_;
  Elements sum_;
  Instant now_{};
  std::optional<std::string> aborted_;
  std::optional<privacy::SecureFinished> finished_;
  std::vector<privacy::SecureDrop> dropped_;
  std::vector<privacy::SecureBlame> blamed_;
  std::vector<privacy::SecureExpel> expelled_;
};

}  // namespace fedpeft::testing
