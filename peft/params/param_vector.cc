#include "peft/params/param_vector.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <new>
#include <string_view>
#include <utility>

#include "peft/core/random.h"

namespace fedpeft {

namespace {

constexpr std::align_val_t kAlignment{64};

/// Tells the tensors' streams apart by name, so that a tensor's start does not depend on which others are trained.
std::uint64_t NameKey(const std::string& name) {
  return LoadLe<std::uint64_t>(Sha256Of(AsBytes(name)));
}

void FillByLaw(const TensorSpec& spec, std::uint64_t seed, std::span<float> out) {
  RandomStream stream(seed, "init", {NameKey(spec.name)});
  switch (spec.init.kind) {
    case InitLaw::Kind::kZeros:
      std::fill(out.begin(), out.end(), 0.0f);
      return;
    case InitLaw::Kind::kOnes:
      std::fill(out.begin(), out.end(), 1.0f);
      return;
    case InitLaw::Kind::kUniform:
      for (float& value : out) value = static_cast<float>((2 * stream.NextDouble() - 1) * spec.init.scale);
      return;
    case InitLaw::Kind::kNormal:
      for (float& value : out) value = static_cast<float>(stream.NextNormal() * spec.init.scale);
      return;
  }
}

}  // namespace

std::vector<float> Pick(const ParamLayout& layout, const PayloadLayout& payload, std::span<const float> values) {
  std::vector<float> picked;
  picked.reserve(payload.size);
  ForEachRange(layout, payload, [&](std::size_t first, std::size_t count) {
    const std::span<const float> range = values.subspan(first, count);
    picked.insert(picked.end(), range.begin(), range.end());
  });
  return picked;
}

void Put(const ParamLayout& layout, const PayloadLayout& payload, std::span<const float> picked,
         std::span<float> values) {
  ForEachRange(layout, payload, [&](std::size_t first, std::size_t count) {
    std::copy_n(picked.begin(), count, values.begin() + static_cast<std::ptrdiff_t>(first));
    picked = picked.subspan(count);
  });
}

KeptRanks KeptRanksOf(const ParamVector& params) {
  const std::vector<TensorSpec>& specs = params.layout()->tensors();
  KeptRanks kept(specs.size());
  std::map<std::string_view, std::vector<std::uint32_t>> reduced;  // by site
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role != Role::kRankMask) continue;
    std::vector<std::uint32_t> ranks;
    const std::span<const float> mask = params.tensor(i);
    for (std::uint32_t k = 0; k < mask.size(); ++k) {
      if (mask[k] != 0) ranks.push_back(k);
    }
    if (ranks.size() < mask.size()) reduced.emplace(specs[i].site, std::move(ranks));
  }
  for (std::size_t i = 0; i < specs.size() && !reduced.empty(); ++i) {
    const auto ranks = reduced.find(specs[i].site);
    if (ranks != reduced.end() && specs[i].role != Role::kRankMask) kept[i] = ranks->second;
  }
  return kept;
}

void ParamVector::FreeAligned::operator()(float* data) const {
  ::operator delete[](data, kAlignment);
}

ParamVector::ParamVector(std::shared_ptr<const ParamLayout> layout)
    : layout_(std::move(layout)),
      data_(static_cast<float*>(::operator new[](layout_->size() * sizeof(float), kAlignment))) {
  std::fill(values().begin(), values().end(), 0.0f);
}

ParamVector ParamVector::Initial(std::shared_ptr<const ParamLayout> layout, std::uint64_t seed) {
  ParamVector params(std::move(layout));
  for (std::size_t i = 0; i < params.layout_->tensors().size(); ++i) {
    FillByLaw(params.layout_->tensors()[i], seed, params.tensor(i));
  }
  return params;
}

ParamVector ParamVector::Clone() const {
  ParamVector copy(layout_);
  std::copy(values().begin(), values().end(), copy.values().begin());
  return copy;
}

Bytes ParamVector::Gather(const PayloadLayout& payload) const {
  Bytes bytes(payload.size * sizeof(float));
  std::uint8_t* out = bytes.data();
  ForEachRange(*layout_, payload, [&](std::size_t first, std::size_t count) {
    std::memcpy(out, data_.get() + first, count * sizeof(float));
    out += count * sizeof(float);
  });
  return bytes;
}

Status ParamVector::Scatter(const PayloadLayout& payload, ByteSpan bytes) {
  if (bytes.size() != payload.size * sizeof(float)) {
    return InvalidArgument("payload: has " + std::to_string(bytes.size()) + " bytes, want " +
                           std::to_string(payload.size * sizeof(float)));
  }
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(float)) {
    if (!std::isfinite(LoadLe<float>(bytes, at))) {
      return InvalidArgument("payload: value " + std::to_string(at / sizeof(float)) + " is not finite");
    }
  }
  const std::uint8_t* in = bytes.data();
  ForEachRange(*layout_, payload, [&](std::size_t first, std::size_t count) {
    std::memcpy(data_.get() + first, in, count * sizeof(float));
    in += count * sizeof(float);
  });
  return OkStatus();
}

}  // namespace fedpeft
