#include <cmath>

#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

Status CheckPhm(const BottleneckConfig& adapter, const BaseShape& base) {
  const std::int64_t n = adapter.phm_dim;
  if (n < 0 || base.hidden_size % n != 0 || adapter.size % n != 0) {
    return InvalidArgument("peft.adapter.phm_dim: got " + std::to_string(n) + ", want a divisor of " +
                           std::to_string(base.hidden_size) + " (base.hidden_size) and of " +
                           std::to_string(adapter.size) + " (peft.adapter.size), or 0");
  }
  if (adapter.phm_rank < 1 || adapter.phm_rank > base.hidden_size / n) {
    return InvalidArgument("peft.adapter.phm_rank: got " + std::to_string(adapter.phm_rank) + ", want 1 to " +
                           std::to_string(base.hidden_size / n) + " (base.hidden_size / peft.adapter.phm_dim)");
  }
  return OkStatus();
}

Status Check(const BottleneckConfig& adapter, const BaseShape& base) {
  if (adapter.size < 1 || adapter.size > base.hidden_size) {
    return InvalidArgument("peft.adapter.size: got " + std::to_string(adapter.size) + ", want 1 to " +
                           std::to_string(base.hidden_size) + " (base.hidden_size)");
  }
  if (!(std::isfinite(adapter.scale) && adapter.scale > 0)) {
    return InvalidArgument("peft.adapter.scale: got " + std::to_string(adapter.scale) + ", want a positive number");
  }
  return adapter.phm_dim == 0 ? OkStatus() : CheckPhm(adapter, base);
}

/// What xavier_normal_ makes of a matrix.
InitLaw XavierLaw(std::int64_t rows, std::int64_t columns) {
  return {InitLaw::Kind::kNormal, std::sqrt(2 / static_cast<double>(rows + columns))};
}

/// The two linears of one site. They start as nothing: neurons of independent beginnings must not be averaged, so the
/// seed makes one for all.
class SiteTensors {
 public:
  SiteTensors(const BottleneckConfig& adapter, const SublayerSite& site, std::vector<TensorSpec>& tensors)
      : adapter_(adapter), site_(site), tensors_(tensors) {}

  void Add(const std::string& name, std::int64_t in, std::int64_t out, bool starts_as_zero) {
    const std::int64_t n = adapter_.phm_dim, rank = adapter_.phm_rank;
    if (n == 0) {
      Add(name + ".weight", {out, in}, starts_as_zero ? InitLaw() : KaimingLaw(in));
      Add(name + ".bias", {out}, {});
      return;
    }
    Add(name + ".W_left", {n, in / n, rank}, XavierLaw(in / n, rank));
    Add(name + ".W_right", {n, rank, out / n}, starts_as_zero ? InitLaw() : XavierLaw(rank, out / n));
    Add(name + ".b", {out}, {});
  }

 private:
  void Add(const std::string& suffix, std::vector<std::int64_t> shape, InitLaw law) {
    tensors_.push_back({PeftName(site_.path, suffix), std::move(shape), Role::kAdapter, site_.path, law});
  }

  const BottleneckConfig& adapter_;
  const SublayerSite& site_;
  std::vector<TensorSpec>& tensors_;
};

}  // namespace

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const BottleneckConfig& adapter) {
  RETURN_IF_ERROR(Check(adapter, at.base));
  std::vector<TensorSpec> tensors;
  if (const std::int64_t n = adapter.phm_dim; n > 0) {
    // Beside linears that start as zero, smaller values than these would get no gradient that AdamW could see.
    tensors.push_back({PeftName("shared_parameters", "phm_rule"),
                       {n, n, n},
                       Role::kAdapter,
                       at.sites.tables.front().path,  // in no layer
                       {InitLaw::Kind::kUniform, 1}});
  }
  for (const SublayerSite& site : at.sites.sublayers) {
    if (adapter.kind != BottleneckConfig::Kind::kHoulsby && !site.feed_forward) continue;
    SiteTensors of_site(adapter, site, tensors);
    of_site.Add("adapter_down", site.width, adapter.size, /*starts_as_zero=*/false);
    of_site.Add("adapter_up", adapter.size, site.width, /*starts_as_zero=*/true);
  }
  return tensors;
}

}  // namespace fedpeft
