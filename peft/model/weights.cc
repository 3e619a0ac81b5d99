#include "peft/model/weights.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include "peft/io/quote.h"

namespace fedpeft {

namespace {

bool InPlace(const TensorView& view, torch::ScalarType dtype) {
  return view.dtype == Dtype::kF32 && dtype == torch::kFloat32 &&
         reinterpret_cast<std::uintptr_t>(view.data.data()) % alignof(float) == 0;
}

}  // namespace

Result<torch::Tensor> WeightReader::Take(const std::string& name, const Shape& shape) {
  ASSIGN_OR_RETURN(const TensorView view, folder_->Find(prefix_ + name, shape));
  taken_.insert(prefix_ + name);
  if (InPlace(view, dtype_)) {
    // LibTorch has no tensors of const memory. Nothing writes here: the base is frozen, and the map is read-only.
    auto* data = const_cast<std::uint8_t*>(view.data.data());
    return torch::from_blob(
        data, shape, [owner = folder_](void*) {}, torch::kFloat32);
  }
  torch::Tensor values = torch::empty(shape, torch::kFloat32);
  RETURN_IF_ERROR(CopyFloats(view, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}));
  return values.to(dtype_);
}

Result<FrozenLinear> WeightReader::Linear(const std::string& name, std::int64_t in, std::int64_t out) {
  ASSIGN_OR_RETURN(torch::Tensor weight, Take(name + ".weight", {out, in}));
  ASSIGN_OR_RETURN(torch::Tensor bias, Take(name + ".bias", {out}));
  return FrozenLinear{std::move(weight), std::move(bias)};
}

Result<FrozenNorm> WeightReader::Norm(const std::string& name, std::int64_t width, double epsilon) {
  ASSIGN_OR_RETURN(torch::Tensor weight, Take(name + ".weight", {width}));
  ASSIGN_OR_RETURN(torch::Tensor bias, Take(name + ".bias", {width}));
  return FrozenNorm{std::move(weight), std::move(bias), epsilon};
}

Status WeightReader::CheckAllUsed(const std::vector<std::string>& ignored) const {
  for (const auto& [name, view] : folder_->tensors()) {
    const auto begins = [&name = name](const std::string& start) { return name.starts_with(start); };
    if (taken_.contains(name) || std::any_of(ignored.begin(), ignored.end(), begins)) continue;
    return InvalidArgument(folder_->path() + ": has a tensor " + Quoted(name) +
                           " that the model of its config.json has no place for");
  }
  return OkStatus();
}

}  // namespace fedpeft
