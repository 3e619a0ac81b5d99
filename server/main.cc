// fedpeft-server: the coordinator's program. Only the command line is here; the verbs are in cli_*.cc.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "peft/core/log.h"
#include "server/cli.h"

namespace {

using namespace fedpeft;
using namespace fedpeft::server;

constexpr const char* kExamples = R"(Examples:
  fedpeft-server check run.yaml
  fedpeft-server serve run.yaml --state state --listen 127.0.0.1:7070
  fedpeft-server serve run.yaml --state state --listen 0.0.0.0:7070 \
      --tls-cert server.pem --tls-key server.key --client-ca ca.pem --set train.learning_rate=0.01
  fedpeft-server rounds --state state --json
  fedpeft-server export --state state adapter
  fedpeft-server budget --state state
  fedpeft-server budget --rounds 500 --sampling 0.05 --delta 1e-6 --epsilon 8
  fedpeft-server budget --rounds 500 --min-separation 50 --delta 1e-6 --epsilon 8

Standard output is for people (or JSON with --json), standard error for logs. Exit status: 0 good, 1 failed.)";

struct LogArgs {
  std::string level = "info";
  bool json = false;
  std::string file;
};

Status StartLog(const LogArgs& args) {
  ASSIGN_OR_RETURN(const LogLevel level, ParseLogLevel(args.level));
  return InitLog({.level = level, .json = args.json, .file = args.file});
}

void AddRun(CLI::App& verb, RunArgs& args) {
  verb.add_option("run", args.file, "the run, a YAML file")->required();
  verb.add_option("--set", args.overrides, "key.path=value: overrides the file (may be repeated)")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);  // One value a flag, or `--set a=1 run.yaml` would take the run for a second one.
}

void AddState(CLI::App& verb, std::string& state) {
  verb.add_option("--state", state, "state folder")->capture_default_str();
}

void AddServe(CLI::App& app, ServeArgs& args, std::function<int()>& chosen) {
  CLI::App& verb = *app.add_subcommand("serve", "coordinate a run; goes on where the state folder left off");
  AddRun(verb, args.run);
  AddState(verb, args.state);
  verb.add_option("--start", args.start,
                  "begin with the values of this adapter folder, of the run's method (when the "
                  "state folder is new)");
  verb.add_option("--base", args.base, "the base's folder; only a --start that holds values of the base needs it");
  verb.add_option("--listen", args.service.listen, "HOST:PORT; port 0: any free one")->capture_default_str();
  verb.add_option("--tls-cert", args.service.tls_certificate, "PEM certificate chain of this server");
  verb.add_option("--tls-key", args.service.tls_key, "PEM private key of it");
  verb.add_option("--client-ca", args.service.client_ca,
                  "PEM certificates of the authority of clients: they must show a certificate, whose common name is "
                  "who they are");
  verb.add_option("--enrolment-roots", args.enrolment_roots,
                  "PEM certificates of who vouches for clients under secure aggregation (not this coordinator): keys "
                  "that no such client has signed are refused");
  verb.add_flag("--insecure", args.service.allow_plain_text, "plain text beyond loopback");
  verb.callback([&] { chosen = [&] { return Serve(args); }; });
}

void AddReport(CLI::App& app, const char* name, const char* help, int (*run)(const ReportArgs&), ReportArgs& args,
               std::function<int()>& chosen) {
  CLI::App& verb = *app.add_subcommand(name, help);
  AddState(verb, args.state);
  verb.add_flag("--json", args.json, "for scripts");
  verb.callback([&args, &chosen, run] { chosen = [&args, run] { return run(args); }; });
}

void AddExport(CLI::App& app, ExportArgs& args, std::function<int()>& chosen) {
  CLI::App& verb = *app.add_subcommand("export", "write a round's parameters as an adapter");
  AddState(verb, args.state);
  verb.add_option("--round", args.round, "which round; otherwise the best, or the last if none was evaluated");
  verb.add_option("--base", args.base, "the base's folder; only adapters that hold values of the base need it");
  verb.add_option("--format", args.format,
                  "peft: a folder for Hugging Face PEFT; adapters: bottleneck adapters as a folder for the adapters "
                  "library; gguf: a file for llama.cpp's --lora")
      ->check(CLI::IsMember({"peft", "adapters", "gguf"}))
      ->capture_default_str();
  verb.add_option("out", args.out, "folder, or with gguf file, to write")->required();
  verb.callback([&] { chosen = [&] { return Export(args); }; });
}

void AddBudget(CLI::App& app, BudgetArgs& args, std::function<int()>& chosen) {
  CLI::App& verb =
      *app.add_subcommand("budget", "what rounds under differential privacy cost, and what noise they take");
  BudgetPlan& plan = args.plan;
  CLI::Option* const state =
      verb.add_option("--state", args.state, "a run's state folder: what it has spent, and what is left");
  verb.add_option("--rounds", plan.rounds, "of a plan: how many there are to be")->excludes(state);
  verb.add_option("--delta", plan.delta, "the chance that the bound does not hold; below 1 over all clients");
  CLI::Option* const sampling =
      verb.add_option("--sampling", plan.sampling, "the probability that a client is in a round")
          ->capture_default_str();
  CLI::Option* const noise = verb.add_option("--noise-multiplier", plan.noise_multiplier,
                                             "standard deviation of the noise over the clip norm");
  verb.add_option("--epsilon", plan.epsilon, "find the least noise for this instead")->excludes(noise);
  CLI::Option* const separation =
      verb.add_option("--min-separation", plan.min_separation,
                      "of correlated noise (dp_ftrl), without sampling: rounds from one of a client's to the next, at "
                      "least")
          ->excludes(sampling);
  verb.add_option_function<std::pair<std::uint64_t, std::uint64_t>>(
          "--cap",
          [&plan](const auto& value) {
            plan.cap = {value.second, value.first};
          },
          "no more than so many of so many clients are in a round")
      ->type_name("MOST CLIENTS")
      ->excludes(separation);
  verb.add_option_function<std::string>(
          "--accountant",
          [&plan](const std::string& name) {
            plan.accountant = name == "rdp" ? privacy::AccountantKind::kRdp : privacy::AccountantKind::kPld;
          },
          "pld: loss distributions, tighter; rdp: Renyi")
      ->check(CLI::IsMember({"pld", "rdp"}))
      ->default_str("pld");
  verb.add_flag("--json", args.json, "for scripts");
  verb.callback([&] { chosen = [&] { return Budget(args); }; });
}

int Main(int argc, char** argv) {
  CLI::App app{"fedpeft-server: coordinates federated fine-tuning of small adapters of a frozen model"};
  app.footer(kExamples);
  app.set_version_flag("--version", std::string("fedpeft-server ") + FEDPEFT_VERSION);
  app.require_subcommand(1);
  app.fallthrough();

  LogArgs log;
  app.add_option("--log-level", log.level, "debug, info, warning or error")->capture_default_str();
  app.add_flag("--log-json", log.json, "logs as JSON, one object a line");
  app.add_option("--log-file", log.file, "also append logs to this file, as JSON");

  std::function<int()> chosen;
  ServeArgs serve{.run = {}, .state = "state", .service = {}, .start = {}, .base = {}, .enrolment_roots = {}};
  serve.service.listen = "127.0.0.1:7070";
  AddServe(app, serve, chosen);
  RunArgs check;
  CLI::App& check_verb = *app.add_subcommand("check", "say everything that is wrong with a run, or what it comes to");
  AddRun(check_verb, check);
  check_verb.callback([&] { chosen = [&] { return Check(check); }; });
  ReportArgs report{.state = "state", .json = false};
  AddReport(app, "rounds", "the committed rounds, of a running or a stopped coordinator", Rounds, report, chosen);
  AddReport(app, "show", "the run, its state and its clients", Show, report, chosen);
  ExportArgs to_export{.state = "state", .round = std::nullopt, .out = {}, .base = {}, .format = "peft"};
  AddExport(app, to_export, chosen);

  BudgetArgs budget;
  AddBudget(app, budget, chosen);

  CLI11_PARSE(app, argc, argv);
  if (const Status status = StartLog(log); !status.ok()) return Fail(status);
  return chosen();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fedpeft-server: %s\n", error.what());
    return 1;
  }
}
