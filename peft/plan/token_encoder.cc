#include "peft/plan/token_encoder.h"

#include <algorithm>
#include <cmath>

namespace fedpeft {

namespace {

std::span<const float> Tensor(const ParamVector& params, const std::string& name) {
  const std::optional<std::size_t> index = params.layout()->Find(name);
  FEDPEFT_CHECK(index.has_value());
  return params.tensor(*index);
}

/// Rows of `linear.in` values → rows of `linear.out`.
std::vector<double> Apply(const TokenMlp::Linear& linear, const ParamVector& params, const std::vector<double>& x) {
  const std::span<const float> weight = Tensor(params, linear.name + ".weight");
  const std::span<const float> bias = Tensor(params, linear.name + ".bias");
  const auto in = static_cast<std::size_t>(linear.in), out = static_cast<std::size_t>(linear.out);
  const std::size_t rows = x.size() / in;
  std::vector<double> y(rows * out);
  for (std::size_t o = 0; o < out; ++o) {
    const std::span<const float> w = weight.subspan(o * in, in);
    for (std::size_t row = 0; row < rows; ++row) {
      double sum = bias[o];
      for (std::size_t i = 0; i < in; ++i) sum += static_cast<double>(w[i]) * x[row * in + i];
      y[row * out + o] = sum;
    }
  }
  return y;
}

std::vector<double> Run(const TokenMlp& mlp, const ParamVector& params) {
  const std::span<const float> vectors = Tensor(params, mlp.vectors);
  std::vector<double> x(vectors.begin(), vectors.end());
  for (std::size_t i = 0; i < mlp.linears.size(); ++i) {
    if (i > 0) {
      for (double& value : x) value = mlp.tanh ? std::tanh(value) : std::max(value, 0.0);
    }
    x = Apply(mlp.linears[i], params, x);
  }
  return x;
}

}  // namespace

std::optional<TokenMlp> TokenMlpOf(const BaseShape& base, const MethodConfig& method) {
  const auto or_width = [](std::int64_t size, std::int64_t width) { return size > 0 ? size : width; };
  const std::string module = "prompt_encoder.";
  TokenMlp mlp{.tanh = false, .vectors = module + "embedding.weight", .linears = {}};
  if (const auto* prefix = std::get_if<PrefixConfig>(&method); prefix && prefix->encoder == TokenEncoder::kMlp) {
    const std::int64_t width = base.kv_heads() * base.head_width();
    const std::int64_t inner = or_width(prefix->encoder_size, width);
    mlp.tanh = true;
    mlp.linears = {{module + "transform.0", width, inner},
                   {module + "transform.2", inner, base.num_hidden_layers * 2 * width}};
    return mlp;
  }
  if (const auto* prompt = std::get_if<PromptConfig>(&method); prompt && prompt->encoder == TokenEncoder::kMlp) {
    const std::int64_t width = base.hidden_size, inner = or_width(prompt->encoder_size, width);
    mlp.linears = {{module + "mlp_head.0", width, inner},
                   {module + "mlp_head.2", inner, inner},
                   {module + "mlp_head.4", inner, width}};
    return mlp;
  }
  return std::nullopt;
}

PeftPlan PlanOfTokens(PeftPlan plan) {
  if (auto* prefix = std::get_if<PrefixConfig>(&plan.method)) *prefix = PrefixConfig{.length = prefix->length};
  if (auto* prompt = std::get_if<PromptConfig>(&plan.method)) *prompt = PromptConfig{.length = prompt->length};
  return plan;
}

ParamVector EncodeTokens(const PeftPlan& plan, const ParamVector& params) {
  const std::optional<TokenMlp> mlp = TokenMlpOf(plan.base, plan.method);
  if (!mlp) return params.Clone();
  ParamVector encoded(PlanLayout(PlanOfTokens(plan)).value());
  const std::vector<TensorSpec>& specs = encoded.layout()->tensors();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].role == Role::kHead) {
      std::ranges::copy(Tensor(params, specs[i].name), encoded.tensor(i).begin());
      continue;
    }
    const std::vector<double> tokens = Run(*mlp, params);
    std::ranges::transform(tokens, encoded.tensor(i).begin(), [](double value) { return static_cast<float>(value); });
  }
  return encoded;
}

}  // namespace fedpeft
