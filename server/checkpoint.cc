#include "server/checkpoint.h"

#include <string_view>
#include <utility>
#include <vector>

#include "peft/io/safetensors.h"

namespace fedpeft::server {
namespace {

constexpr std::string_view kStatePrefix = "server_optimizer/";

std::uint64_t FileLimit(const ParamLayout& layout) {
  // Parameters and at most two state vectors of their size, and a header.
  return std::uint64_t{layout.size()} * sizeof(float) * 4 + (std::uint64_t{64} << 20);
}

}  // namespace

Status WriteCheckpoint(const std::string& path, const Checkpoint& checkpoint) {
  const ParamLayout& layout = *checkpoint.params.layout();
  std::vector<TensorView> tensors;
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    const TensorSpec& tensor = layout.tensors()[i];
    tensors.push_back(FloatView(tensor.name, tensor.shape, checkpoint.params.tensor(i)));
  }
  for (const auto& [name, values] : checkpoint.optimizer) {
    tensors.push_back(FloatView(std::string(kStatePrefix) + name, {static_cast<std::int64_t>(values.size())}, values));
  }
  return WriteSafetensors(path, tensors);
}

Result<Checkpoint> ReadCheckpoint(const std::string& path, std::shared_ptr<const ParamLayout> layout) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Read(path, FileLimit(*layout)));
  Checkpoint checkpoint{ParamVector(layout), {}};
  std::size_t found = 0;
  for (const auto& [name, tensor] : file.tensors()) {
    if (name.starts_with(kStatePrefix)) {
      std::vector<float>& values = checkpoint.optimizer[name.substr(kStatePrefix.size())];
      values.resize(layout->size());
      Status copied = CheckShape(tensor, {static_cast<std::int64_t>(layout->size())});
      if (copied.ok()) copied = CopyFloats(tensor, values);
      if (!copied.ok()) return DataLoss(path + ": " + copied.message());
      continue;
    }
    const std::optional<std::size_t> index = layout->Find(name);
    if (!index) return DataLoss(path + ": tensor \"" + name + "\" is not of this run");
    Status read = CheckShape(tensor, layout->tensors()[*index].shape);
    if (read.ok()) read = CopyFloats(tensor, checkpoint.params.tensor(*index));
    if (!read.ok()) return DataLoss(path + ": " + read.message());
    ++found;
  }
  if (found != layout->tensors().size()) {
    return DataLoss(path + ": got " + std::to_string(found) + " parameter tensors, want " +
                    std::to_string(layout->tensors().size()));
  }
  return checkpoint;
}

}  // namespace fedpeft::server
