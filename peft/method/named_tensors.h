// NamedTensors: the trained tensors of a layout by name, as methods look for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/check.h"
#include "peft/method/trained.h"
#include "peft/params/layout.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class NamedTensors {
 public:
  /// Pre: `tensors` are the values of `layout`, in its order; with `rows`, those that want gradients are copies for
  /// each example.
  NamedTensors(const ParamLayout& layout, const std::vector<at::Tensor>& tensors,
               const std::shared_ptr<const ExampleRows>& rows) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      by_name_.emplace(layout.tensors()[i].name, Trained(tensors[i], tensors[i].requires_grad() ? rows : nullptr));
    }
  }

  /// Undefined when there is none.
  Trained Find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? Trained() : found->second;
  }
  /// Of the module at `path`.
  Trained Find(const std::string& path, std::string_view suffix) const { return Find(PeftName(path, suffix)); }
  /// Pre: there is one.
  Trained Get(const std::string& name) const {
    Trained found = Find(name);
    FEDPEFT_CHECK(found.defined());
    return found;
  }

 private:
  std::map<std::string, Trained> by_name_;
};

}  // namespace fedpeft
