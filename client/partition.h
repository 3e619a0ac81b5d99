// How the rows of one data file are dealt to the virtual clients of a process. Reproducible: the same seed deals alike.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/table.h"
#include "peft/core/status.h"

namespace fedpeft::client {

struct PartitionSpec {
  enum class Kind { kIid, kDirichlet, kColumn } kind = Kind::kIid;
  /// Concentration of kDirichlet: smaller is more skewed.
  double alpha = 1;
  /// The column whose values are kept together (a speaker, a site).
  std::string column;
};

/// `iid`, `dirichlet:ALPHA` or `column:NAME`. Errors: kInvalidArgument.
Result<PartitionSpec> ParsePartition(std::string_view text);

/// The virtual clients of one process, of all that the data is dealt to: `first` up to and without `end`, from 0.
struct ClientRange {
  std::size_t first = 0;
  std::size_t end = 1;
};

/// `FIRST:END` out of `clients`; nothing: all of them. Errors: kInvalidArgument unless FIRST < END <= clients.
Result<ClientRange> ParseClientRange(std::string_view text, std::size_t clients);

/// Row numbers of each of `clients` parts, ascending: the only part of one client is the data as it is.
/// kIid: a shuffle cut into parts whose sizes differ by at most one. kDirichlet: each label's rows are split by shares
/// from Dirichlet(alpha) (Hsu et al. 2019). kColumn: whole groups, largest first, each to the part with the fewest
/// rows. `labels[i]` is row i's label index (used by kDirichlet). Every part gets at least one row. Errors:
/// kInvalidArgument for more clients than rows (or groups), or a column that is not there.
Result<std::vector<std::vector<std::uint32_t>>> PartitionRows(const PartitionSpec& spec, const Table& table,
                                                              const std::vector<std::int32_t>& labels,
                                                              std::size_t clients, std::uint64_t seed);

/// Rows of a table as PartitionRows takes them.
struct LabelledRows {
  const Table& table;
  const std::vector<std::int32_t>& labels;
};
/// Row numbers of `rows` for each of the parts that PartitionRows made of `dealt`, dealt alike: kIid into parts of near
/// sizes; kDirichlet each label's rows by the parts' shares of it; kColumn each group to the part that has its value,
/// and those of values that none has to nobody. A part may be empty. Errors: kInvalidArgument for a column that is not
/// there.
Result<std::vector<std::vector<std::uint32_t>>> PartitionAlike(const PartitionSpec& spec, const LabelledRows& rows,
                                                               const LabelledRows& dealt,
                                                               const std::vector<std::vector<std::uint32_t>>& parts,
                                                               std::uint64_t seed);

}  // namespace fedpeft::client
