#include "client/documents.h"

#include <algorithm>
#include <string>
#include <utility>

#include "configs/template.h"
#include "peft/core/check.h"
#include "peft/core/log.h"
#include "peft/text/tokenizer.h"

namespace fedpeft::client {

namespace {

/// A template with its columns found in a table.
class Filler {
 public:
  static Result<Filler> Make(const std::string& text, const Table& table) {
    Result<TextTemplate> parsed = TextTemplate::Parse(text);
    if (!parsed.ok()) return parsed.status().Annotate("template \"" + text + "\"");
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
  /// Fill leaves out what stands after the last column, such as the end of a text.
  void DropEnd() {
    while (!pieces_.empty() && !pieces_.back().first.is_column) pieces_.pop_back();
  }

 private:
  std::vector<std::pair<TextTemplate::Piece, std::size_t>> pieces_;
};

void AddDocument(std::span<const std::int32_t> ids, std::size_t prompt, Example& example) {
  example.ids.insert(example.ids.end(), ids.begin(), ids.end());
  example.documents.push_back({static_cast<std::uint32_t>(ids.size()), static_cast<std::uint32_t>(prompt)});
}

/// How many ids both begin with.
std::size_t InCommon(std::span<const std::int32_t> a, std::span<const std::int32_t> b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

/// Pieces that overlap by one token, which is learned at the end of the one alone.
Example Cut(std::span<const std::int32_t> ids, std::size_t max_length) {
  Example example;
  for (std::size_t at = 0; at + 1 < ids.size(); at += max_length - 1) {
    AddDocument(ids.subspan(at, std::min(max_length, ids.size() - at)), /*prompt=*/at > 0 ? 1 : 0, example);
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
  std::size_t without_room = 0;
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const std::string before = prompt.Fill(table.rows[row]);
    const Result<Encoding> whole = tokenizer.Encode(before + response.Fill(table.rows[row]), {});
    if (!whole.ok()) return whole.status().Annotate("row " + std::to_string(row + 1));
    if (before.empty()) {
      examples.push_back(Cut(whole->ids, max_length));
      continue;
    }
    ASSIGN_OR_RETURN(const Encoding alone, tokenizer.Encode(before, {}));
    const std::size_t common = InCommon(whole->ids, alone.ids), length = std::min(whole->ids.size(), max_length);
    Example& example = examples.emplace_back();
    if (std::max<std::size_t>(common, 1) < length) AddDocument(std::span(whole->ids).first(length), common, example);
    if (common >= max_length) ++without_room;
  }
  if (without_room > 0) {
    LogWarning("documents.left_out",
               {{"rows", std::uint64_t{without_room}},
                {"of", std::uint64_t{table.rows.size()}},
                {"reason", "their prompts alone have problem.max_length tokens (" + std::to_string(max_length) + ")"}});
  }
  return examples;
}

Result<std::vector<std::string>> MakePrompts(const ProblemSpec& problem, const Table& table) {
  const bool goes_on = problem.prompt.empty();
  ASSIGN_OR_RETURN(Filler filler, Filler::Make(goes_on ? problem.response : problem.prompt, table));
  if (goes_on) filler.DropEnd();
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
