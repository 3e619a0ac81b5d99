#include "client/table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace fedpeft::client {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

Status BadLine(std::string_view name, std::size_t line, const std::string& what) {
  return InvalidArgument(std::string(name) + ":" + std::to_string(line) + ": " + what);
}

/// Cuts delimiter-separated text into records, one at a time.
class RecordReader {
 public:
  RecordReader(std::string_view name, std::string_view text, TableFormat format)
      : name_(name),
        text_(text),
        separator_(format == TableFormat::kCsv ? ',' : '\t'),
        quotes_(format == TableFormat::kCsv) {
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  }

  bool done() const { return at_ >= text_.size(); }
  /// The line on which the last record began.
  std::size_t line() const { return record_line_; }

  Status Next(std::vector<std::string>& fields) {
    fields.clear();
    record_line_ = line_;
    while (true) {
      std::string field;
      RETURN_IF_ERROR(quotes_ && Peek() == '"' ? QuotedField(field) : PlainField(field));
      fields.push_back(std::move(field));
      if (at_ >= text_.size()) return OkStatus();
      const char end = text_[at_++];
      if (end == separator_) continue;
      if (end == '\r' && Peek() == '\n') ++at_;
      ++line_;
      return OkStatus();
    }
  }

 private:
  int Peek() const { return at_ < text_.size() ? text_[at_] : -1; }

  Status PlainField(std::string& field) {
    const std::size_t start = at_;
    while (at_ < text_.size() && text_[at_] != separator_ && text_[at_] != '\n' &&
           !(text_[at_] == '\r' && (at_ + 1 == text_.size() || text_[at_ + 1] == '\n'))) {
      ++at_;
    }
    field.assign(text_.substr(start, at_ - start));
    return OkStatus();
  }

  /// Pre: at a quote. Two quotes stand for one; line breaks are content.
  Status QuotedField(std::string& field) {
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\n') ++line_;
      if (c != '"') {
        field.push_back(c);
      } else if (Peek() == '"') {
        field.push_back('"');
        ++at_;
      } else {
        const int next = Peek();
        if (next == -1 || next == separator_ || next == '\n' || next == '\r') return OkStatus();
        return BadLine(name_, line_, "text after a closing quote (double the quotes inside a quoted field)");
      }
    }
    return BadLine(name_, record_line_, "a quoted field is not closed");
  }

  std::string_view name_;
  std::string_view text_;
  char separator_;
  bool quotes_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t record_line_ = 1;
};

Status CheckColumns(std::string_view name, const std::vector<std::string>& columns) {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].empty()) return BadLine(name, 1, "column " + std::to_string(i + 1) + " has no name");
    if (std::count(columns.begin(), columns.end(), columns[i]) > 1) {
      return BadLine(name, 1, "column \"" + columns[i] + "\" appears twice");
    }
  }
  return OkStatus();
}

Result<Table> ParseSeparated(std::string_view name, std::string_view text, TableFormat format,
                             const std::vector<std::string>& header) {
  RecordReader reader(name, text, format);
  Table table;
  table.columns = header;
  if (header.empty() && !reader.done()) RETURN_IF_ERROR(reader.Next(table.columns));
  RETURN_IF_ERROR(CheckColumns(name, table.columns));
  std::vector<std::string> fields;
  while (!reader.done()) {
    RETURN_IF_ERROR(reader.Next(fields));
    if (fields.size() == 1 && fields[0].empty()) continue;  // an empty line
    if (fields.size() != table.columns.size()) {
      return BadLine(name, reader.line(),
                     "has " + std::to_string(fields.size()) + " fields, want " + std::to_string(table.columns.size()));
    }
    table.rows.push_back(std::move(fields));
  }
  return table;
}

Result<std::string> JsonText(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (value.is_null()) return std::string();
  return InvalidArgument("want text, a number or a boolean");
}

Result<Table> ParseJsonLines(std::string_view name, std::string_view text) {
  Table table;
  std::size_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) return BadLine(name, line_number, "is not a JSON object");
    if (table.rows.empty() && table.columns.empty()) {
      for (const auto& [key, value] : object.items()) table.columns.push_back(key);
    }
    std::vector<std::string> row;
    for (const std::string& column : table.columns) {
      const auto value = object.find(column);
      if (value == object.end()) return BadLine(name, line_number, "has no key \"" + column + "\"");
      Result<std::string> field = JsonText(*value);
      if (!field.ok()) return BadLine(name, line_number, "key \"" + column + "\": " + field.status().message());
      row.push_back(std::move(*field));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table ParseText(std::string_view text) {
  Table table{{"text"}, {}, {}};
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos) table.rows.push_back({std::string(line)});
  }
  return table;
}

}  // namespace

std::optional<std::size_t> Table::Column(std::string_view name) const {
  const auto found = std::find(columns.begin(), columns.end(), name);
  if (found == columns.end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns.begin());
}

Result<std::size_t> Table::NeedColumn(std::string_view name) const {
  if (const auto index = Column(name)) return *index;
  std::string known;
  for (const std::string& column : columns) known.append(known.empty() ? "" : ", ").append(column);
  return InvalidArgument("the data has no column \"" + std::string(name) + "\" (it has: " + known + ")");
}

Result<TableFormat> FormatOfPath(const std::string& path) {
  if (path.ends_with(".csv")) return TableFormat::kCsv;
  if (path.ends_with(".tsv")) return TableFormat::kTsv;
  if (path.ends_with(".jsonl") || path.ends_with(".json") || path.ends_with(".ndjson")) return TableFormat::kJsonLines;
  if (path.ends_with(".txt")) return TableFormat::kText;
  return InvalidArgument(path + ": cannot tell the format, want a name that ends in .csv, .tsv, .jsonl or .txt");
}

Result<Table> ParseTable(std::string_view name, std::string_view text, TableFormat format,
                         const std::vector<std::string>& header) {
  const auto parse = [&]() -> Result<Table> {
    if (format == TableFormat::kJsonLines) return ParseJsonLines(name, text);
    if (format == TableFormat::kText) return ParseText(text);
    return ParseSeparated(name, text, format, header);
  };
  Result<Table> table = parse();
  if (!table.ok()) return table;
  table->file = name;
  if (table->rows.empty()) return InvalidArgument(table->file + ": has no rows");
  return table;
}

}  // namespace fedpeft::client
