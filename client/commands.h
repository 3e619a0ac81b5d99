// The verbs of fedpeft-client as functions of plain options; main.cc parses the command line into them. Results go to
// standard output, events to the log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/transport.h"
#include "peft/core/status.h"
#include "peft/method/generate.h"

namespace fedpeft::client {

/// What every verb that computes needs.
struct ComputeOptions {
  std::string base;
  /// 0: as many as there are cores.
  int threads = 0;
  /// What LocalTrainer::KeepActivations may take, of verbs that train.
  std::uint64_t activations_mib = 1024;
};

struct JoinOptions {
  ComputeOptions compute;
  ConnectOptions connect;
  std::string data;
  /// Held-out examples of a trainer that evaluates too; empty: it does not.
  std::string eval_data;
  std::string name;
  std::string state;
  bool evaluator = false;
  std::size_t virtual_clients = 0;
  /// `FIRST:END`: those of the virtual clients that this process is; empty: all. Other processes are the others.
  std::string client_range;
  std::string partition = "iid";
  double max_wait_s = 0;
  /// A run's YAML: the one that this client agreed to; empty: whatever the coordinator's is.
  std::string run_yaml;
  /// What this client's people allow; empty: every run.
  std::string policy;
  /// PEM of the certificate, and of its key, with which this client signs its keys under secure aggregation; empty:
  /// none.
  std::string enrolment_cert;
  std::string enrolment_key;
};
/// Joins and serves until the run is finished, or SIGTERM or SIGINT.
Status RunJoin(const JoinOptions& options);

struct TrainOptions {
  ComputeOptions compute;
  std::string run_yaml;
  std::vector<std::string> set;
  std::string data;
  std::string eval_data;
  std::string out;
  /// `peft`, or `adapters`: a folder for that library.
  std::string format = "peft";
};
/// Centralised training with the run's settings: `schedule` rounds of `train` over all the data with one optimiser,
/// the learning rate of the round; an adapter folder at the end.
Status RunTrain(const TrainOptions& options);

struct AdapterOptions {
  ComputeOptions compute;
  std::string adapter;
  std::string data;
  /// Empty: what the adapter says.
  std::string text_column;
  std::string text_pair_column;
  std::string label_column;
  /// Of `predict` with a language model.
  std::int64_t max_new_tokens = 256;
  bool json = false;
};
struct PersonaliseOptions {
  std::string base;
  std::string adapter;
  std::string state;
  std::string client;
  std::string out;
};
/// The run's adapter with the parts that a client kept for itself in place of the shared ones, as another folder.
Status RunPersonalise(const PersonaliseOptions& options);

/// The problem's metrics and mean loss on labelled data.
Status RunEvaluate(const AdapterOptions& options);
/// A line for each row: the most probable label and its probability (with json, the probabilities of all labels too),
/// the value of a regression, or the likeliest text after the row's prompt, as a JSON string.
Status RunPredict(const AdapterOptions& options);

struct GenerateCommand {
  ComputeOptions compute;
  /// Adapter folder of a language model; empty: the base as it is.
  std::string adapter;
  /// One of the two, or neither: standard input.
  std::optional<std::string> prompt;
  std::string prompt_file;
  GenerateOptions options;
  /// None: another one each time.
  std::optional<std::uint64_t> seed;
  bool bfloat16 = false;
  bool json = false;
};
/// Prints what follows the prompt, as it comes; with json, one object at the end. A text that SIGINT or SIGTERM cuts
/// off is kCancelled.
Status RunGenerate(const GenerateCommand& command);

struct BudgetOptions {
  std::string state;
  double delta = 1e-6;
  bool json = false;
};
/// Prints what the clients of a state folder have spent in runs in which they hide themselves by noise of their own.
Status RunBudget(const BudgetOptions& options);

struct MergeOptions {
  std::string base;
  std::string adapter;
  std::string out;
  /// Weights a file holds at most, unless one tensor alone has more.
  std::uint64_t shard_mib = 2048;
};
/// Writes base and adapter as one model folder: weights in shards, config.json for the task's model, everything else of
/// the base's folder copied.
Status RunMerge(const MergeOptions& options);

struct InspectOptions {
  std::string base;
  /// A run's YAML, to see what it would train; empty: none.
  std::string run_yaml;
  std::string data;
  std::string text_column = "text";
  std::string text_pair_column;
  std::string label_column = "label";
};
/// Prints the `base:` and, with data, the `problem:` block of a run's YAML, and in comments the sites of the base; with
/// a run, the sites and what the run would train and send.
Status RunInspect(const InspectOptions& options);

}  // namespace fedpeft::client
