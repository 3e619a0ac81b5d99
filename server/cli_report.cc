#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "configs/loader.h"
#include "configs/privacy.h"
#include "configs/run.h"
#include "configs/secure.h"
#include "configs/views.h"
#include "peft/plan/plan.h"
#include "server/budget.h"
#include "server/cli.h"
#include "server/report.h"

namespace fedpeft::server {
namespace {

/// A line for what stays with the clients, by parts; none where nothing does.
std::string Kept(const RunViews& views, const ParamLayout& layout) {
  std::set<std::string_view> parts;
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    if (views.personal()[i]) parts.insert(RoleName(layout.tensors()[i].role));
  }
  std::string text;
  for (const std::string_view part : parts) text.append(text.empty() ? "  personal    " : ", ").append(part);
  return text.empty() ? text : text + "\n";
}

std::string Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g", value);
  return text;
}

/// How the sums of each phase are masked; nothing where they are not.
Result<std::string> SecureText(const RunSpec& run, const RunViews& views) {
  if (!run.secure.on) return std::string();
  std::string text;
  SecureSumSpec spec;
  spec.round = 1;
  spec.values = views.max_update_bytes() / sizeof(float);
  for (const PhaseSpec& phase : run.schedule) {
    ASSIGN_OR_RETURN(const SecureSum sum, SecureSumOf(run, spec));
    ASSIGN_OR_RETURN(const std::int64_t level, privacy::LargestLevel(sum.config.budget));
    const auto clients = static_cast<std::uint32_t>(sum.config.budget.max_contributions);
    ASSIGN_OR_RETURN(const privacy::GraphParameters graph, privacy::FindGraphParameters(sum.config.CohortOf(clients)));
    text += (text.empty() ? "  masked      " : "              ") + std::string(ThreatName(run.secure)) + ": " +
            std::to_string(sum.config.budget.bits) + " bits an element, a value in steps of " +
            std::to_string(1.0 / static_cast<double>(level)) + " of its range, " +
            std::to_string(sum.layout.packed_bytes()) + " bytes; of " + std::to_string(clients) + " clients each has " +
            std::to_string(graph.degree) + " neighbours, and a secret takes " + std::to_string(graph.threshold) +
            " shares\n";
    spec.round += phase.rounds;
  }
  return text;
}

/// What the run's rounds cost in privacy; nothing where there is none.
Result<std::string> PrivacyText(const RunSpec& run, const RunViews& views) {
  if (!run.privacy.on()) return std::string();
  if (run.privacy.hides_examples()) {
    return "  privacy     each client hides its examples, at epsilon " + Short(run.privacy.budget.epsilon) +
           ", delta " + Short(run.privacy.budget.delta) + " of its own (fedpeft-client budget)\n";
  }
  ASSIGN_OR_RETURN(const std::uint32_t last, LastAffordableRound(run, 0, {}));
  ASSIGN_OR_RETURN(const double epsilon, EpsilonOfRounds(run, last));
  std::string text = "  privacy     noise multiplier " + Short(run.privacy.noise_multiplier) + ": epsilon " +
                     Short(epsilon) + " of " + Short(run.privacy.budget.epsilon) + " after " + std::to_string(last) +
                     " rounds, delta " + Short(run.privacy.budget.delta) + ", by " +
                     std::string(NameOf(run.privacy.accountant)) + "\n";
  if (run.privacy.correlated()) {
    const privacy::CorrelationSpec spec = CorrelationOf(run);
    text += "              all rounds are one release; a client is in at most " +
            std::to_string(spec.participations()) + ", " + std::to_string(spec.separation) + " apart; the noise is " +
            Short(run.privacy.noise_multiplier * spec.Sensitivity()) + " times the clip norm, and takes " +
            std::to_string(spec.bands() * views.max_update_bytes() * 2 >> 20) + " MiB of the coordinator\n";
  }
  if (run.privacy.sampled()) {
    ASSIGN_OR_RETURN(const std::vector<BudgetRow> known, KnownParticipation(run));
    text += "              " + KnownText(known);
    for (const PhaseSpec& phase : run.schedule) {
      const std::uint32_t fewest = FewestToDrawFrom(run, phase).value_or(run.privacy.population);
      if (fewest == phase.min_clients) continue;
      text += "              A round of " + std::to_string(phase.cohort) + " is drawn once " + std::to_string(fewest) +
              " clients are joined, so that too few of them is next to impossible.\n";
    }
  }
  if (last < run.total_rounds()) {
    text += "              the budget ends the run after round " + std::to_string(last) + " of " +
            std::to_string(run.total_rounds()) + "\n";
  }
  return text;
}

/// What both sides will agree on, for a run that is fit to be served.
Result<std::string> Summary(const RunArgs& args) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(args.file, args.overrides));
  ASSIGN_OR_RETURN(RunSpec run, TranslateRun(loaded.config));
  if (run.privacy.on()) RETURN_IF_ERROR(ResolveNoise(run));
  ASSIGN_OR_RETURN(const std::shared_ptr<const ParamLayout> layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  ASSIGN_OR_RETURN(const std::string secure, SecureText(run, views));
  ASSIGN_OR_RETURN(const std::string privacy, PrivacyText(run, views));
  return args.file + ": good\n" +                                                                  //
         "  run         " + run.name + "\n" +                                                      //
         "  base        " + run.base_name + ", weights sha256 " + Hex(run.weights) + "\n" +        //
         "  labels      " + std::to_string(run.problem.labels.size()) + "\n" +                     //
         "  metric      " + std::string(MetricName(run.evaluation.metric)) + "\n" +                //
         "  layout      " + std::to_string(layout->tensors().size()) + " tensors, " +              //
         std::to_string(layout->size()) + " parameters, sha256 " + Hex(layout->digest()) + "\n" +  //
         "  an update   " + std::to_string(views.max_update_bytes()) + " bytes\n" + secure + privacy +
         Kept(views, *layout) + "  a broadcast " + std::to_string(views.max_broadcast_bytes()) + " bytes\n" +    //
         "  rounds      " + std::to_string(run.total_rounds()) + " in " + std::to_string(run.schedule.size()) +  //
         (run.schedule.size() == 1 ? " phase\n" : " phases\n");
}

int Print(const Result<std::string>& text) {
  if (!text.ok()) return Fail(text.status());
  std::fputs(text->c_str(), stdout);
  return 0;
}

Result<std::string> Report(const ReportArgs& args, Result<std::string> (*text)(StateReader&),
                           Result<std::string> (*json)(StateReader&)) {
  ASSIGN_OR_RETURN(StateReader state, StateReader::Open(args.state));
  return args.json ? json(state) : text(state);
}

Result<std::string> ExportText(const ExportArgs& args) {
  ASSIGN_OR_RETURN(StateReader state, StateReader::Open(args.state));
  ASSIGN_OR_RETURN(const RunSpec run, StoredRun(state));
  using Format = ExportTarget::Format;
  const std::map<std::string, Format> formats = {
      {"peft", Format::kPeft}, {"adapters", Format::kAdapters}, {"gguf", Format::kGguf}};
  const ExportTarget target{args.out, args.base, formats.at(args.format)};
  ASSIGN_OR_RETURN(const std::uint32_t round, ExportRound(state, run, args.round, target));
  return args.out + ": the adapter of round " + std::to_string(round) + "\n";
}

}  // namespace

int Fail(const Status& status) {
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}

int Check(const RunArgs& args) {
  return Print(Summary(args));
}
int Rounds(const ReportArgs& args) {
  return Print(Report(args, RoundsText, RoundsJson));
}
int Show(const ReportArgs& args) {
  return Print(Report(args, ShowText, ShowJson));
}
int Export(const ExportArgs& args) {
  return Print(ExportText(args));
}

}  // namespace fedpeft::server
