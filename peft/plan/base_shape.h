// BaseShape: the dimensions of a frozen base model, without its weights and without LibTorch. A run's YAML carries it,
// so that the coordinator plans the same layout as the clients. What a forward pass needs beyond it is BaseSettings
// (base_config.h); what can be attached to is in sites.h.
#pragma once

#include <cstdint>
#include <string>

#include "peft/core/status.h"

namespace fedpeft {

/// Names as in Hugging Face's config.json, under which families that say it otherwise (`n_embd`) are read too.
struct BaseShape {
  std::string model_type;
  std::int64_t hidden_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
  /// Heads of keys and values, each shared by num_attention_heads / kv_heads() queries; 0: as many as queries.
  std::int64_t num_key_value_heads = 0;
  /// Width of a head; 0: hidden_size / num_attention_heads.
  std::int64_t head_dim = 0;
  /// Learned positions before that of the first token (RoBERTa: its padding token and one more).
  std::int64_t position_offset = 0;
  /// Rows of the table of token types. 0: the family has none, or a run leaves it out, which only training the whole
  /// base minds.
  std::int64_t type_vocab_size = 0;
  /// Of the families after Llama: biases of the attention's linears, and of the feed-forward's.
  bool attention_bias = false;
  bool mlp_bias = false;
  /// The language-model head is the token embedding.
  bool tie_word_embeddings = false;

  std::int64_t kv_heads() const { return num_key_value_heads > 0 ? num_key_value_heads : num_attention_heads; }
  /// Pre: num_attention_heads > 0.
  std::int64_t head_width() const { return head_dim > 0 ? head_dim : hidden_size / num_attention_heads; }
  /// Tokens of the longest sequence.
  std::int64_t longest() const { return max_position_embeddings - position_offset; }

  /// Whether they mean the same: a 0 equals what it stands for. Pre: both checked.
  bool operator==(const BaseShape& other) const;
};

/// Range checks that bound what planning may allocate. Errors: kInvalidArgument naming the key; kUnimplemented for a
/// model_type that is not built in (it lists those that are).
Status CheckBaseShape(const BaseShape& shape);

}  // namespace fedpeft
