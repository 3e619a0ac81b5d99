#include "client/example_batch.h"

#include <algorithm>
#include <utility>

namespace fedpeft::client {

Result<ExampleBatch> PackRows(std::span<const Example> examples, std::span<const std::uint32_t> rows,
                              const SequenceLimits& limits, const Lead& lead) {
  std::vector<TokenSequence> sequences;
  for (const std::uint32_t row : rows) {
    const Example& example = examples[row];
    if (example.documents.empty()) sequences.push_back({example.ids, example.type_ids});
    std::size_t at = 0;
    for (const Document& document : example.documents) {
      sequences.push_back({std::span(example.ids).subspan(at, document.length), {}});
      at += document.length;
    }
  }
  ASSIGN_OR_RETURN(PackedBatch packed, Pack(sequences, limits, lead));
  return ExampleBatch{examples, rows, std::move(packed)};
}

std::vector<std::int64_t> OwnersOf(std::span<const Example> examples, std::span<const std::uint32_t> rows) {
  std::vector<std::int64_t> owners;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t sequences = std::max<std::size_t>(1, examples[rows[i]].documents.size());
    owners.insert(owners.end(), sequences, static_cast<std::int64_t>(i));
  }
  return owners;
}

std::vector<std::uint32_t> LengthsOf(std::span<const Example> examples) {
  std::vector<std::uint32_t> lengths;
  for (const Example& example : examples) lengths.push_back(static_cast<std::uint32_t>(example.ids.size()));
  return lengths;
}

}  // namespace fedpeft::client
