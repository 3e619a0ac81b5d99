#include "client/documents.h"

#include <algorithm>
#include <string>
#include <utility>

#include "configs/template.h"
#include "peft/core/check.h"
#include "peft/text/tokenizer.h"

namespace fedpeft::client {

namespace {

/// A template with its columns found in a table.
class Filler {
 public:
  static Result<Filler> Make(const std::string& text, const Table& table) {
    Result<TextTemplate> parsed = TextTemplate::Parse(text);
    if (!parsed.ok()) return parsed.status().Annotate("template");
    Filler filler;
    for (const TextTemplate::Piece& piece : parsed->pieces()) {
      std::size_t column = 0;
      if (piece.is_column) {
        ASSIGN_OR_RETURN(column, table.NeedColumn(piece.text));
      }
      filler.pieces_.emplace_back(piece, column);
    }
    return filler;
  }
  std::string Fill(const std::vector<std::string>& row) const {
    std::string text;
    for (const auto& [piece, column] : pieces_) text += piece.is_column ? row[column] : piece.text;
    return text;
  }

 private:
  std::vector<std::pair<TextTemplate::Piece, std::size_t>> pieces_;
};

void AddDocument(std::span<const std::int32_t> ids, std::size_t prompt, Example& example) {
  example.ids.insert(example.ids.end(), ids.begin(), ids.end());
  example.documents.push_back({static_cast<std::uint32_t>(ids.size()), static_cast<std::uint32_t>(prompt)});
}

/// Pieces that overlap by one token.
Example Cut(std::span<const std::int32_t> ids, std::size_t max_length) {
  Example example;
  for (std::size_t at = 0; at + 1 < ids.size(); at += max_length - 1) {
    AddDocument(ids.subspan(at, std::min(max_length, ids.size() - at)), /*prompt=*/0, example);
  }
  return example;
}

}  // namespace

Result<std::vector<Example>> MakeDocuments(const ProblemSpec& problem, const Tokenizer& tokenizer, const Table& table) {
  FEDPEFT_CHECK(problem.max_length >= 2);
  const auto max_length = static_cast<std::size_t>(problem.max_length);
  ASSIGN_OR_RETURN(const Filler prompt, Filler::Make(problem.prompt, table));
  ASSIGN_OR_RETURN(const Filler response, Filler::Make(problem.response, table));
  std::vector<Example> examples;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::string before = prompt.Fill(table.rows[row]);
    ASSIGN_OR_RETURN(const Encoding whole, tokenizer.Encode(before + response.Fill(table.rows[row]), {}));
    if (before.empty()) {
      examples.push_back(Cut(whole.ids, max_length));
      continue;
    }
    ASSIGN_OR_RETURN(const Encoding alone, tokenizer.Encode(before, {}));
    const auto differ = std::mismatch(whole.ids.begin(), whole.ids.end(), alone.ids.begin(), alone.ids.end()).first;
    const auto common = static_cast<std::size_t>(differ - whole.ids.begin());
    if (common >= max_length) {
      return InvalidArgument("row " + std::to_string(row + 1) + ": its prompt has " + std::to_string(common) +
                             " tokens, want less than problem.max_length (" + std::to_string(max_length) + ")");
    }
    Example example;
    const std::size_t length = std::min(whole.ids.size(), max_length);
    if (std::max<std::size_t>(common, 1) < length) AddDocument(std::span(whole.ids).first(length), common, example);
    examples.push_back(std::move(example));
  }
  return examples;
}

Result<std::vector<std::string>> MakePrompts(const ProblemSpec& problem, const Table& table) {
  ASSIGN_OR_RETURN(const Filler filler,
                   Filler::Make(problem.prompt.empty() ? problem.response : problem.prompt, table));
  std::vector<std::string> prompts;
  for (const std::vector<std::string>& row : table.rows) prompts.push_back(filler.Fill(row));
  return prompts;
}

std::vector<Example> PackDocuments(std::span<const Example> rows, std::size_t max_length) {
  std::vector<Example> packed;
  for (const Example& row : rows) {
    std::size_t at = 0;
    for (const Document& document : row.documents) {
      if (packed.empty() || packed.back().ids.size() + document.length > max_length) packed.emplace_back();
      AddDocument(std::span(row.ids).subspan(at, document.length), document.prompt, packed.back());
      at += document.length;
    }
  }
  return packed;
}

}  // namespace fedpeft::client
