// From a local file to tokenised examples of a run: columns by the run's problem, labels by its list, token ids by the
// base's tokenizer; and dealt to virtual clients.
#pragma once

#include <cstdint>
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

/// The data of a process: one list of examples for each of its virtual clients `range`, out of the `clients` that all
/// rows are dealt to. Errors: MakeExamples' and PartitionRows'.
Result<std::vector<std::vector<Example>>> DealExamples(const RunSpec& run, const Tokenizer& tokenizer,
                                                       const Table& table, const PartitionSpec& partition,
                                                       std::size_t clients, ClientRange range);

/// Reads `path`; where the file has no header line, its columns are taken to be the run's text (and pair) and label
/// column in this order: a first line without the run's text column means "no header" when it has as many fields.
Result<Table> ReadRunTable(const std::string& path, const ProblemSpec& problem);

}  // namespace fedpeft::client
