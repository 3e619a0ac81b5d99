// KeyValueCache: the keys and values of the tokens that a decoder has seen of one sequence, so that the next token
// costs one row and not the whole sequence again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "peft/model/attention.h"

namespace fedpeft {

/// Memory: a layer with a window holds at most twice its window and what was appended last; another one at most twice
/// its tokens. One sequence on one base; not for two threads at once.
class KeyValueCache {
 public:
  using Rows = KeyValues;

  /// Tokens taken up by all layers.
  std::int64_t length() const { return length_; }

  /// Takes up a layer's keys and values of n further tokens, [n, Hkv·D] each, placed at their positions. Returns what
  /// these tokens may look at, oldest first and they themselves last, valid until the next call for that layer.
  /// `window` as AttentionSpec's.
  Rows Append(std::size_t layer, const at::Tensor& keys, const at::Tensor& values, std::int64_t window);

  /// After all layers have appended n tokens.
  void Advance(std::int64_t n) { length_ += n; }

 private:
  /// The first `size` rows of tensors that have room for more.
  struct Layer {
    Rows rows;
    std::int64_t size = 0;
  };
  static void MakeRoom(Layer& layer, const Rows& added, std::int64_t keep);

  std::vector<Layer> layers_;
  std::int64_t length_ = 0;
};

}  // namespace fedpeft
