// A federation of real processes on loopback: a folder with a tiny base, data and a run, the coordinator that serves it
// and the clients that join it. Small verbs; what they start ends with the object.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/integration/process.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::testing {

using Arguments = std::vector<std::string>;

/// What a test says of its run, in YAML's spelling.
struct Settings {
  std::uint32_t rounds = 3;
  std::uint32_t clients = 2;
  double deadline_s = 60;
  std::string peft = "{method: lora, lora: {rank: 4, alpha: 8, target_modules: [query, value]}}";
  std::string views = "[]";
  std::string train = "{optimizer: adamw, learning_rate: 0.01, batch_size: 8, epochs: 1}";
  std::string evaluation = "{every: 0}";
  std::string limits = "{client_timeout_s: 15}";
  std::string secure = "{mode: none}";
  std::string privacy = "{mechanism: none}";
  std::string reducer = "{}";
  /// Clients that are expected in a round; 0: all.
  std::uint32_t cohort = 0;
  /// Of clients.
  std::string log_level = "info";
};

class Federation {
 public:
  explicit Federation(const Settings& settings);

  std::string File(const std::string& name) const { return folder_.File(name); }
  const std::string& base() const { return base_; }
  const std::string& run() const { return run_; }
  const std::string& state() const { return state_; }
  /// `localhost:PORT`. Pre: served.
  std::string address() const { return "localhost:" + std::to_string(port_); }

  /// A new CSV of examples [first, first + count).
  std::string Data(std::uint64_t first, std::uint64_t count);

  /// Starts the coordinator and returns once it listens; from the second time on, on the same port and state.
  Process& Serve(const Arguments& more = {});
  Process& server() { return *server_; }
  /// Starts a client of this name with one thread, so that its results can be repeated.
  std::unique_ptr<Process> Join(const std::string& name, const std::string& data, const Arguments& more = {});
  /// Clients started from now on connect to this port instead: that of somebody between.
  void JoinThrough(int port) { join_port_ = port; }
  /// Waits until all end with 0.
  void Finish(const std::vector<std::unique_ptr<Process>>& clients);

  /// Runs a verb of a program to its end; its output.
  std::string Server(const Arguments& arguments);
  std::string Client(const Arguments& arguments);

  /// The lines of rounds.jsonl: whole lines only, so also while one is being written.
  std::vector<nlohmann::json> Rounds() const;
  std::uint32_t LastRound() const;
  /// `params_sha256` of every round so far, from round 0 on.
  std::vector<std::string> Hashes() const;
  bool WaitForRound(std::uint32_t round) const;

 private:
  std::string NewLog(const std::string& what);

  const std::string log_level_;
  TempFolder folder_;
  std::string base_ = folder_.File("base");
  std::string run_ = folder_.File("run.yaml");
  std::string state_ = folder_.File("state");
  int port_ = 0;
  int join_port_ = 0;
  int logs_ = 0;
  std::unique_ptr<Process> server_;
};

}  // namespace fedpeft::testing
