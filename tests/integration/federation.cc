#include "tests/integration/federation.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "peft/core/check.h"
#include "peft/core/files.h"
#include "tests/support/tiny_base.h"
#include "tests/support/tiny_data.h"

namespace fedpeft::testing {

namespace {

Arguments Joined(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

/// A block in braces, and that the base is in the format that has the same numbers whatever the processor is fast in.
std::string OnAnyProcessor(const std::string& train) {
  return "{base_dtype: float32, " + train.substr(1);
}

std::string YamlOf(const Settings& settings) {
  std::ostringstream yaml;
  yaml << "peft: " << settings.peft << "\n"
       << "train: " << OnAnyProcessor(settings.train) << "\n"
       << "schedule:\n"
       << "  - rounds: " << settings.rounds << "\n"
       << "    participation: {cohort: " << settings.cohort << ", min_clients: " << settings.clients
       << ", deadline_s: " << settings.deadline_s << "}\n"
       << "    reducer: " << settings.reducer << "\n"
       << "    views: " << settings.views << "\n"
       << "evaluation: " << settings.evaluation << "\n"
       << "limits: " << settings.limits << "\n"
       << "privacy: " << settings.privacy << "\n"
       << "secure_aggregation: " << settings.secure << "\n";
  return yaml.str();
}

}  // namespace

Federation::Federation(const Settings& settings) : log_level_(settings.log_level) {
  FEDPEFT_CHECK(WriteTinyBase(base_).ok());
  const std::string blocks = Client({"inspect", "--base", base_, "--data", Data(0, 3)});
  const std::string yaml = "name: test\n" + blocks + YamlOf(settings);
  FEDPEFT_CHECK(WriteFileAtomically(run_, AsBytes(yaml)).ok());
}

std::string Federation::NewLog(const std::string& what) {
  return File(std::to_string(++logs_) + "-" + what);
}

std::string Federation::Data(std::uint64_t first, std::uint64_t count) {
  std::string path = File("data-" + std::to_string(first) + "-" + std::to_string(count) + ".csv");
  FEDPEFT_CHECK(WriteTinyCsv(path, first, count).ok());
  return path;
}

Process& Federation::Serve(const Arguments& more) {
  const Arguments serve = {
      FEDPEFT_SERVER, "serve", run_, "--state", state_, "--listen", "127.0.0.1:" + std::to_string(port_)};
  server_ = std::make_unique<Process>(Joined(serve, more), NewLog("server"));
  static const std::string kMark = " on port ";
  std::string output;
  const bool listens = Eventually([&] {
    output = server_->output();
    return output.find('\n') != std::string::npos || server_->EndsWithin(std::chrono::milliseconds(0));
  });
  const std::size_t mark = output.find(kMark);
  if (!listens || mark == std::string::npos) std::fprintf(stderr, "%s%s", output.c_str(), server_->errors().c_str());
  FEDPEFT_CHECK(listens && mark != std::string::npos);
  port_ = std::atoi(output.c_str() + mark + kMark.size());
  return *server_;
}

std::unique_ptr<Process> Federation::Join(const std::string& name, const std::string& data, const Arguments& more) {
  const std::string server = join_port_ > 0 ? "localhost:" + std::to_string(join_port_) : address();
  Arguments join = {FEDPEFT_CLIENT, "--log-level", log_level_, "join", "--server",  server,
                    "--base",       base_,         "--data",   data,   "--threads", "1"};
  if (!name.empty()) join = Joined(std::move(join), {"--name", name});
  return std::make_unique<Process>(Joined(std::move(join), more), NewLog("client-" + name));
}

void Federation::Finish(const std::vector<std::unique_ptr<Process>>& clients) {
  EXPECT_EQ(server_->Wait(), 0) << server_->output() << server_->errors();
  for (const auto& client : clients) EXPECT_EQ(client->Wait(), 0) << client->errors();
}

std::string Federation::Server(const Arguments& arguments) {
  return RunToEnd(Joined({FEDPEFT_SERVER}, arguments), NewLog("server-" + arguments.front()));
}

std::string Federation::Client(const Arguments& arguments) {
  return RunToEnd(Joined({FEDPEFT_CLIENT}, arguments), NewLog("client-" + arguments.front()));
}

std::vector<nlohmann::json> Federation::Rounds() const {
  const std::string text = Slurp(state_ + "/rounds.jsonl");
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));
  std::vector<nlohmann::json> rounds;
  for (std::string line; std::getline(lines, line);) rounds.push_back(nlohmann::json::parse(line));
  return rounds;
}

std::uint32_t Federation::LastRound() const {
  const auto rounds = Rounds();
  return rounds.empty() ? 0 : rounds.back().at("round").get<std::uint32_t>();
}

std::vector<std::string> Federation::Hashes() const {
  std::vector<std::string> hashes;
  for (const auto& round : Rounds()) hashes.push_back(round.at("params_sha256"));
  return hashes;
}

bool Federation::WaitForRound(std::uint32_t round) const {
  return Eventually([&] { return LastRound() >= round; });
}

}  // namespace fedpeft::testing
