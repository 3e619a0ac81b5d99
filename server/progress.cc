#include "server/progress.h"

#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "peft/metrics/metrics.h"

namespace fedpeft::server {
namespace {

template <typename... Values>
std::string Format(const char* format, Values... values) {
  std::array<char, 128> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

std::string BytesText(std::uint64_t bytes) {
  return Format("%.1f MB", static_cast<double>(bytes) / 1e6);
}

/// `  accuracy 71.20 %`, `  perplexity 12.34`.
std::string MetricText(const Totals& totals) {
  const Metric metric = MainMetric(totals);
  const auto value = MetricOf(metric, totals);
  if (!value) return "";
  if (metric == Metric::kAccuracy) return Format("  accuracy %.2f %%", 100 * *value);
  return "  " + std::string(MetricName(metric)) + Format(" %.4f", *value);
}

std::string TimeText(double seconds) {
  if (seconds < 90) return Format("%.0f s", seconds);
  if (seconds < 90 * 60) return Format("%.0f min", seconds / 60);
  return Format("%.1f h", seconds / 3600);
}

}  // namespace

std::string RoundLine(const RoundRecord& record, std::uint32_t total_rounds, double seconds_a_round) {
  std::string line = "round " + std::to_string(record.round) + "/" + std::to_string(total_rounds);
  if (record.round > 0) line += "  " + std::to_string(record.participants) + " clients";
  if (record.train_loss) line += Format("  loss %.4f", *record.train_loss);
  if (record.evaluation) {
    line += MetricText(record.evaluation->counts.totals);
    if (record.evaluation->best && record.round > 0) line += " (best)";
  }
  if (record.round == 0) return line + "  start";
  line += "  up " + BytesText(record.bytes_up) + "  down " + BytesText(record.bytes_down);
  line += Format("  %.1f s", record.seconds);
  const std::uint32_t left = total_rounds - record.round;
  if (left == 0) return line + "  last round";
  return line + "  " + std::to_string(left) + " to go, about " + TimeText(seconds_a_round * left);
}

bool Progress::Open() {
  if (state_) return true;
  auto opened = StateReader::Open(folder_);
  if (!opened.ok()) return false;
  const auto run = opened->Run();
  if (!run.ok()) return false;
  total_rounds_ = run->total_rounds;
  state_.emplace(std::move(opened).value());
  return true;
}

std::vector<std::string> Progress::NewLines() {
  if (!Open()) return {};
  const auto rounds = state_->Rounds(next_.value_or(0));
  if (!rounds.ok()) return {};
  std::vector<std::string> lines;
  if (!next_) {
    next_ = 0;
    for (const RoundRecord& record : *rounds) {
      if (record.complete) next_ = record.round + 1;
    }
    if (*next_ > 1) {
      lines.push_back("going on after round " + std::to_string(*next_ - 1) + "/" + std::to_string(total_rounds_));
    }
    // Of a run that begins only now the start is news.
    if (*next_ == 1) next_ = 0;
  }
  for (const RoundRecord& record : *rounds) {
    if (record.round < *next_ || !record.complete) continue;
    lines.push_back(RoundLine(record, total_rounds_, SecondsARound(record)));
    next_ = record.round + 1;
  }
  return lines;
}

double Progress::SecondsARound(const RoundRecord& record) {
  if (first_ && record.round > first_->round) {
    return static_cast<double>(record.committed_ms - first_->committed_ms) / 1000 / (record.round - first_->round);
  }
  if (record.round > 0) first_ = record;
  return record.seconds + (record.evaluation ? record.evaluation->counts.seconds : 0);
}

}  // namespace fedpeft::server
