// From a local file to tokenised examples of a run: columns by the run's problem, labels by its list, token ids by the
// base's tokenizer; and dealt to virtual clients.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/example.h"
#include "client/partition.h"
#include "client/table.h"
#include "configs/run.h"
#include "peft/core/status.h"

namespace fedpeft {
class Tokenizer;
}

namespace fedpeft::client {

/// Label index of every row. Errors: kInvalidArgument for a missing column (it lists those there are) or a label that
/// the run does not have (it names the row and the label).
Result<std::vector<std::int32_t>> RowLabels(const ProblemSpec& problem, const Table& table);

/// Tokenises every row and reads its label or number. With `need_labels` false, rows keep label −1 and the label column
/// may be missing. Errors: kInvalidArgument for a missing column, an unknown label, or what is not a number.
Result<std::vector<Example>> MakeExamples(const ProblemSpec& problem, const Tokenizer& tokenizer, const Table& table,
                                          bool need_labels);

/// What is dealt to virtual clients: the rows to learn, or to evaluate on, and rows that are held out from learning.
struct DealtTables {
  const Table& data;
  std::optional<Table> held_out;
};
struct DealtExamples {
  /// A list a client.
  std::vector<std::vector<Example>> data;
  /// Likewise, a list may be empty; none at all where no rows are held out.
  std::vector<std::vector<Example>> held_out;
};
/// The data of a process: of its virtual clients `range`, out of the `clients` that all rows are dealt to. Held-out
/// rows are dealt as those to learn are (PartitionAlike). Errors: MakeExamples', PartitionRows' and PartitionAlike's.
Result<DealtExamples> DealExamples(const RunSpec& run, const Tokenizer& tokenizer, const DealtTables& tables,
                                   const PartitionSpec& partition, std::size_t clients, ClientRange range);

/// Reads `path`; where the file has no header line, its columns are taken to be the run's text (and pair) and label
/// column in this order: a first line without the run's text column means "no header" when it has as many fields.
Result<Table> ReadRunTable(const std::string& path, const ProblemSpec& problem);

}  // namespace fedpeft::client
