// NamedTensors: the trained tensors of a layout by name, as methods look for them.
#pragma once

#include <ATen/core/Tensor.h>

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
  NamedTensors(const ParamLayout& layout, const std::vector<at::Tensor>& tensors) {
    for (std::size_t i = 0; i < tensors.size(); ++i) by_name_.emplace(layout.tensors()[i].name, tensors[i]);
  }

  /// Undefined when there is none.
  at::Tensor Find(const std::string& name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? at::Tensor() : found->second;
  }
  /// Of the module at `path`.
  at::Tensor Find(const std::string& path, std::string_view suffix) const { return Find(PeftName(path, suffix)); }
  /// Pre: there is one.
  at::Tensor Get(const std::string& name) const {
    at::Tensor found = Find(name);
    FEDPEFT_CHECK(found.defined());
    return found;
  }

 private:
  std::map<std::string, at::Tensor> by_name_;
};

}  // namespace fedpeft
