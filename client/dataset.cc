#include "client/dataset.h"

#include <charconv>
#include <cmath>
#include <unordered_map>

#include "client/documents.h"
#include "peft/core/check.h"
#include "peft/core/files.h"
#include "peft/text/tokenizer.h"

namespace fedpeft::client {

namespace {
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{4} << 30;
constexpr float kMaxValue = 1e4F;
}  // namespace

Result<std::vector<std::int32_t>> RowLabels(const ProblemSpec& problem, const Table& table) {
  ASSIGN_OR_RETURN(const std::size_t column, table.NeedColumn(problem.label_column));
  std::unordered_map<std::string_view, std::int32_t> index;
  for (const std::string& label : problem.labels) index.emplace(label, static_cast<std::int32_t>(index.size()));
  std::vector<std::int32_t> labels;
  labels.reserve(table.rows.size());
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const auto found = index.find(table.rows[row][column]);
    if (found == index.end()) {
      return InvalidArgument("row " + std::to_string(row + 1) + ": label \"" + table.rows[row][column] +
                             "\" is not one of the run's " + std::to_string(problem.labels.size()) + " labels");
    }
    labels.push_back(found->second);
  }
  return labels;
}

namespace {

/// The number in every row's label column.
Result<std::vector<float>> RowValues(const ProblemSpec& problem, const Table& table) {
  ASSIGN_OR_RETURN(const std::size_t column, table.NeedColumn(problem.label_column));
  std::vector<float> values;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::string& text = table.rows[row][column];
    float value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(std::abs(value) <= kMaxValue)) {
      return InvalidArgument("row " + std::to_string(row + 1) + ": got \"" + text + "\" in column " +
                             problem.label_column + ", want a number of at most 1e4 (scale the column)");
    }
    values.push_back(value);
  }
  return values;
}

Status SetTargets(const ProblemSpec& problem, const Table& table, std::vector<Example>& examples) {
  if (problem.type == ProblemType::kRegression) {
    ASSIGN_OR_RETURN(const std::vector<float> values, RowValues(problem, table));
    for (std::size_t row = 0; row < values.size(); ++row) examples[row].value = values[row];
    return OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<std::int32_t> labels, RowLabels(problem, table));
  for (std::size_t row = 0; row < labels.size(); ++row) examples[row].label = labels[row];
  return OkStatus();
}

}  // namespace

Result<std::vector<Example>> MakeExamples(const ProblemSpec& problem, const Tokenizer& tokenizer, const Table& table,
                                          bool need_labels) {
  if (problem.type == ProblemType::kLanguageModelling) {
    ASSIGN_OR_RETURN(const std::vector<Example> documents, MakeDocuments(problem, tokenizer, table));
    return PackDocuments(documents, static_cast<std::size_t>(problem.max_length));
  }
  ASSIGN_OR_RETURN(const std::size_t text, table.NeedColumn(problem.text_column));
  const bool pairs = !problem.text_pair_column.empty();
  std::size_t second = 0;
  if (pairs) {
    ASSIGN_OR_RETURN(second, table.NeedColumn(problem.text_pair_column));
  }
  EncodeOptions options;
  options.max_length = static_cast<std::size_t>(problem.max_length);
  std::vector<Example> examples;
  examples.reserve(table.rows.size());
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::vector<std::string>& fields = table.rows[row];
    ASSIGN_OR_RETURN(Encoding encoding, pairs ? tokenizer.EncodePair(fields[text], fields[second], options)
                                              : tokenizer.Encode(fields[text], options));
    Example example{std::move(encoding.ids), {}, /*label=*/-1};
    if (pairs) example.type_ids = std::move(encoding.type_ids);
    examples.push_back(std::move(example));
  }
  if (need_labels) RETURN_IF_ERROR(SetTargets(problem, table, examples));
  return examples;
}

namespace {

/// A table's rows as examples, of language modelling not yet packed, and the labels to deal them by.
struct RowExamples {
  std::vector<Example> examples;
  std::vector<std::int32_t> labels;
};

Result<RowExamples> MakeRowExamples(const RunSpec& run, const Tokenizer& tokenizer, const Table& table) {
  const bool language = run.problem.type == ProblemType::kLanguageModelling;
  Result<std::vector<Example>> examples =
      language ? MakeDocuments(run.problem, tokenizer, table) : MakeExamples(run.problem, tokenizer, table, true);
  if (!examples.ok()) return examples.status().Annotate(table.file);
  RowExamples rows{std::move(*examples), {}};
  for (const Example& example : rows.examples) rows.labels.push_back(example.label);
  return rows;
}

std::vector<Example> Take(const RunSpec& run, std::vector<Example>& examples, const std::vector<std::uint32_t>& part) {
  std::vector<Example> own;
  for (const std::uint32_t row : part) own.push_back(std::move(examples[row]));
  if (run.problem.type != ProblemType::kLanguageModelling) return own;
  return PackDocuments(own, static_cast<std::size_t>(run.problem.max_length));
}

}  // namespace

Result<DealtExamples> DealExamples(const RunSpec& run, const Tokenizer& tokenizer, const DealtTables& tables,
                                   const PartitionSpec& partition, std::size_t clients, ClientRange range) {
  FEDPEFT_CHECK(range.first < range.end && range.end <= clients);
  if (partition.kind == PartitionSpec::Kind::kDirichlet && run.problem.type != ProblemType::kClassification) {
    return InvalidArgument("partition: got dirichlet, want iid or a column (it splits classes, and the run has none)");
  }
  ASSIGN_OR_RETURN(RowExamples rows, MakeRowExamples(run, tokenizer, tables.data));
  const auto parts = PartitionRows(partition, tables.data, rows.labels, clients, run.seed);
  if (!parts.ok()) return parts.status().Annotate(tables.data.file);
  DealtExamples dealt;
  for (std::size_t client = range.first; client < range.end; ++client) {
    dealt.data.push_back(Take(run, rows.examples, (*parts)[client]));
    if (dealt.data.back().empty()) {
      return InvalidArgument("client " + std::to_string(client) + ": its rows of " + tables.data.file +
                             " have nothing to learn");
    }
  }
  if (!tables.held_out) return dealt;
  ASSIGN_OR_RETURN(RowExamples held_out, MakeRowExamples(run, tokenizer, *tables.held_out));
  const auto alike =
      PartitionAlike(partition, {*tables.held_out, held_out.labels}, {tables.data, rows.labels}, *parts, run.seed);
  if (!alike.ok()) return alike.status().Annotate(tables.held_out->file);
  for (std::size_t client = range.first; client < range.end; ++client) {
    dealt.held_out.push_back(Take(run, held_out.examples, (*alike)[client]));
  }
  return dealt;
}

Result<Table> ReadRunTable(const std::string& path, const ProblemSpec& problem) {
  ASSIGN_OR_RETURN(const TableFormat format, FormatOfPath(path));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  Result<Table> table = ParseTable(path, text, format);
  const bool names_columns = format == TableFormat::kJsonLines || format == TableFormat::kText ||
                             problem.type == ProblemType::kLanguageModelling;
  if (names_columns || !table.ok() || table->Column(problem.text_column)) return table;
  std::vector<std::string> header = {problem.text_column, problem.label_column};
  if (!problem.text_pair_column.empty()) header.insert(header.begin() + 1, problem.text_pair_column);
  if (table->columns.size() != header.size()) return table;
  return ParseTable(path, text, format, header);
}

}  // namespace fedpeft::client
