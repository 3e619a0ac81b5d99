// batches_main RUN.yaml BASE DATA NAME CLIENTS PARTITION [KEY=VALUE...]: which rows of DATA our clients train on,
// batch by batch, one pass a round, so that the reference federation can do the same. Virtual clients are NAME/0,
// NAME/1, …; a client that is alone is NAME. Prints the rounds, a JSON array a line: of clients, of batches, of row
// numbers.
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

/// One client's rows and their lengths in tokens.
struct Part {
  std::vector<std::uint32_t> rows, lengths;
};

Result<std::vector<Part>> DealRows(const Arguments& arguments, const RunSpec& run) {
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromFile(JoinPath(arguments.base, "tokenizer.json")));
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(arguments.data, run.problem));
  ASSIGN_OR_RETURN(const PartitionSpec partition, ParsePartition(arguments.partition));
  ASSIGN_OR_RETURN(const auto examples, MakeExamples(run.problem, tokenizer, table, /*need_labels=*/true));
  ASSIGN_OR_RETURN(const auto labels, RowLabels(run.problem, table));
  ASSIGN_OR_RETURN(auto dealt, PartitionRows(partition, table, labels, arguments.clients, run.seed));
  std::vector<Part> parts;
  for (std::vector<std::uint32_t>& rows : dealt) {
    Part part{.rows = std::move(rows), .lengths = {}};
    for (const std::uint32_t row : part.rows) {
      part.lengths.push_back(static_cast<std::uint32_t>(examples[row].ids.size()));
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

nlohmann::json BatchesOf(const Part& part, const RunSpec& run, std::uint32_t round, const std::string& client) {
  RandomStream order = OrderStream(run.seed, round, client);
  auto batches = ShuffledBatches(part.lengths, static_cast<std::size_t>(run.train.batch_size), order);
  for (std::vector<std::uint32_t>& batch : batches) {
    for (std::uint32_t& row : batch) row = part.rows[row];
  }
  return batches;
}

Status Print(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(arguments.run, arguments.settings));
  ASSIGN_OR_RETURN(const RunSpec run, TranslateRun(loaded.config));
  ASSIGN_OR_RETURN(const std::vector<Part> parts, DealRows(arguments, run));
  for (std::uint32_t round = 1; round <= run.total_rounds(); ++round) {
    nlohmann::json clients = nlohmann::json::array();
    for (std::size_t client = 0; client < parts.size(); ++client) {
      const std::string name = parts.size() == 1 ? arguments.name : arguments.name + "/" + std::to_string(client);
      clients.push_back(BatchesOf(parts[client], run, round, name));
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
