// `fedpeft-client inspect`: what a base is, where methods can attach, and what a run would train and send.
#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "client/base.h"
#include "client/commands.h"
#include "client/dataset.h"
#include "client/memory.h"
#include "configs/loader.h"
#include "configs/views.h"
#include "peft/plan/sites.h"

namespace fedpeft::client {

namespace {

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text.append(text.empty() ? "" : ", ").append(word);
  return text;
}

/// The path with the number of its layer as `*`: `bert.encoder.layer.*.output.dense`.
std::string WithoutLayer(const Site& site) {
  if (site.layer < 0) return site.path;
  const std::string number = "." + std::to_string(site.layer) + ".";
  std::string path = site.path;
  return path.replace(path.find(number), number.size(), ".*.");
}

/// One line for the linears of a name and size.
std::vector<std::string> LinearLines(const std::vector<Site>& sites) {
  std::vector<std::string> order;
  std::map<std::string, int> count;
  for (const Site& site : sites) {
    const std::string line = WithoutLayer(site) + "  " + std::to_string(site.in) + " → " + std::to_string(site.out);
    if (count[line]++ == 0) order.push_back(line);
  }
  for (std::string& line : order) line += "  × " + std::to_string(count[line]);
  return order;
}

std::vector<std::string> SiteLines(const BaseInfo& base) {
  const BaseSites sites = SitesOf(base.shape);
  std::vector<std::string> lines;
  lines.push_back("parameters of the base: " + std::to_string(base.parameters));
  lines.push_back("longest sequence: " + std::to_string(base.shape.longest()) + " tokens");
  lines.push_back("embedding: " + sites.tables[0].path + "  " + std::to_string(sites.tables[0].rows) + " × " +
                  std::to_string(sites.tables[0].width));
  if (!sites.attentions.empty()) {
    const AttentionSite& first = sites.attentions.front();
    lines.push_back("attention: " + std::to_string(sites.attentions.size()) + " layers, " +
                    std::to_string(first.heads) + " heads of " + std::to_string(first.width) + ", " +
                    std::to_string(first.kv_heads) + " of keys and values");
  }
  lines.push_back("linears, in → out:");
  for (const std::string& line : LinearLines(sites.linears)) lines.push_back("  " + line);
  lines.push_back("target_modules when left out: " + Joined(DefaultTargets(base.shape)));
  lines.push_back("a classifier's head, trained whole: " + Joined(HeadModules(base.shape)));
  return lines;
}

std::string Bytes4(std::size_t values) {
  char text[64];
  std::snprintf(text, sizeof text, "%zu bytes (%.2f MiB)", 4 * values, static_cast<double>(4 * values) / (1 << 20));
  return text;
}

std::string MiB(std::uint64_t bytes) {
  return std::to_string((bytes + (1 << 19)) >> 20) + " MiB";
}

/// Parameters by role of what the run trains, and what that takes.
Result<std::vector<std::string>> TrainingLines(const BaseInfo& base, const RunSpec& run) {
  ASSIGN_OR_RETURN(const std::vector<Site> sites, AdaptedLinears(run.plan));
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  std::int64_t own = 0, head = 0;
  for (std::size_t i = 0; i < layout->tensors().size(); ++i) {
    const TensorSpec& spec = layout->tensors()[i];
    if (views.shared()[i] || views.personal()[i]) (spec.role == Role::kHead ? head : own) += spec.size();
  }
  char share[64];
  std::snprintf(share, sizeof share, "%.3f %%",
                100 * static_cast<double>(own + head) / static_cast<double>(base.parameters));
  std::vector<std::string> lines;
  lines.push_back("trained: " + DescribeMethod(run.plan.method) +
                  (sites.empty() ? "" : " on " + std::to_string(sites.size()) + " linears") + ", " +
                  std::to_string(own) + " parameters; head, " + std::to_string(head) + " (" + share +
                  " of the base's)");
  for (const std::string& line : LinearLines(sites)) lines.push_back("  " + line);
  lines.push_back("a client's round, at most: " + Bytes4(views.max_update_bytes() / sizeof(float)) + " up, " +
                  Bytes4(views.max_broadcast_bytes() / sizeof(float)) + " down");
  ASSIGN_OR_RETURN(const MemoryForecast memory, ForecastMemory(base, run));
  lines.push_back("memory for training, at most: about " + MiB(memory.total()) + " (program " + MiB(memory.program) +
                  ", base " + MiB(memory.weights) + ", trained " + MiB(memory.trained) + ", activations of " +
                  std::to_string(run.train.batch_size) + " × " + std::to_string(run.problem.max_length) + " tokens " +
                  MiB(memory.activations) + ")");
  return lines;
}

void Print(const std::vector<std::string>& lines, const char* before) {
  for (const std::string& line : lines) std::printf("%s%s\n", before, line.c_str());
}

/// The run's columns, its labels in alphabetical order where there is data.
Result<ProblemSpec> ProblemOf(const InspectOptions& options, const BaseShape& shape) {
  ProblemSpec problem;
  problem.text_column = options.text_column;
  problem.text_pair_column = options.text_pair_column;
  problem.label_column = options.label_column;
  problem.max_length = static_cast<int>(std::min<std::int64_t>(problem.max_length, shape.longest()));
  if (options.data.empty()) return problem;
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(options.data, problem));
  ASSIGN_OR_RETURN(const std::size_t column, table.NeedColumn(problem.label_column));
  std::set<std::string> labels;
  for (const auto& row : table.rows) labels.insert(row[column]);
  problem.labels.assign(labels.begin(), labels.end());
  return problem;
}

}  // namespace

Status RunInspect(const InspectOptions& options) {
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.base));
  if (!options.run_yaml.empty()) {
    ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(options.run_yaml, {}));
    ASSIGN_OR_RETURN(const RunSpec run, TranslateRun(loaded.config));
    RETURN_IF_ERROR(CheckBaseIsRuns(base, run));
    ASSIGN_OR_RETURN(const std::vector<std::string> training, TrainingLines(base, run));
    Print(SiteLines(base), "");
    Print(training, "");
    return OkStatus();
  }
  ASSIGN_OR_RETURN(const ProblemSpec problem, ProblemOf(options, base.shape));
  std::fputs(RunBlocks(base, problem).c_str(), stdout);
  Print(SiteLines(base), "# ");
  return OkStatus();
}

}  // namespace fedpeft::client
