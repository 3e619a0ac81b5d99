// The MLP that makes virtual tokens while they are trained: one trained vector a token goes through linears with an
// activation between them. What is trained and travels are these; what is exported is what comes out, computed here
// without LibTorch, since the coordinator exports. Names and arithmetic are those of peft's PrefixEncoder with
// prefix_projection and of its PromptEncoder (P-tuning).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "peft/params/param_vector.h"
#include "peft/plan/plan.h"

namespace fedpeft {

struct TokenMlp {
  /// Its weight [out, in] is tensor `name`.weight, its bias [out] `name`.bias.
  struct Linear {
    std::string name;
    std::int64_t in = 0;
    std::int64_t out = 0;
  };
  /// Between the linears; else ReLU.
  bool tanh = false;
  /// What goes in: tensor `vectors` [length, linears.front().in].
  std::string vectors;
  std::vector<Linear> linears;
};

/// None where the method has no encoder. Pre: the base's shape is checked.
std::optional<TokenMlp> TokenMlpOf(const BaseShape& base, const MethodConfig& method);

/// The plan of what an export holds: virtual tokens themselves, by whatever they are trained.
PeftPlan PlanOfTokens(PeftPlan plan);

/// The parameters with the encoder's output, `prompt_embeddings`, in the encoder's place; a copy where there is none.
/// Pre: `params` has the layout of `plan`. Cost: a pass of the MLP on one core.
ParamVector EncodeTokens(const PeftPlan& plan, const ParamVector& params);

}  // namespace fedpeft
