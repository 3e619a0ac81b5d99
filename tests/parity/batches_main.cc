// batches_main RUN.yaml BASE DATA NAME CLIENTS PARTITION [KEY=VALUE...]: what our clients train on, batch by batch, one
// pass a round, so that the reference federation can do the same. Virtual clients are NAME/0, NAME/1, …; a client that
// is alone is NAME. Prints JSON: a line with the clients' rows of DATA, by number; and for each round a line of
// clients, of batches, of numbers of the client's own examples (of language modelling documents are packed, else a row
// is one).
#include <cstdio>
#include <nlohmann/json.hpp>

#include "client/batches.h"
#include "client/dataset.h"
#include "configs/loader.h"
#include "configs/run.h"
#include "peft/core/files.h"
#include "peft/text/tokenizer.h"

namespace fedpeft::client {
namespace {

struct Arguments {
  std::string run, base, data, name;
  std::size_t clients = 1;
  std::string partition;
  std::vector<std::string> settings;
};

/// Of each client.
struct Dealt {
  std::vector<std::vector<std::uint32_t>> rows;
  /// In tokens, of its examples.
  std::vector<std::vector<std::uint32_t>> lengths;
};

Result<Dealt> Deal(const Arguments& arguments, const RunSpec& run) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromFile(JoinPath(arguments.base, "tokenizer.json")));
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(arguments.data, run.problem));
  ASSIGN_OR_RETURN(const PartitionSpec partition, ParsePartition(arguments.partition));
  std::vector<std::int32_t> labels(table.rows.size());
  if (run.problem.type == ProblemType::kClassification) {
    ASSIGN_OR_RETURN(labels, RowLabels(run.problem, table));
  }
  Dealt dealt;
  ASSIGN_OR_RETURN(dealt.rows, PartitionRows(partition, table, labels, arguments.clients, run.seed));
  ASSIGN_OR_RETURN(const DealtExamples clients,
                   DealExamples(run, tokenizer, {table, std::nullopt}, partition, arguments.clients,
                                {.first = 0, .end = arguments.clients}));
  for (const std::vector<Example>& examples : clients.data) {
    std::vector<std::uint32_t>& lengths = dealt.lengths.emplace_back();
    for (const Example& example : examples) lengths.push_back(static_cast<std::uint32_t>(example.ids.size()));
  }
  return dealt;
}

Status Print(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(arguments.run, arguments.settings));
  ASSIGN_OR_RETURN(const RunSpec run, TranslateRun(loaded.config));
  ASSIGN_OR_RETURN(const Dealt dealt, Deal(arguments, run));
  std::puts(nlohmann::json(dealt.rows).dump().c_str());
  for (std::uint32_t round = 1; round <= run.total_rounds(); ++round) {
    nlohmann::json clients = nlohmann::json::array();
    for (std::size_t client = 0; client < arguments.clients; ++client) {
      const std::string name = arguments.clients == 1 ? arguments.name : arguments.name + "/" + std::to_string(client);
      RandomStream order = OrderStream(run.seed, round, name);
      clients.push_back(ShuffledBatches(dealt.lengths[client], static_cast<std::size_t>(run.train.batch_size), order));
    }
    std::puts(clients.dump().c_str());
  }
  return OkStatus();
}

}  // namespace
}  // namespace fedpeft::client

int main(int argc, char** argv) {
  if (argc < 7) {
    std::fputs("usage: batches_main RUN.yaml BASE DATA NAME CLIENTS PARTITION [KEY=VALUE...]\n", stderr);
    return 2;
  }
  const fedpeft::Status status = fedpeft::client::Print({.run = argv[1],
                                                         .base = argv[2],
                                                         .data = argv[3],
                                                         .name = argv[4],
                                                         .clients = std::strtoul(argv[5], nullptr, 10),
                                                         .partition = argv[6],
                                                         .settings = {argv + 7, argv + argc}});
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
