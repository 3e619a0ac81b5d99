#include "server/report.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "configs/adapter.h"
#include "configs/adapters_library.h"
#include "configs/gguf_adapter.h"
#include "peft/core/clock.h"
#include "peft/io/adapter_folder.h"
#include "peft/metrics/metrics.h"
#include "peft/plan/plan.h"
#include "proto/run_config.pb.h"
#include "server/checkpoint.h"
#include "server/round_log.h"

namespace fedpeft::server {
namespace {

using Json = nlohmann::ordered_json;

/// printf into a string, for table lines; longer lines are cut.
template <typename... Args>
std::string Format(const char* format, Args... args) {
  std::vector<char> line(512);
  std::snprintf(line.data(), line.size(), format, args...);
  return line.data();
}

std::string Megabytes(std::uint64_t bytes) {
  return Format("%.2f", static_cast<double>(bytes) / 1e6);
}
std::string OrDash(const std::optional<double>& value, const char* format) {
  return value ? Format(format, *value) : "-";
}

/// Names the metric that this run's evaluations are known by.
std::string TableHead(const std::vector<RoundRecord>& rounds) {
  std::string metric = "metric";
  for (const RoundRecord& round : rounds) {
    if (round.evaluation) metric = MetricName(MainMetric(round.evaluation->counts.totals));
  }
  return Format("%6s %13s %10s %9s %10s %9s %9s %8s\n", "round", "participants", "train loss", "eval loss",
                metric.c_str(), "up (MB)", "down (MB)", "seconds");
}

std::string TableLine(const RoundRecord& record) {
  std::optional<double> loss, main;
  if (record.evaluation) {
    const Totals& totals = record.evaluation->counts.totals;
    loss = MetricOf(Metric::kLoss, totals);
    main = MetricOf(MainMetric(totals), totals);
  }
  const std::string participants = std::to_string(record.participants) + "/" + std::to_string(record.cohort);
  return Format("%6u %13s %10s %9s %10s %9s %9s %8.2f%s\n", record.round, participants.c_str(),
                OrDash(record.train_loss, "%.4f").c_str(), OrDash(loss, "%.4f").c_str(), OrDash(main, "%.4f").c_str(),
                Megabytes(record.bytes_up).c_str(), Megabytes(record.bytes_down).c_str(), record.seconds,
                record.evaluation && record.evaluation->best ? "  best so far" : "");
}

}  // namespace

Result<RunSpec> StoredRun(StateReader& state) {
  ASSIGN_OR_RETURN(const RunRecord record, state.Run());
  v1::RunConfig config;
  if (!config.ParseFromString(record.config)) {
    return DataLoss("run " + record.run_id + ": does not parse as it is stored (is the disk sound?)");
  }
  return TranslateRun(config);
}

Result<std::string> RoundsText(StateReader& state) {
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, state.Rounds());
  std::string text = TableHead(rounds);
  for (const RoundRecord& round : rounds) text += TableLine(round);
  return text;
}

Result<std::string> RoundsJson(StateReader& state) {
  ASSIGN_OR_RETURN(const RunRecord run, state.Run());
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, state.Rounds());
  std::string text = "[";
  for (const RoundRecord& round : rounds) text += (text.size() > 1 ? ",\n " : "") + RoundJson(round, run.total_rounds);
  return text + "]\n";
}

Result<std::string> ShowText(StateReader& state) {
  ASSIGN_OR_RETURN(const RunRecord run, state.Run());
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, state.Rounds());
  ASSIGN_OR_RETURN(const std::vector<ClientRecord> clients, state.Clients());
  ASSIGN_OR_RETURN(const std::vector<AttemptRecord> attempts, state.Attempts());
  std::string text = "run       " + run.name + " (" + run.run_id + ")\n";
  text += "status    " + std::string(RunStatusName(run.status)) + (run.reason.empty() ? "" : ": " + run.reason) + "\n";
  text += "started   " + FormatUtc(run.created_ms) + "\n";
  text += "rounds    " + std::to_string(rounds.empty() ? 0 : rounds.back().round) + " of " +
          std::to_string(run.total_rounds) + "\n";
  if (!rounds.empty()) {
    ASSIGN_OR_RETURN(const RoundRecord best, state.BestRound());
    text += "\n" + TableHead(rounds) + TableLine(rounds.back());
    if (best.round != rounds.back().round) text += TableLine(best);
  }
  for (const AttemptRecord& attempt : attempts) {
    if (attempt.status == "committed" || attempt.status == "open") continue;
    text += Format("\nround %u attempt %u %s: %s", attempt.round, attempt.attempt, attempt.status.c_str(),
                   attempt.reason.c_str());
  }
  text += Format("\n%-40s %-9s %9s %9s %7s %s\n", "client", "role", "examples", "held out", "rounds", "last seen");
  for (const ClientRecord& client : clients) {
    text += Format("%-40s %-9s %9llu %9llu %7u %s\n", client.client.c_str(), client.evaluator ? "evaluator" : "trainer",
                   static_cast<unsigned long long>(client.examples), static_cast<unsigned long long>(client.held_out),
                   client.rounds, client.joined ? "joined" : FormatUtc(client.last_seen_ms).c_str());
  }
  return text;
}

Result<std::string> ShowJson(StateReader& state) {
  ASSIGN_OR_RETURN(const RunRecord run, state.Run());
  ASSIGN_OR_RETURN(const std::vector<RoundRecord> rounds, state.Rounds());
  ASSIGN_OR_RETURN(const std::vector<ClientRecord> clients, state.Clients());
  Json json;
  json["run_id"] = run.run_id;
  json["name"] = run.name;
  json["status"] = RunStatusName(run.status);
  json["reason"] = run.reason;
  json["started"] = FormatUtc(run.created_ms);
  json["round"] = rounds.empty() ? 0 : rounds.back().round;
  json["total_rounds"] = run.total_rounds;
  json["last"] = nullptr;
  json["best"] = nullptr;
  if (!rounds.empty()) {
    ASSIGN_OR_RETURN(const RoundRecord best, state.BestRound());
    json["last"] = Json::parse(RoundJson(rounds.back(), run.total_rounds));
    json["best"] = Json::parse(RoundJson(best, run.total_rounds));
  }
  json["clients"] = Json::array();
  for (const ClientRecord& client : clients) {
    json["clients"].push_back({{"client", client.client},
                               {"role", client.evaluator ? "evaluator" : "trainer"},
                               {"examples", client.examples},
                               {"held_out", client.held_out},
                               {"rounds", client.rounds},
                               {"joined", client.joined},
                               {"last_seen", FormatUtc(client.last_seen_ms)}});
  }
  return json.dump(2) + "\n";
}

Result<std::uint32_t> ExportRound(StateReader& state, const RunSpec& run, std::optional<std::uint32_t> round,
                                  const ExportTarget& target) {
  if (!round) {
    ASSIGN_OR_RETURN(const RoundRecord best, state.BestRound());
    round = best.round;
  }
  ASSIGN_OR_RETURN(const RunRecord record, state.Run());
  ASSIGN_OR_RETURN(const std::string path, state.ParamsPath(*round));
  ASSIGN_OR_RETURN(std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, ReadCheckpoint(path, layout));
  if (target.format == ExportTarget::Format::kGguf) {
    RETURN_IF_ERROR(ExportGgufAdapter(run, checkpoint.params, target.out));
    return *round;
  }
  const StringMap provenance = {{std::string(adapter_metadata::kRun), record.run_id},
                                {std::string(adapter_metadata::kRound), std::to_string(*round)}};
  if (target.format == ExportTarget::Format::kAdapters) {
    RETURN_IF_ERROR(ExportLibraryAdapter(run, checkpoint.params, target.out, provenance));
    return *round;
  }
  RETURN_IF_ERROR(ExportAdapter(run, checkpoint.params, target.out, target.base, provenance));
  return *round;
}

}  // namespace fedpeft::server
