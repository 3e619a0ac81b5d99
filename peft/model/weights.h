// WeightReader: the tensors of a model folder by the names a module asks for, checked for shape, as frozen LibTorch
// tensors. Remembers what was asked for, so that a weight nobody used is found.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "peft/io/model_folder.h"
#include "peft/model/layers.h"

namespace fedpeft {

class WeightReader {
 public:
  /// Names given to the functions below are canonical ones (ModelFolder) without `prefix`. Tensors that are used in
  /// place keep the folder alive.
  WeightReader(std::shared_ptr<const ModelFolder> folder, std::string prefix, torch::ScalarType dtype)
      : folder_(std::move(folder)), prefix_(std::move(prefix)), dtype_(dtype) {}

  /// A float32 tensor asked for as float32 borrows the file's memory.
  /// Errors: kInvalidArgument for a missing tensor, another shape, or numbers that are not floats.
  Result<torch::Tensor> Take(const std::string& name, const Shape& shape);
  /// `name.weight` [out, in] and `name.bias` [out].
  Result<FrozenLinear> Linear(const std::string& name, std::int64_t in, std::int64_t out);
  /// `name.weight` and `name.bias` [width].
  Result<FrozenNorm> Norm(const std::string& name, std::int64_t width, double epsilon);

  /// Errors: kInvalidArgument when the folder has a tensor that nobody took and whose canonical name begins with none
  /// of `ignored`.
  Status CheckAllUsed(const std::vector<std::string>& ignored) const;

 private:
  std::shared_ptr<const ModelFolder> folder_;
  std::string prefix_;
  torch::ScalarType dtype_;
  std::set<std::string> taken_;
};

}  // namespace fedpeft
