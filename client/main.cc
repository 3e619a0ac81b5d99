// fedpeft-client: the program on the edge box. Parses the command line, sets up the log, calls a verb.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "client/commands.h"
#include "peft/core/log.h"

namespace fedpeft::client {
namespace {

constexpr const char* kExamples = R"(
Examples:
  fedpeft-client inspect --base ./minilm --data train.csv
      the blocks of a run's YAML that describe this base and these labels
  fedpeft-client join --server coordinator.example:8470 --base ./minilm --data ward7.csv \
      --tls-ca ca.pem --tls-cert ward7.pem --tls-key ward7.key --state /var/lib/fedpeft
      one client, with its identity from its certificate
  fedpeft-client join --server 127.0.0.1:8470 --base ./minilm --data train.csv \
      --virtual-clients 20 --partition dirichlet:0.5
      twenty simulated clients in one process
  fedpeft-client train run.yaml --base ./minilm --data train.csv --eval-data test.csv adapter/
      the centralised baseline
  fedpeft-client predict --base ./minilm --adapter adapter/ --data new.csv
  fedpeft-client generate --base ./llama --adapter adapter/ --prompt "Once upon a time"
  fedpeft-client merge --base ./llama --adapter adapter/ merged/
)";

void AddCompute(CLI::App& verb, ComputeOptions& options) {
  verb.add_option("--base", options.base, "Hugging Face folder of the base model")->required();
  verb.add_option("--threads", options.threads, "threads that compute (default: one a core)")
      ->check(CLI::Range(1, 1024));
}

void AddTraining(CLI::App& verb, ComputeOptions& options) {
  AddCompute(verb, options);
  verb.add_option(
          "--keep-activations", options.activations_mib,
          "MiB of what frozen layers below all training made of the data, kept over epochs and rounds, in memory "
          "or in the folder for temporary files; 0: none")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
}

void AddJoin(CLI::App& app, JoinOptions& options) {
  CLI::App* verb = app.add_subcommand("join", "join a coordinator and train (or evaluate) until its run is finished");
  AddTraining(*verb, options.compute);
  verb->add_option("--server", options.connect.server, "HOST:PORT of the coordinator")->required();
  verb->add_option("--data", options.data, "this client's examples: .csv, .tsv, .jsonl or .txt")->required();
  verb->add_option("--eval-data", options.eval_data,
                   "held-out examples: a trainer with some evaluates too, with its own parts of the model if the run "
                   "leaves it any");
  verb->add_option("--name", options.name, "this client's name (default: the state folder's, or a fresh one)");
  verb->add_option(
      "--state", options.state,
      "folder for the name, each client's last update and its own parts of the model (default: a temporary "
      "one, so nothing outlives the process)");
  verb->add_option("--role", "trainer or evaluator")
      ->check(CLI::IsMember({"trainer", "evaluator"}))
      ->default_val("trainer")
      ->each([&options](const std::string& role) { options.evaluator = role == "evaluator"; });
  verb->add_option("--virtual-clients", options.virtual_clients, "deal the data to this many simulated clients")
      ->check(CLI::Range(1, 1'000'000));
  verb->add_option("--client-range", options.client_range,
                   "FIRST:END: be only the virtual clients from FIRST up to END, counted from 0; other processes with "
                   "the same data and partition are the others");
  verb->add_option("--partition", options.partition, "how: iid, dirichlet:ALPHA or column:NAME")->capture_default_str();
  verb->add_option("--run", options.run_yaml,
                   "the run's YAML that this client agreed to: a coordinator with another run is refused, and what "
                   "differs is named");
  verb->add_option("--policy", options.policy,
                   "YAML of what this client's people allow: a coordinator's run beyond it is refused");
  CLI::Option* enrolment =
      verb->add_option("--enrolment-cert", options.enrolment_cert,
                       "PEM of the certificate that names this client to the others under secure aggregation");
  verb->add_option("--enrolment-key", options.enrolment_key, "PEM of its private key")->needs(enrolment);
  verb->add_option("--max-wait", options.max_wait_s,
                   "give up when the coordinator could not be reached for this many seconds (default: try for ever)")
      ->check(CLI::PositiveNumber);
  verb->add_option("--tls-ca", options.connect.tls_ca,
                   "PEM of the authority that signed the coordinator's certificate");
  verb->add_option("--tls-cert", options.connect.tls_cert, "PEM of this client's certificate, its identity");
  verb->add_option("--tls-key", options.connect.tls_key, "PEM of its private key");
  verb->add_flag("--insecure", options.connect.insecure, "allow plain text to a host that is not loopback");
}

void AddTrain(CLI::App& app, TrainOptions& options) {
  CLI::App* verb = app.add_subcommand("train", "train on all the data in one place, with a run's settings");
  AddTraining(*verb, options.compute);
  verb->add_option("run", options.run_yaml, "the run's YAML")->required();
  verb->add_option("out", options.out, "adapter folder to write")->required();
  verb->add_option("--format", options.format, "of the folder: peft, or adapters (that library's bottleneck adapters)")
      ->check(CLI::IsMember({"peft", "adapters"}))
      ->capture_default_str();
  verb->add_option("--data", options.data, "training examples")->required();
  verb->add_option("--eval-data", options.eval_data, "examples to evaluate on after each round")->required();
  verb->add_option("--set", options.set, "change a key of the run: path.to.key=value (may be repeated)")
      ->allow_extra_args(false);  // one value a flag, or `--set a=1 run.yaml out` would take all three
}

CLI::App* AddAdapterVerb(CLI::App* verb, AdapterOptions& options) {
  AddCompute(*verb, options.compute);
  verb->add_option("--adapter", options.adapter, "adapter folder")->required();
  verb->add_option("--data", options.data, "examples: .csv, .tsv, .jsonl or .txt")->required();
  verb->add_option("--text-column", options.text_column, "column of the text (default: the adapter's)");
  verb->add_option("--text-pair-column", options.text_pair_column, "column of the second text");
  verb->add_option("--label-column", options.label_column, "column of the label");
  verb->add_flag("--json", options.json, "print JSON");
  return verb;
}

void AddPredict(CLI::App& app, AdapterOptions& options) {
  AddAdapterVerb(app.add_subcommand("predict", "for each row a label and its probability, a value, or a text"), options)
      ->add_option("--max-new-tokens", options.max_new_tokens, "of a language model: most tokens to add to a prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void AddInspect(CLI::App& app, InspectOptions& options) {
  CLI::App* verb = app.add_subcommand(
      "inspect",
      "look before you run: the base: and problem: blocks of a run's YAML, where a method can attach, what a "
      "run would train");
  verb->add_option("--base", options.base, "Hugging Face folder of the base model")->required();
  verb->add_option("--run", options.run_yaml, "a run's YAML: what it would train and send");
  verb->add_option("--data", options.data, "examples whose labels to list");
  verb->add_option("--text-column", options.text_column, "column of the text")->capture_default_str();
  verb->add_option("--text-pair-column", options.text_pair_column, "column of the second text");
  verb->add_option("--label-column", options.label_column, "column of the label")->capture_default_str();
}

void AddMerge(CLI::App& app, MergeOptions& options) {
  CLI::App* verb = app.add_subcommand("merge", "base and adapter as one model folder, for what knows no adapters");
  verb->add_option("--base", options.base, "Hugging Face folder of the base model")->required();
  verb->add_option("--adapter", options.adapter, "adapter folder")->required();
  verb->add_option("--shard-mib", options.shard_mib, "most MiB of weights in a file")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  verb->add_option("out", options.out, "folder to write")->required();
}

void AddPersonalise(CLI::App& app, PersonaliseOptions& options) {
  CLI::App* verb = app.add_subcommand(
      "personalise", "a run's adapter with the parts that this client kept for itself (peft.head: local, views)");
  verb->add_option("--base", options.base, "Hugging Face folder of the base model")->required();
  verb->add_option("--adapter", options.adapter,
                   "adapter folder, exported by the coordinator for the client's last round (export --round N)")
      ->required();
  verb->add_option("--state", options.state, "the client's state folder, after the run")->required();
  verb->add_option("--client", options.client, "which client's (default: the only one in the folder)");
  verb->add_option("out", options.out, "adapter folder to write")->required();
}

constexpr const char* kGenerateExamples = R"(
Examples:
  fedpeft-client generate --base ./llama --prompt "Once upon a time"
      the likeliest text, token by token (greedy)
  fedpeft-client generate --base ./llama --adapter adapter/ --prompt-file question.txt \
      --temperature 0.7 --top-p 0.9 --seed 1
      with an adapter; drawn at random, the same each time
  echo "Dear Sir," | fedpeft-client --log-level warning generate --base ./gpt2 --max-new-tokens 40
)";

void AddSampling(CLI::App& verb, GenerateCommand& command) {
  SamplingOptions& sampling = command.options.sampling;
  verb.add_option("--max-new-tokens", command.options.max_new_tokens, "most tokens to add")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb.add_option("--temperature", sampling.temperature,
                  "0: always the likeliest token; above: at random, the flatter the higher")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb.add_option("--top-p", sampling.top_p, "draw from the likeliest tokens that together have this probability")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  verb.add_option("--seed", command.seed, "of the draws (default: another one each time, and logged)");
}

void AddGenerate(CLI::App& app, GenerateCommand& command) {
  CLI::App* verb = app.add_subcommand("generate", "continue a text with a language model, with or without an adapter");
  verb->footer(kGenerateExamples);
  AddCompute(*verb, command.compute);
  verb->add_option("--adapter", command.adapter, "adapter folder of a language model (CAUSAL_LM)");
  CLI::Option* prompt = verb->add_option("--prompt", command.prompt, "the text to continue (default: standard input)");
  verb->add_option("--prompt-file", command.prompt_file, "a file with it; a line break at its end does not count")
      ->excludes(prompt);
  AddSampling(*verb, command);
  verb->add_flag("--bfloat16", command.bfloat16, "hold the base in bfloat16: half the memory, and less exact");
  verb->add_flag("!--no-cache", command.options.use_cache, "compute the whole text again for each token");
  verb->add_flag("--json", command.json, "print one JSON object at the end: text, ids, why it ended");
}

void AddBudget(CLI::App& app, BudgetOptions& options) {
  CLI::App* verb = app.add_subcommand("budget", "what clients that hide themselves by noise of their own have spent");
  verb->add_option("--state", options.state, "the clients' state folder")->required();
  verb->add_option("--delta", options.delta, "the chance that the epsilons do not hold")
      ->check(CLI::Range(1e-15, 0.1))
      ->capture_default_str();
  verb->add_flag("--json", options.json, "print one JSON object");
}

struct CommandLine {
  JoinOptions join;
  TrainOptions train;
  AdapterOptions evaluate, predict;
  GenerateCommand generate;
  InspectOptions inspect;
  BudgetOptions budget;
  MergeOptions merge;
  PersonaliseOptions personalise;
  std::string log_level = "info";
  LogOptions log;
};

void Describe(CLI::App& app, CommandLine& line) {
  app.require_subcommand(1);
  app.footer(kExamples);
  app.set_version_flag("--version", FEDPEFT_VERSION);
  app.add_option("--log-level", line.log_level, "debug, info, warning or error")->capture_default_str();
  app.add_flag("--log-json", line.log.json, "log JSON to standard error");
  app.add_option("--log-file", line.log.file, "also append the log, as JSON, to this file");
  AddJoin(app, line.join);
  AddTrain(app, line.train);
  AddAdapterVerb(app.add_subcommand("evaluate", "metrics and loss of an adapter on labelled data"), line.evaluate);
  AddPredict(app, line.predict);
  AddGenerate(app, line.generate);
  AddInspect(app, line.inspect);
  AddMerge(app, line.merge);
  AddPersonalise(app, line.personalise);
  AddBudget(app, line.budget);
}

Status RunVerb(const CLI::App& app, CommandLine& line) {
  ASSIGN_OR_RETURN(line.log.level, ParseLogLevel(line.log_level));
  RETURN_IF_ERROR(InitLog(line.log));
  if (app.got_subcommand("join")) return RunJoin(line.join);
  if (app.got_subcommand("train")) return RunTrain(line.train);
  if (app.got_subcommand("evaluate")) return RunEvaluate(line.evaluate);
  if (app.got_subcommand("predict")) return RunPredict(line.predict);
  if (app.got_subcommand("generate")) return RunGenerate(line.generate);
  if (app.got_subcommand("merge")) return RunMerge(line.merge);
  if (app.got_subcommand("personalise")) return RunPersonalise(line.personalise);
  if (app.got_subcommand("budget")) return RunBudget(line.budget);
  return RunInspect(line.inspect);
}

/// LibTorch's OpenMP threads spin while they wait, which makes training many times slower as soon as anything else
/// wants a core. libgomp reads its setting before main begins, so the program starts itself again with it set.
void WaitPassively(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr || std::getenv("GOMP_SPINCOUNT") != nullptr) return;
  std::array<char, PATH_MAX> self{};
  if (::readlink("/proc/self/exe", self.data(), self.size() - 1) <= 0) return;
  ::setenv("OMP_WAIT_POLICY", "passive", 1);
  ::execv(self.data(), argv);  // where it fails, training is merely slower
}

int Main(int argc, char** argv) {
  WaitPassively(argv);
  CLI::App app("fedpeft-client: federated parameter-efficient fine-tuning, the edge side");
  CommandLine line;
  Describe(app, line);
  CLI11_PARSE(app, argc, argv);
  const Status status = RunVerb(app, line);
  if (status.ok()) return 0;
  std::fprintf(stderr, "fedpeft-client: %s\n", status.message().c_str());
  return status.code() == Code::kCancelled ? 130 : 1;
}

}  // namespace
}  // namespace fedpeft::client

int main(int argc, char** argv) {
  try {
    return fedpeft::client::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fedpeft-client: unexpected failure: %s\n", error.what());
    return 2;
  }
}
