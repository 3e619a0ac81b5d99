// The smallest run: every key that has no default, in known places.
#pragma once

namespace fedpeft::configs::testing {

inline constexpr char kSampleRun[] = R"(name: sample
base:
  model_type: bert
  weights_sha256: "00000000000000000000000000000000000000000000000000000000000000aa"
  tokenizer_sha256: "00000000000000000000000000000000000000000000000000000000000000bb"
  hidden_size: 12
  num_hidden_layers: 2
  num_attention_heads: 3
  intermediate_size: 24
  vocab_size: 100
  max_position_embeddings: 128
problem:
  labels: [no, yes, maybe]
schedule:
  - rounds: 3
)";

}  // namespace fedpeft::configs::testing
