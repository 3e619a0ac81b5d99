#include "peft/plan/merge.h"

#include <algorithm>
#include <cmath>

#include "peft/core/check.h"

namespace fedpeft {

namespace {

using Values = std::span<const float>;

/// Of a tensor that the plan has made.
Values Get(const ParamVector& params, const std::string& name) {
  const auto index = params.layout()->Find(name);
  FEDPEFT_CHECK(index.has_value());
  return params.tensor(*index);
}

/// How a linear's weight lies in the base's file.
struct Lie {
  std::size_t out = 0, in = 0;
  bool transposed = false;

  explicit Lie(const Site& site)
      : out(static_cast<std::size_t>(site.out)), in(static_cast<std::size_t>(site.in)), transposed(site.transposed) {}
  std::size_t At(std::size_t row, std::size_t column) const {
    return transposed ? column * out + row : row * in + column;
  }
};

/// W += s·B·A, a row at a time in double.
void AddLowRank(const Lie& lie, const LoraSite& site, Values a, Values b, std::span<float> weight) {
  const auto rank = static_cast<std::size_t>(site.rank);
  std::vector<double> row(lie.in);
  for (std::size_t i = 0; i < lie.out; ++i) {
    std::fill(row.begin(), row.end(), 0.0);
    for (std::size_t r = 0; r < rank; ++r) {
      const double factor = site.scale * b[i * rank + r];
      for (std::size_t j = 0; j < lie.in; ++j) row[j] += factor * a[r * lie.in + j];
    }
    for (std::size_t j = 0; j < lie.in; ++j) {
      float& value = weight[lie.At(i, j)];
      value = static_cast<float>(value + row[j]);
    }
  }
}

std::vector<double> Lengths(const Lie& lie, Values weight) {
  std::vector<double> lengths(lie.out);
  for (std::size_t i = 0; i < lie.out; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < lie.in; ++j) sum += static_cast<double>(weight[lie.At(i, j)]) * weight[lie.At(i, j)];
    lengths[i] = std::sqrt(sum);
  }
  return lengths;
}

void ScaleRow(const Lie& lie, std::size_t row, double factor, std::span<float> weight) {
  for (std::size_t j = 0; j < lie.in; ++j) {
    float& value = weight[lie.At(row, j)];
    value = static_cast<float>(value * factor);
  }
}

}  // namespace

void Merger::Add(const ParamVector& params, const LoraConfig& lora, const BaseShape& base) {
  const std::vector<LoraSite> sites = LoraSites(base, lora).value();
  for (const LoraSite& site : sites) {
    const std::string& path = site.site.path;
    const Values a = Get(params, PeftName(path, "lora_A.weight")), b = Get(params, PeftName(path, "lora_B.weight"));
    const Values lengths = lora.use_dora ? Get(params, PeftName(path, "lora_magnitude_vector")) : Values();
    changes_[path + ".weight"] = [site, a, b, lengths](std::span<float> weight) {
      const Lie lie(site.site);
      const std::vector<double> before = lengths.empty() ? std::vector<double>() : Lengths(lie, weight);
      AddLowRank(lie, site, a, b, weight);
      if (lengths.empty()) return;
      const std::vector<double> after = Lengths(lie, weight);
      for (std::size_t i = 0; i < lie.out; ++i) ScaleRow(lie, i, (before[i] + lengths[i]) / after[i], weight);
    };
  }
}

void Merger::Add(const ParamVector& params, const AdaLoraConfig& config, const BaseShape& base) {
  const std::vector<LoraSite> sites = AdaLoraSites(base, config).value();
  for (const LoraSite& site : sites) {
    const std::string& path = site.site.path;
    const Values a = Get(params, PeftName(path, "lora_A")), b = Get(params, PeftName(path, "lora_B"));
    const Values e = Get(params, PeftName(path, "lora_E"));
    changes_[path + ".weight"] = [site, a, b, e](std::span<float> weight) {
      std::vector<float> scaled(a.begin(), a.end());
      for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] *= e[i / (a.size() / e.size())];
      AddLowRank(Lie(site.site), site, scaled, b, weight);
    };
  }
}

void Merger::Add(const ParamVector& params, const Ia3Config& ia3, const BaseShape& base) {
  const std::vector<Ia3Site> sites = Ia3Sites(base, ia3).value();
  for (const Ia3Site& site : sites) {
    const Values factors = Get(params, PeftName(site.site.path, "ia3_l"));
    const Lie lie(site.site);
    const bool input = site.scales_input;
    changes_[site.site.path + ".weight"] = [lie, factors, input](std::span<float> weight) {
      for (std::size_t i = 0; i < lie.out; ++i) {
        for (std::size_t j = 0; j < lie.in; ++j) weight[lie.At(i, j)] *= factors[input ? j : i];
      }
    };
    if (input || !site.site.bias) continue;
    changes_[site.site.path + ".bias"] = [factors](std::span<float> bias) {
      for (std::size_t i = 0; i < bias.size(); ++i) bias[i] *= factors[i];
    };
  }
}

void Merger::Add(const ParamVector& params, const SparseConfig& sparse, const BaseShape& base) {
  const std::vector<SparseSite> sites = SparseSites(base, sparse).value();
  for (const SparseSite& site : sites) {
    const Values offsets = Get(params, PeftName(site.site.path, "sparse_values"));
    changes_[site.site.path + ".weight"] = [site, offsets, seed = sparse.seed](std::span<float> weight) {
      const Lie lie(site.site);
      const std::vector<std::int64_t> mask = SparseMask(site, seed);
      for (std::size_t i = 0; i < mask.size(); ++i) {
        const auto at = static_cast<std::size_t>(mask[i]);
        weight[lie.At(at / lie.in, at % lie.in)] += offsets[i];
      }
    };
  }
}

void Merger::AddOffsets(const ParamVector& params) {
  const std::size_t prefix = PeftName("", "").size() - 1;
  const std::vector<TensorSpec>& specs = params.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role != Role::kOffset) continue;
    changes_[specs[i].name.substr(prefix)] = [offset = params.tensor(i)](std::span<float> values) {
      for (std::size_t j = 0; j < values.size(); ++j) values[j] += offset[j];
    };
  }
}

Result<Merger> Merger::Make(const PeftPlan& plan, const ParamVector& params) {
  Merger merger;
  if (const auto* lora = std::get_if<LoraConfig>(&plan.method)) {
    merger.Add(params, *lora, plan.base);
  } else if (const auto* adalora = std::get_if<AdaLoraConfig>(&plan.method)) {
    merger.Add(params, *adalora, plan.base);
  } else if (const auto* ia3 = std::get_if<Ia3Config>(&plan.method)) {
    merger.Add(params, *ia3, plan.base);
  } else if (const auto* sparse = std::get_if<SparseConfig>(&plan.method)) {
    merger.Add(params, *sparse, plan.base);
  } else if (std::holds_alternative<OffsetConfig>(plan.method)) {
    merger.AddOffsets(params);
  } else {
    return Unimplemented("method: " + DescribeMethod(plan.method) +
                         " cannot become part of the base's parameters (use the adapter beside the base)");
  }
  return merger;
}

}  // namespace fedpeft
