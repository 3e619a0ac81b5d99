// NamedTensors: the trained tensors of a layout by name, as methods look for them.
#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/check.h"
#include "peft/params/layout.h"
#include "peft/plan/plan.h"

namespace fedpeft {

class NamedTensors {
 public:
  /// Pre: `tensors` are the values of `layout`, in its order.
  NamedTensors(const ParamLayout& layout, const std::vector<torch::Tensor>& tensors) {
    for (std::size_t i = 0; i < tensors.size(); ++i) by_name_.emplace(layout.tensors()[i].name, tensors[i]);
  }

  /// Undefined when there is none.
  torch::Tensor Find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? torch::Tensor() : found->second;
  }
  /// Of the module at `path`.
  torch::Tensor Find(const std::string& path, std::string_view suffix) const { return Find(PeftName(path, suffix)); }
  /// Pre: there is one.
  torch::Tensor Get(const std::string& name) const {
    torch::Tensor found = Find(name);
    FEDPEFT_CHECK(found.defined());
    return found;
  }

 private:
  std::map<std::string, torch::Tensor> by_name_;
};

}  // namespace fedpeft
