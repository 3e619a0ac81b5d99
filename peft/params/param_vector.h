// ParamVector: the values of a layout in one aligned float buffer, and how they are gathered into and scattered from a
// payload. Copying is explicit.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "peft/params/layout.h"

namespace fedpeft {

/// Calls `use(first, count)` for the elements of a buffer laid out as `layout` that travel, range after range in the
/// payload's order.
template <typename Use>
void ForEachRange(const ParamLayout& layout, const PayloadLayout& payload, Use use) {
  for (const Segment& segment : payload.segments) {
    const std::size_t first = layout.offset(segment.tensor), size = layout.offset(segment.tensor + 1) - first;
    if (!segment.ranks) {
      use(first, size);
      continue;
    }
    // Rows of a rank's values, or of all ranks' values.
    const TensorSpec& spec = layout.tensors()[segment.tensor];
    const std::size_t ranks = RanksOf(spec);
    const bool columns = spec.role == Role::kLoraB;
    const std::size_t rows = columns ? size / ranks : 1, count = columns ? 1 : size / ranks;
    for (std::size_t row = 0; row < rows; ++row) {
      for (const std::uint32_t rank : *segment.ranks) use(first + row * ranks + rank * count, count);
    }
  }
}
/// The elements that travel, of `values`; and back to where they belong. Pre: lengths fit.
std::vector<float> Pick(const ParamLayout& layout, const PayloadLayout& payload, std::span<const float> values);
void Put(const ParamLayout& layout, const PayloadLayout& payload, std::span<const float> picked,
         std::span<float> values);

class ParamVector;
/// By the masks among the parameters: of each tensor at a site with a mask the ranks that are in use, where not all
/// are.
KeptRanks KeptRanksOf(const ParamVector& params);

class ParamVector {
 public:
  /// Zeros.
  explicit ParamVector(std::shared_ptr<const ParamLayout> layout);
  /// The initial values of a run: each tensor by its law, from the stream (seed, "init", tensor name). The same bits on
  /// every platform.
  static ParamVector Initial(std::shared_ptr<const ParamLayout> layout, std::uint64_t seed);

  ParamVector(ParamVector&&) noexcept = default;
  ParamVector& operator=(ParamVector&&) noexcept = default;
  ParamVector Clone() const;

  const std::shared_ptr<const ParamLayout>& layout() const { return layout_; }
  /// All values, tensor after tensor, row-major; 64-byte aligned.
  std::span<float> values() { return {data_.get(), layout_->size()}; }
  std::span<const float> values() const { return {data_.get(), layout_->size()}; }
  std::span<float> tensor(std::size_t index) { return values().subspan(layout_->offset(index), Length(index)); }
  std::span<const float> tensor(std::size_t index) const {
    return values().subspan(layout_->offset(index), Length(index));
  }

  /// What travels as little-endian float32, in the payload's order.
  Bytes Gather(const PayloadLayout& payload) const;
  /// Overwrites what travels. Errors: kInvalidArgument when the length differs, or a value is not finite.
  Status Scatter(const PayloadLayout& payload, ByteSpan bytes);

 private:
  struct FreeAligned {
    void operator()(float* data) const;
  };
  std::size_t Length(std::size_t index) const { return layout_->offset(index + 1) - layout_->offset(index); }

  std::shared_ptr<const ParamLayout> layout_;
  std::unique_ptr<float[], FreeAligned> data_;
};

}  // namespace fedpeft
