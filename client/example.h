// Example: one labelled text after tokenisation, what the data readers make and the trainer consumes.
#pragma once

#include <cstdint>
#include <vector>

namespace fedpeft::client {

/// A text of its own within an example of language modelling: the first `prompt` of its tokens are read, not learned.
struct Document {
  std::uint32_t length = 0;
  std::uint32_t prompt = 0;
};

struct Example {
  /// Token ids with special tokens, 1 to max_position_embeddings of them, no padding.
  std::vector<std::int32_t> ids;
  /// Segment of each token (0 first text, 1 second); empty: all 0.
  std::vector<std::int32_t> type_ids;
  /// Classification: index into the run's labels; not read when predicting.
  std::int32_t label = 0;
  /// Regression: the true number; not read when predicting.
  float value = 0;
  /// Language modelling: what `ids` consist of, in order.
  std::vector<Document> documents = {};
};

}  // namespace fedpeft::client
