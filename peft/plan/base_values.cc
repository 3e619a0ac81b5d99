#include "peft/plan/base_values.h"

#include <cmath>
#include <vector>

namespace fedpeft {

namespace {

Result<std::vector<float>> Values(const ModelFolder& base, const std::string& name, const Shape& shape) {
  ASSIGN_OR_RETURN(const TensorView view, base.Find(name, shape));
  std::size_t size = 1;
  for (const std::int64_t dimension : shape) size *= static_cast<std::size_t>(dimension);
  std::vector<float> values(size);
  RETURN_IF_ERROR(CopyFloats(view, values));
  return values;
}

/// ‖w‖ of each output's weights.
Result<std::vector<float>> Lengths(const ModelFolder& base, const Site& site) {
  const auto out = static_cast<std::size_t>(site.out), in = static_cast<std::size_t>(site.in);
  const Shape shape = site.transposed ? Shape{site.in, site.out} : Shape{site.out, site.in};
  ASSIGN_OR_RETURN(const std::vector<float> weight, Values(base, site.path + ".weight", shape));
  std::vector<float> lengths(out);
  for (std::size_t row = 0; row < out; ++row) {
    double sum = 0;
    for (std::size_t i = 0; i < in; ++i) {
      const double w = weight[site.transposed ? i * out + row : row * in + i];
      sum += w * w;
    }
    lengths[row] = static_cast<float>(std::sqrt(sum));
  }
  return lengths;
}

/// The tokens' vectors, one after the other.
Result<std::vector<float>> TokenVectors(const ModelFolder& base, const PeftPlan& plan,
                                        std::span<const std::int32_t> ids) {
  const TableSite table = SitesOf(plan.base).tables.front();
  ASSIGN_OR_RETURN(const TensorView view, base.Find(table.path + ".weight", {table.rows, table.width}));
  const std::size_t bytes = view.data.size() / static_cast<std::size_t>(table.rows);
  const auto width = static_cast<std::size_t>(table.width);
  std::vector<float> values(ids.size() * width);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    TensorView row = view;
    row.shape = {1, table.width};
    row.data = view.data.subspan(static_cast<std::size_t>(ids[i]) * bytes, bytes);
    RETURN_IF_ERROR(CopyFloats(row, std::span(values).subspan(i * width, width)));
  }
  return values;
}

Result<std::vector<float>> OriginOf(const ModelFolder& base, const PeftPlan& plan, const TensorSpec& spec) {
  if (spec.role == Role::kOffset) {
    const std::string name = spec.name.substr(PeftName("", "").size() - 1);
    return Values(base, name, spec.shape);
  }
  if (spec.role == Role::kPromptOffset) {
    const PromptConfig& prompt = std::get<PromptConfig>(plan.method);
    FEDPEFT_CHECK(static_cast<std::int64_t>(prompt.ids.size()) == prompt.length);
    return TokenVectors(base, plan, prompt.ids);
  }
  for (const Site& site : LinearSites(plan.base)) {
    if (site.path == spec.site) return Lengths(base, site);
  }
  FEDPEFT_CHECK(false);
}

}  // namespace

bool IsOffset(const TensorSpec& spec) {
  return spec.role == Role::kOffset || spec.role == Role::kMagnitude || spec.role == Role::kPromptOffset;
}

Status AddBaseValues(const ModelFolder& base, const PeftPlan& plan, float sign, ParamVector& params) {
  const std::vector<TensorSpec>& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (!IsOffset(specs[i])) continue;
    ASSIGN_OR_RETURN(const std::vector<float> origin, OriginOf(base, plan, specs[i]));
    const std::span<float> values = params.tensor(i);
    for (std::size_t j = 0; j < values.size(); ++j) values[j] += sign * origin[j];
  }
  return OkStatus();
}

}  // namespace fedpeft
