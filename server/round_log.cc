#include "server/round_log.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "peft/core/clock.h"
#include "peft/core/files.h"
#include "peft/metrics/metrics.h"

namespace fedpeft::server {
namespace {

std::string LogPath(const std::string& folder) {
  return JoinPath(folder, "rounds.jsonl");
}

}  // namespace

std::string RoundJson(const RoundRecord& record, std::uint32_t total_rounds) {
  nlohmann::ordered_json line;
  line["round"] = record.round;
  line["total_rounds"] = total_rounds;
  line["attempt"] = record.attempt;
  line["cohort"] = record.cohort;
  line["participants"] = record.participants;
  line["examples"] = record.examples;
  line["train_loss"] = record.train_loss ? nlohmann::ordered_json(*record.train_loss) : nullptr;
  const std::optional<EvaluationRecord>& evaluation = record.evaluation;
  line["eval_loss"] = nullptr;
  line["eval_examples"] = nullptr;
  if (evaluation) {
    for (const auto& [metric, value] : MetricsOf(evaluation->counts.totals)) {
      line["eval_" + std::string(MetricName(metric))] = value;
    }
    line["eval_examples"] = evaluation->counts.totals.examples();
  }
  line["evaluators"] = evaluation ? evaluation->evaluators : 0;
  line["best"] = evaluation && evaluation->best;
  line["bytes_up"] = record.bytes_up;
  line["bytes_down"] = record.bytes_down;
  line["seconds"] = record.seconds;
  line["threat"] = record.threat;
  if (record.secure) {
    line["saturated"] = record.secure->saturated;
    line["next_range"] = record.secure->next_range;
  }
  if (record.privacy) {
    line["clip"] = record.privacy->clip;
    line["noise_multiplier"] = record.privacy->noise_multiplier;
  }
  line["committed"] = FormatUtc(record.committed_ms);
  line["params_sha256"] = Hex(record.params_sha256);
  return line.dump();
}

Status RewriteRoundLog(const std::string& folder, const std::vector<RoundRecord>& rounds, std::uint32_t total_rounds) {
  std::string text;
  for (const RoundRecord& round : rounds) {
    if (round.complete) text += RoundJson(round, total_rounds) + "\n";
  }
  return WriteFileAtomically(LogPath(folder), AsBytes(text));
}

Status AppendToRoundLog(const std::string& folder, const RoundRecord& record, std::uint32_t total_rounds) {
  const std::string path = LogPath(folder);
  const std::string line = RoundJson(record, total_rounds) + "\n";
  const auto close = [](std::FILE* file) { return std::fclose(file); };
  std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "ae"), close);
  if (!file) return FromErrno(path + ": open", errno);
  const bool written = std::fwrite(line.data(), 1, line.size(), file.get()) == line.size();
  if (!written || std::fflush(file.get()) != 0) return FromErrno(path + ": write", errno);
  return OkStatus();
}

}  // namespace fedpeft::server
