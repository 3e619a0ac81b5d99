// Table: a local data file as named columns of text. CSV (RFC 4180), TSV, JSON lines and plain text; told apart by the
// file's ending. The file is the client's own, yet every malformed row is an error with its line: silently dropped rows
// would change what a client trains on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft::client {

enum class TableFormat { kCsv, kTsv, kJsonLines, kText };

struct Table {
  std::vector<std::string> columns;
  /// rows[i].size() == columns.size().
  std::vector<std::vector<std::string>> rows;
  /// Where they are from, for messages.
  std::string file = {};

  std::optional<std::size_t> Column(std::string_view name) const;
  /// Errors: kInvalidArgument listing the columns there are.
  Result<std::size_t> NeedColumn(std::string_view name) const;
};

/// `.csv`, `.tsv`, `.jsonl` (also `.json` and `.ndjson`: one object a line), `.txt`. Errors: kInvalidArgument.
Result<TableFormat> FormatOfPath(const std::string& path);

/// `name` starts the messages. The first line names the columns; where there is none, `header` gives them (for TSV and
/// CSV without a header line). For JSON lines the columns are the keys of the first object, and each further object
/// must have them; numbers and booleans become their JSON text. Plain text has one column, `text`, and a row for each
/// line that is not blank. Errors: kInvalidArgument `name:line: …`.
Result<Table> ParseTable(std::string_view name, std::string_view text, TableFormat format,
                         const std::vector<std::string>& header = {});

}  // namespace fedpeft::client
