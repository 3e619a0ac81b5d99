#include "client/example_batch.h"

#include <utility>

namespace fedpeft::client {

std::vector<ExampleSequence> SequencesOf(std::span<const Example> examples, std::span<const std::uint32_t> rows) {
  std::vector<ExampleSequence> sequences;
  for (std::size_t owner = 0; owner < rows.size(); ++owner) {
    const Example& example = examples[rows[owner]];
    if (example.documents.empty()) sequences.push_back({owner, 0, example.ids.size()});
    std::size_t first = 0;
    for (const Document& document : example.documents) {
      sequences.push_back({owner, first, document.length});
      first += document.length;
    }
  }
  return sequences;
}

Result<ExampleBatch> PackRows(std::span<const Example> examples, std::span<const std::uint32_t> rows,
                              const SequenceLimits& limits, const Lead& lead) {
  std::vector<TokenSequence> sequences;
  for (const ExampleSequence& sequence : SequencesOf(examples, rows)) {
    const Example& example = examples[rows[sequence.owner]];
    const std::span<const std::int32_t> ids = std::span(example.ids).subspan(sequence.first, sequence.length);
    sequences.push_back(
        {ids, example.documents.empty() ? std::span(example.type_ids) : std::span<const std::int32_t>()});
  }
  ASSIGN_OR_RETURN(PackedBatch packed, Pack(sequences, limits, lead));
  return ExampleBatch{examples, rows, std::move(packed)};
}

std::vector<std::int64_t> OwnersOf(std::span<const Example> examples, std::span<const std::uint32_t> rows) {
  std::vector<std::int64_t> owners;
  for (const ExampleSequence& sequence : SequencesOf(examples, rows)) {
    owners.push_back(static_cast<std::int64_t>(sequence.owner));
  }
  return owners;
}

std::vector<std::uint32_t> LengthsOf(std::span<const Example> examples) {
  std::vector<std::uint32_t> lengths;
  for (const Example& example : examples) lengths.push_back(static_cast<std::uint32_t>(example.ids.size()));
  return lengths;
}

}  // namespace fedpeft::client
