// Merger: a method's trained values folded into the parameters of the base, so that a model without the method computes
// the same. Torch-free: one parameter at a time, as a file is written.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "peft/core/status.h"
#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class Merger {
 public:
  /// Pre: `params` has the layout that PlanLayout(plan) made, and outlives the merger.
  /// Errors: kUnimplemented for a method that is no change of parameters (adapters, prefix, prompt), naming it.
  static Result<Merger> Make(const PeftPlan& plan, const ParamVector& params);

  /// Whether the base's parameter (`bert.….query.weight`) changes.
  bool Changes(const std::string& name) const { return changes_.contains(name); }
  /// Changes its values in place. Shapes: as the base's file has them; a transposed linear's weight is [in, out].
  /// Cost: a multiplication of the factors for LoRA. Pre: Changes(name).
  void Apply(const std::string& name, std::span<float> values) const { changes_.at(name)(values); }

 private:
  using Change = std::function<void(std::span<float> values)>;
  using Values = std::span<const float>;

  void Add(const ParamVector& params, const LoraConfig& lora, const BaseShape& base);
  void Add(const ParamVector& params, const AdaLoraConfig& config, const BaseShape& base);
  void Add(const ParamVector& params, const Ia3Config& ia3, const BaseShape& base);
  void Add(const ParamVector& params, const SparseConfig& sparse, const BaseShape& base);
  void AddOffsets(const ParamVector& params);

  std::map<std::string, Change> changes_;
};

}  // namespace fedpeft
