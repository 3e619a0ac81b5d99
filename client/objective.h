// Objective: the one place where the trainer learns what kind of problem a run is. It says which examples can be used,
// what is minimised on a batch of them, what an evaluation counts and what a prediction is. Holds views of one set of
// parameters; cheap to make, one for every set.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "client/example_batch.h"
#include "configs/run.h"
#include "peft/core/status.h"
#include "peft/method/bound_params.h"
#include "peft/metrics/totals.h"
#include "peft/model/base_model.h"
#include "peft/plan/plan.h"

namespace fedpeft::client {

class Objective {
 public:
  /// The mean over what is predicted, and of how many that is.
  struct Loss {
    at::Tensor mean;
    std::int64_t targets = 0;
  };

  virtual ~Objective() = default;
  /// Errors: kInvalidArgument for an example of another kind of problem.
  virtual Status Check(const Example& example) const = 0;
  virtual Loss LossOf(const ExampleBatch& batch, const ForwardMode& mode) const = 0;
  /// The sum over the rows of each one's own loss: the mean over what is predicted of it. Shapes: scalar.
  virtual at::Tensor SumOfRows(const ExampleBatch& batch, const ForwardMode& mode) const = 0;
  /// Takes note of a batch. Pre: no gradients are recorded.
  virtual void Observe(const ExampleBatch& batch) = 0;
  /// What was observed. Errors: kOutOfRange for values that are not finite, or sums beyond their range.
  virtual Result<Totals> Counted() const = 0;
  /// Shapes: [rows, outputs] float32, probabilities of the classes or the one value.
  virtual at::Tensor Predict(const ExampleBatch& batch) const = 0;
};

/// MakeObjective's for language modelling. Pre: the base has a language-model head.
std::unique_ptr<Objective> MakeLanguageObjective(const BaseModel& base, const PeftPlan& plan, const ParamLayout& layout,
                                                 const BoundParams& params);

/// Pre: `params` binds the layout that PlanLayout(plan) made; all outlive the objective.
std::unique_ptr<Objective> MakeObjective(ProblemType problem, const BaseModel& base, const PeftPlan& plan,
                                         const ParamLayout& layout, const BoundParams& params);

}  // namespace fedpeft::client
