// Parts of the base that are trained themselves. They travel as offsets, zero at first, under the parameters' own
// names: the coordinator needs no weights of the base.
#include "peft/plan/method_plans.h"
#include "peft/plan/plan.h"

namespace fedpeft {

namespace {

using What = OffsetConfig::What;

class Planner {
 public:
  Planner(const PlanContext& at, What what) : at_(at), what_(what) {}

  Result<std::vector<TensorSpec>> Plan() {
    if (what_ == What::kAll) AddTables();
    if (what_ != What::kNorms) AddLinears();
    for (const NormSite& norm : at_.sites.norms) {
      if (what_ != What::kBiases) Add(norm.path, "weight", {norm.width});
      if (norm.bias) Add(norm.path, "bias", {norm.width});
    }
    if (tensors_.empty()) {
      return FailedPrecondition("peft.method: got bitfit, want another one: linears and norms of this " +
                                at_.base.model_type + " base have no biases");
    }
    return std::move(tensors_);
  }

 private:
  void Add(const std::string& path, const char* suffix, std::vector<std::int64_t> shape) {
    tensors_.push_back({PeftName(path, suffix), std::move(shape), Role::kOffset, path, {}});
  }
  void AddTables() {
    for (const TableSite& table : at_.sites.tables) Add(table.path, "weight", {table.rows, table.width});
    const auto& head = at_.sites.language_head;
    if (at_.language && head) Add(head->path, "weight", {head->rows, head->width});
  }
  void AddLinears() {
    for (const Site& site : at_.sites.linears) {
      if (what_ == What::kAll) {
        Add(site.path, "weight", site.transposed ? std::vector{site.in, site.out} : std::vector{site.out, site.in});
      }
      if (site.bias) Add(site.path, "bias", {site.out});
    }
  }

  const PlanContext& at_;
  What what_;
  std::vector<TensorSpec> tensors_;
};

}  // namespace

Result<std::vector<TensorSpec>> PlanTensors(const PlanContext& at, const OffsetConfig& offset) {
  for (const TableSite& table : at.sites.tables) {
    if (offset.what == What::kAll && table.rows < 1) {
      return InvalidArgument(
          "base.type_vocab_size: is missing, want the base's (paste the block that `fedpeft-client "
          "inspect` prints)");
    }
  }
  return Planner(at, offset.what).Plan();
}

}  // namespace fedpeft
