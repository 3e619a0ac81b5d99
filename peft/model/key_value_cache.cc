#include "peft/model/key_value_cache.h"

#include <torch/torch.h>

#include <algorithm>

namespace fedpeft {

namespace {

using torch::Tensor;

constexpr std::int64_t kFewestRows = 64;

/// Room for `rows` rows like those of `like`, the first `kept.size(0)` of them filled.
Tensor Moved(const Tensor& kept, std::int64_t rows, const Tensor& like) {
  Tensor moved = torch::empty({rows, like.size(1)}, like.options());
  if (kept.defined()) moved.narrow(0, 0, kept.size(0)).copy_(kept);
  return moved;
}

}  // namespace

void KeyValueCache::MakeRoom(Layer& layer, const Rows& added, std::int64_t keep) {
  const std::int64_t needed = keep + added.keys.size(0);
  const std::int64_t capacity = std::max(kFewestRows, 2 * needed);
  const auto last = [&](const Tensor& rows) {
    return rows.defined() ? rows.narrow(0, layer.size - keep, keep) : Tensor();
  };
  layer.rows = {Moved(last(layer.rows.keys), capacity, added.keys),
                Moved(last(layer.rows.values), capacity, added.values)};
  layer.size = keep;
}

KeyValueCache::Rows KeyValueCache::Append(std::size_t layer, const Tensor& keys, const Tensor& values,
                                          std::int64_t window) {
  const torch::NoGradGuard no_grad;
  if (layer >= layers_.size()) layers_.resize(layer + 1);
  Layer& cached = layers_[layer];
  const std::int64_t added = keys.size(0);
  // The first of the new tokens sees itself and window − 1 before it.
  const std::int64_t seen = window > 0 ? std::min(cached.size, window - 1) : cached.size;
  const std::int64_t capacity = cached.rows.keys.defined() ? cached.rows.keys.size(0) : 0;
  if (cached.size + added > capacity) MakeRoom(cached, {keys, values}, seen);
  cached.rows.keys.narrow(0, cached.size, added).copy_(keys);
  cached.rows.values.narrow(0, cached.size, added).copy_(values);
  cached.size += added;
  const std::int64_t all = seen + added;
  return {cached.rows.keys.narrow(0, cached.size - all, all), cached.rows.values.narrow(0, cached.size - all, all)};
}

}  // namespace fedpeft
