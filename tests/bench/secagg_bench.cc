// What an execution of secure aggregation costs, all of it in this process: a client's side, and the coordinator's,
// with one client in ten lost after it has shared its secrets.
//
// Usage: secagg_bench [CLIENTS [VALUES]]   (default 1000 100000)
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "peft/core/check.h"
#include "privacy/secagg/client_session.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/secure_vector.h"
#include "privacy/secagg/server_session.h"

namespace fedpeft::privacy {
namespace {

constexpr int kBits = 24;

double Now() {
  return ToSeconds(Clock::System().Now().time_since_epoch());
}
double CpuNow() {
  std::timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The most memory that this process has had since ForgetPeak, in MB; 0 where the system does not say.
double PeakMegabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024 / 1e6;
  }
  return 0;
}
void ForgetPeak() {
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

/// Where the processor's time goes.
struct Account {
  double cpu = 0;
  template <typename Work>
  auto operator()(Work work) {
    const double began = CpuNow();
    auto result = work();
    cpu += CpuNow() - began;
    return result;
  }
};

struct Client {
  ClientSession session;
  std::vector<float> values;
  bool lost = false;
};

class Execution {
 public:
  Execution(std::uint32_t clients, std::uint64_t values) : vector_(LayoutOf(clients, values)), sum_(vector_) {
    ServerSession::Setup setup;
    SessionConfig& config = setup.config;
    config.elements = vector_.elements();
    config.budget = vector_.spec().budget;
    config.min_clients = clients / 2;
    config.max_corrupt = 0.1;
    config.max_drop_out = 0.2;
    for (std::uint32_t i = 0; i < clients; ++i) {
      ClientSession::Setup client;
      client.client_id = "client-" + std::to_string(i);
      setup.clients.push_back(client.client_id);
      clients_.emplace(setup.clients.back(),
                       Client{ClientSession(std::move(client)), std::vector<float>(values, 0.01f), i % 10 == 3});
    }
    server_.emplace(std::move(setup));
  }

  void Run() {
    const double began = Now();
    std::vector<SecureAction> actions = at_server_([&] { return server_->Handle(now_, SecureTick{}); });
    while (!finished_) {
      std::vector<SecureAction> next;
      for (SecureAction& action : actions) Carry(action, next);
      if (next.empty() && !finished_) {  // those that are lost are found out by the clock
        now_ = *server_->Wakeup();
        next = at_server_([&] { return server_->Handle(now_, SecureTick{}); });
      }
      actions = std::move(next);
    }
    const double clients = static_cast<double>(clients_.size());
    double whole = Now() - began;
    clients_.clear();  // what is left is the coordinator's
    ForgetPeak();
    const double unmasking = CpuNow(), unmasking_began = Now();
    sum_.Unmask(finished_->masks, std::thread::hardware_concurrency());
    const Result<SecureMean> mean = sum_.Finish(finished_->clients.size());
    FEDPEFT_CHECK(mean.ok());
    const double unmasked = CpuNow() - unmasking;
    whole += Now() - unmasking_began;
    const GraphParameters parameters = server_->parameters();
    std::printf("%.0f clients, %llu values of %d bits, %u neighbours, threshold %u, masks by %s\n", clients,
                static_cast<unsigned long long>(vector_.spec().values), kBits, parameters.degree, parameters.threshold,
                std::string(NameOf(FastestMaskKernel())).c_str());
    std::printf("  whole execution        %8.2f s\n", whole);
    std::printf("  a client: keys, shares %8.2f ms of one core\n", 1e3 * at_clients_.cpu / clients);
    std::printf("  a client: vector, mask %8.2f ms of one core\n",
                1e3 * masking_.cpu / static_cast<double>(finished_->clients.size()));
    std::printf("  coordinator: messages  %8.2f core-seconds (shares put together in it)\n", at_server_.cpu);
    std::printf("  coordinator: uploads   %8.2f core-seconds\n", adding_.cpu);
    std::printf("  coordinator: unmasking %8.2f core-seconds, %zu masks\n", unmasked, finished_->masks.size());
    std::printf("  coordinator: unmasking %8.2f MB at most\n", PeakMegabytes());
    std::printf("  a client sends         %8.2f MB of vector, %.1f KB of messages\n",
                static_cast<double>(vector_.packed_bytes()) / 1e6, message_bytes_ / clients / 1e3);
  }

 private:
  static SecureVectorLayout LayoutOf(std::uint32_t clients, std::uint64_t values) {
    SecureVectorSpec spec;
    spec.values = values;
    spec.counters = 6;
    spec.budget = {kBits, clients, 1};
    spec.exponent = 16;
    return *SecureVectorLayout::Make(spec);
  }

  void Carry(SecureAction& action, std::vector<SecureAction>& next) {
    if (auto* finished = std::get_if<SecureFinished>(&action)) finished_ = std::move(*finished);
    FEDPEFT_CHECK(!std::holds_alternative<SecureAborted>(action));
    auto* const ask = std::get_if<SecureAsk>(&action);
    if (ask == nullptr) return;
    Client& client = clients_.at(ask->client);
    const Result<std::optional<Bytes>> answer = at_clients_([&] { return client.session.Handle(ask->step.Joined()); });
    FEDPEFT_CHECK(answer.ok());
    SecureEvent event = SecureTick{};
    if (answer->has_value()) {
      message_bytes_ += static_cast<double>((*answer)->size());
      event = SecureAnswered{ask->client, **answer};
    } else if (client.lost) {
      return;
    } else {
      Upload(client);
      event = SecureUploaded{ask->client};
    }
    for (SecureAction& more : at_server_([&] { return server_->Handle(now_, event); })) next.push_back(std::move(more));
  }

  void Upload(Client& client) {
    const Bytes packed = masking_([&] {
      const std::int64_t counters[] = {1, 0, 0, 0, 0, 0};
      std::vector<std::uint32_t> elements = *vector_.Encode(client.values, counters, RandomSource::System());
      client.session.AddMasksTo(0, elements);
      client.session.Masked();
      Bytes bytes(vector_.packed_bytes());
      PackRing(elements, kBits, bytes);
      return bytes;
    });
    FEDPEFT_CHECK(adding_([&] { return sum_.AddPiece(0, packed); }).ok());
  }

  SecureVectorLayout vector_;
  MaskedSum sum_;
  std::map<std::string, Client> clients_;
  std::optional<ServerSession> server_;
  std::optional<SecureFinished> finished_;
  Instant now_{};
  Account at_clients_, masking_, at_server_, adding_;
  double message_bytes_ = 0;
};

}  // namespace
}  // namespace fedpeft::privacy

int main(int argc, char** argv) {
  const unsigned long clients = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1000;
  const unsigned long values = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 100'000;
  if (clients < 10 || clients > 10'000 || values < 1) {
    std::fprintf(stderr, "usage: secagg_bench [CLIENTS [VALUES]], 10 to 10000 clients\n");
    return 2;
  }
  fedpeft::privacy::Execution(static_cast<std::uint32_t>(clients), values).Run();
}
