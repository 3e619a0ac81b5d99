// Language modelling's data: a row of the table is a document, perhaps with a prompt that is read and not learned, and
// documents share training examples of about problem.max_length tokens. They never see each other: each keeps its own
// positions and attention.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "client/example.h"
#include "client/table.h"
#include "configs/run.h"
#include "peft/core/status.h"

namespace fedpeft {
class Tokenizer;
}

namespace fedpeft::client {

/// One example a row. Without a prompt a text longer than max_length is cut into pieces, each beginning with the last
/// token of the one before, so that every token but the first is predicted once. With a prompt the end of the response
/// is cut off. The prompt is the tokens that its own encoding and that of the whole text have in common at the start. A
/// text without a token to predict gives an example without documents, and so does a prompt that leaves no room for a
/// response, which the log counts.
/// Errors: kInvalidArgument for a missing column; the tokenizer's, naming the row.
Result<std::vector<Example>> MakeDocuments(const ProblemSpec& problem, const Tokenizer& tokenizer, const Table& table);

/// What a model is given of each row to go on from: the prompt, or without one the text that is learned up to its last
/// column. The table needs no columns of an unread response. Errors: kInvalidArgument for a missing column.
Result<std::vector<std::string>> MakePrompts(const ProblemSpec& problem, const Table& table);

/// The documents of `rows`, in their order, in examples of at most `max_length` tokens.
std::vector<Example> PackDocuments(std::span<const Example> rows, std::size_t max_length);

}  // namespace fedpeft::client
