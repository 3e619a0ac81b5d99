// WeightReader: the tensors of a model folder by the names a module asks for, checked for shape, as frozen LibTorch
// tensors. Remembers what was asked for, so that a weight nobody used is found.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "peft/io/model_folder.h"
#include "peft/model/base_model.h"
#include "peft/model/layers.h"
#include "peft/model/load.h"
#include "peft/plan/sites.h"

namespace fedpeft {

/// A linear of the base that methods may attach to.
struct SiteLinear {
  FrozenLinear linear;
  /// Index into LinearSites.
  std::size_t site = 0;

  at::Tensor operator()(const at::Tensor& x, const SiteHook& hook, const ForwardMode& mode) const {
    return hook.Linear(site, x, linear, mode);
  }
};

/// A norm of the base that methods may train.
struct SiteNorm {
  FrozenNorm norm;
  /// Index into BaseSites::norms.
  std::size_t site = 0;

  at::Tensor operator()(const at::Tensor& x, const SiteHook& hook) const { return hook.Norm(site, x, norm); }
};

class WeightReader {
 public:
  /// Tensors that are used in place keep the folder alive. Pre: `shape` is that of the folder's config.json, checked.
  WeightReader(std::shared_ptr<const ModelFolder> folder, const BaseShape& shape, BaseDtype dtype);

  /// By canonical name (ModelFolder). A float32 tensor asked for as float32 borrows the file's memory.
  /// Errors: kInvalidArgument for a missing tensor or another shape, kUnimplemented for numbers that are not floats.
  Result<at::Tensor> Take(const std::string& name, const Shape& shape);
  bool Has(const std::string& name) const;
  /// The linear of the site at `path`, its widths, bias and orientation being the site's. Pre: there is such a site.
  Result<SiteLinear> Linear(const std::string& path);
  /// The norm of the site at `path`; one with a bias is a LayerNorm, else an RMSNorm. Pre: there is such a site.
  Result<SiteNorm> Norm(const std::string& path, double epsilon);

  /// Errors: kInvalidArgument when the folder has a tensor that nobody took, that is of no task's head (TaskHeads: the
  /// run brings its own) and not in module `unused`, which may be null.
  Status CheckAllUsed(const char* unused = nullptr) const;

 private:
  std::shared_ptr<const ModelFolder> folder_;
  BaseSites sites_;
  std::map<std::string, std::size_t> linear_of_path_;
  std::map<std::string, std::size_t> norm_of_path_;
  at::ScalarType dtype_;
  bool int8_linears_;
  std::set<std::string> taken_;
};

}  // namespace fedpeft
