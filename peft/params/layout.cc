#include "peft/params/layout.h"

#include <array>
#include <cstdio>
#include <unordered_set>

namespace fedpeft {

namespace {

constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 40;

/// `%a` is exact and the same on every platform with IEEE doubles.
std::string HexFloat(double value) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%a", value);
  return text.data();
}

std::string_view LawName(InitLaw::Kind kind) {
  switch (kind) {
    case InitLaw::Kind::kZeros:
      return "zeros";
    case InitLaw::Kind::kOnes:
      return "ones";
    case InitLaw::Kind::kUniform:
      return "uniform";
    case InitLaw::Kind::kNormal:
      return "normal";
  }
  return "";
}

std::string CanonicalLine(const TensorSpec& spec) {
  std::string line = spec.name;
  line.append(" ").append(ShapeText(spec.shape)).append(" ").append(RoleName(spec.role)).append(" ");
  line.append(spec.site).append(" ").append(LawName(spec.init.kind)).append(" ").append(HexFloat(spec.init.scale));
  return line.append("\n");
}

Result<std::uint64_t> CountElements(const TensorSpec& spec) {
  std::uint64_t count = 1;
  for (const std::int64_t dimension : spec.shape) {
    if (dimension < 1 || !CheckedMul(count, static_cast<std::uint64_t>(dimension), count) || count > kMaxElements) {
      return InvalidArgument("layout: tensor \"" + spec.name + "\" has shape " + ShapeText(spec.shape) +
                             ", want positive dimensions and at most 2^40 elements");
    }
  }
  return count;
}

}  // namespace

std::int64_t TensorSpec::size() const {
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) count *= dimension;
  return count;
}

Algebra TensorSpec::algebra() const {
  const bool factor = role == Role::kLoraA || role == Role::kLoraB || role == Role::kLoraE || role == Role::kAdapter ||
                      role == Role::kEncoder || role == Role::kGatedPrompt || role == Role::kGate;
  return factor ? Algebra::kBilinear : Algebra::kLinear;
}

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kLoraA:
      return "lora_a";
    case Role::kLoraB:
      return "lora_b";
    case Role::kLoraE:
      return "lora_e";
    case Role::kRankMask:
      return "rank_mask";
    case Role::kRankScore:
      return "rank_score";
    case Role::kMagnitude:
      return "magnitude";
    case Role::kScale:
      return "scale";
    case Role::kAdapter:
      return "adapter";
    case Role::kPrompt:
      return "prompt";
    case Role::kPrefix:
      return "prefix";
    case Role::kOffset:
      return "offset";
    case Role::kSparse:
      return "sparse";
    case Role::kEncoder:
      return "encoder";
    case Role::kPromptOffset:
      return "prompt_offset";
    case Role::kGatedPrompt:
      return "gated_prompt";
    case Role::kGate:
      return "gate";
    case Role::kHead:
      return "head";
  }
  return "";
}

bool IsTrained(Role role) {
  return role != Role::kRankMask && role != Role::kRankScore;
}

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text.append(i == 0 ? "" : ",").append(std::to_string(shape[i]));
  return text.append("]");
}

Result<std::shared_ptr<const ParamLayout>> ParamLayout::Make(std::vector<TensorSpec> tensors) {
  if (tensors.empty()) return InvalidArgument("layout: has no tensor (no site matches the method's targets)");
  std::shared_ptr<ParamLayout> layout(new ParamLayout());
  std::unordered_set<std::string_view> names;
  Sha256 hash;
  std::uint64_t total = 0;
  layout->offsets_.push_back(0);
  for (const TensorSpec& spec : tensors) {
    if (!names.insert(spec.name).second) return InvalidArgument("layout: tensor \"" + spec.name + "\" appears twice");
    ASSIGN_OR_RETURN(const std::uint64_t count, CountElements(spec));
    total += count;
    if (total > kMaxElements) return InvalidArgument("layout: has more than 2^40 elements");
    layout->offsets_.push_back(static_cast<std::size_t>(total));
    hash.Update(AsBytes(CanonicalLine(spec)));
  }
  layout->digest_ = hash.Finish();
  layout->tensors_ = std::move(tensors);
  return std::shared_ptr<const ParamLayout>(std::move(layout));
}

std::optional<std::size_t> ParamLayout::Find(std::string_view name) const {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i].name == name) return i;
  }
  return std::nullopt;
}

std::size_t RanksOf(const TensorSpec& spec) {
  return static_cast<std::size_t>(spec.role == Role::kLoraB ? spec.shape.back() : spec.shape.front());
}

std::vector<std::int64_t> KeptShape(const TensorSpec& spec, const std::optional<std::vector<std::uint32_t>>& ranks) {
  std::vector<std::int64_t> shape = spec.shape;
  if (ranks) (spec.role == Role::kLoraB ? shape.back() : shape.front()) = static_cast<std::int64_t>(ranks->size());
  return shape;
}

std::size_t KeptSize(const TensorSpec& spec, const std::optional<std::vector<std::uint32_t>>& ranks) {
  const auto size = static_cast<std::size_t>(spec.size());
  return ranks ? size / RanksOf(spec) * ranks->size() : size;
}

PayloadLayout DensePayload(const ParamLayout& layout, const std::vector<bool>& travels, double max_abs,
                           const KeptRanks& kept) {
  FEDPEFT_CHECK(travels.size() == layout.tensors().size());
  PayloadLayout payload;
  std::string canonical = Hex(layout.digest()) + "\n";
  for (std::size_t i = 0; i < layout.tensors().size(); ++i) {
    if (!travels[i]) continue;
    payload.segments.push_back({i, max_abs, kept.empty() ? std::nullopt : kept[i]});
    canonical.append(std::to_string(i)).append(" ").append(HexFloat(max_abs));
    const auto& ranks = payload.segments.back().ranks;
    payload.size += KeptSize(layout.tensors()[i], ranks);
    if (ranks) {
      canonical.append(" ranks");
      for (const std::uint32_t rank : *ranks) canonical.append(" ").append(std::to_string(rank));
    }
    canonical.append("\n");
  }
  payload.digest = Sha256Of(AsBytes(canonical));
  return payload;
}

}  // namespace fedpeft
