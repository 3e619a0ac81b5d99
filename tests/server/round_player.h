// A RunMachine as a test drives it: its time, and the actions of the last event.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/round.h"
#include "tests/server/small_run.h"

namespace fedpeft::server::testing {

using Stage = RunMachine::Stage;
using Names = std::set<std::string>;

class Player {
 public:
  explicit Player(const RunSpec& run, ResumePoint resume = {},
                  privacy::RandomSource& random = privacy::RandomSource::System())
      : machine_(run, std::move(resume), random) {
    Send(Tick{});
  }

  void Send(const RoundEvent& event) { actions_ = machine_.Handle(now_, event); }
  /// Carries out what must be stored, as a disk that answers at once.
  void SendAndStore(const RoundEvent& event) {
    Send(event);
    std::vector<Action> all = actions_;
    while (machine_.stage() == Stage::kOpening || machine_.stage() == Stage::kCommitting) {
      if (machine_.stage() == Stage::kOpening) {
        Send(AttemptStored{});
      } else {
        Send(RoundStored{});
      }
      all.insert(all.end(), actions_.begin(), actions_.end());
    }
    actions_ = std::move(all);
  }
  void Join(const std::vector<std::string>& clients, bool evaluator = false) {
    ClientsArrived event;
    for (const std::string& id : clients) event.clients.push_back({id, evaluator, 1});
    SendAndStore(event);
  }
  void Update(const std::string& client) { SendAndStore(UpdateReady{client}); }
  void Leave(const std::string& client) { SendAndStore(ClientsDeparted{{client}}); }
  void Wait(double seconds) {
    now_ += Seconds(seconds);
    SendAndStore(Tick{});
  }
  template <typename T>
  std::vector<T> Got() const {
    std::vector<T> got;
    for (const Action& action : actions_) {
      if (const T* one = std::get_if<T>(&action)) got.push_back(*one);
    }
    return got;
  }
  std::set<std::string> Asked() const {
    std::set<std::string> asked;
    for (const AskTrain& ask : Got<AskTrain>()) asked.insert(ask.client);
    return asked;
  }
  TaskKey Key(const std::string& client) const { return {client, machine_.round(), machine_.attempt(), kTrainStep}; }
  RunMachine& machine() { return machine_; }
  Instant now() const { return now_; }

 private:
  RunMachine machine_;
  Instant now_{};
  std::vector<Action> actions_;
};

}  // namespace fedpeft::server::testing
