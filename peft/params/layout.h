// ParamLayout: the ordered list of the trained tensors of a run, the contract between coordinator and clients. Both
// ends plan it from the run (peft/plan), compare its digest at join, and lay every buffer out by it. PayloadLayout says
// which part of it travels. Neither holds values: ParamVector does.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/hash.h"
#include "peft/core/status.h"

namespace fedpeft {

/// What a tensor is for. The names (RoleName) are part of the digest.
enum class Role {
  kLoraA,
  kLoraB,
  /// AdaLoRA's values between A and B.
  kLoraE,
  /// Which of them are in use; only goes down.
  kRankMask,
  /// How important each was to a client; only goes up.
  kRankScore,
  /// DoRA's length of each output's weights, less that of the base's: what starts from the base travels as an offset.
  kMagnitude,
  /// Of (IA)³: factors of activations.
  kScale,
  /// A bottleneck adapter's linears.
  kAdapter,
  /// Vectors in front of the token embeddings.
  kPrompt,
  /// Keys and values in front of those of the tokens.
  kPrefix,
  /// What is added to a parameter of the base, whose name the tensor has.
  kOffset,
  /// What is added to some elements of a weight of the base.
  kSparse,
  /// What virtual tokens are made of while they are trained: vectors, and the linears of an MLP.
  kEncoder,
  /// Vectors added to those of the base's tokens that a prompt starts from.
  kPromptOffset,
  /// LLaMA-Adapter's vectors, of which a layer makes keys and values, and what multiplies that attention.
  kGatedPrompt,
  kGate,
  kHead,
};

/// How a tensor may be combined over clients: a weighted sum of values means what it says (linear), or it is one factor
/// of a product whose mean is not the product of means (bilinear).
enum class Algebra { kLinear, kBilinear };

/// The law of a tensor's initial values, a pure function of (run seed, tensor name): the coordinator starts a run
/// without the base weights, and a client never draws its own start.
struct InitLaw {
  enum class Kind { kZeros, kOnes, kUniform, kNormal };
  Kind kind = Kind::kZeros;
  /// kUniform: values in [−scale, scale); kNormal: the standard deviation; else 0.
  double scale = 0;
};

/// One trained tensor. `name` is the name that Hugging Face PEFT writes, so that an export is a copy.
struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  Role role = Role::kHead;
  /// The base's site it attaches to (`bert.encoder.layer.0.attention.self.query`).
  std::string site;
  InitLaw init;

  /// Number of elements.
  std::int64_t size() const;
  Algebra algebra() const;
};

std::string_view RoleName(Role role);
/// Whether clients train tensors of this role: all but masks and scores.
bool IsTrained(Role role);
/// `[8,384]`.
std::string ShapeText(const std::vector<std::int64_t>& shape);

/// Pre: a tensor with ranks.
std::size_t RanksOf(const TensorSpec& spec);
/// The shape, and number of elements, of a tensor with these ranks alone.
std::vector<std::int64_t> KeptShape(const TensorSpec& spec, const std::optional<std::vector<std::uint32_t>>& ranks);
std::size_t KeptSize(const TensorSpec& spec, const std::optional<std::vector<std::uint32_t>>& ranks);

/// Immutable; shared between threads by shared_ptr<const ParamLayout>.
class ParamLayout {
 public:
  /// Errors: kInvalidArgument for no tensor, two of one name, a dimension below 1, or more than 2^40 elements.
  static Result<std::shared_ptr<const ParamLayout>> Make(std::vector<TensorSpec> tensors);

  const std::vector<TensorSpec>& tensors() const { return tensors_; }
  /// Elements before tensor `index`.
  std::size_t offset(std::size_t index) const { return offsets_[index]; }
  /// Elements of all tensors.
  std::size_t size() const { return offsets_.back(); }
  std::optional<std::size_t> Find(std::string_view name) const;
  /// SHA-256 of the canonical form: one line a tensor, `name shape role site law scale`, the scale in hexadecimal
  /// floating point.
  const Digest& digest() const { return digest_; }

 private:
  ParamLayout() = default;
  std::vector<TensorSpec> tensors_;
  std::vector<std::size_t> offsets_;
  Digest digest_{};
};

/// What of a layout a round trains and what of that it shares, per tensor. A tensor that is trained and not shared is
/// the client's own, one that is neither stays as it is. What a view may depend on besides the run (client, round,
/// phase) has its place in the function that makes it (peft/plan).
struct ViewSpec {
  std::vector<bool> train;
  std::vector<bool> share;

  bool operator==(const ViewSpec&) const = default;
};

/// The ranks of each tensor that travel, ascending; nothing said of a tensor: all of it.
using KeptRanks = std::vector<std::optional<std::vector<std::uint32_t>>>;

/// One travelling piece of a payload: a tensor, and the largest absolute value it may hold.
struct Segment {
  std::size_t tensor = 0;
  double max_abs = 0;
  /// Of a tensor with ranks (rows, or columns of kLoraB) these alone.
  std::optional<std::vector<std::uint32_t>> ranks = {};
};

/// What travels in one direction, in order, as contiguous little-endian float32.
struct PayloadLayout {
  std::vector<Segment> segments;
  /// Elements of all segments.
  std::size_t size = 0;
  /// SHA-256 over the parameter layout's digest and the segments.
  Digest digest{};
};

/// The tensors that `travels` names, of each the kept ranks. Pre: it matches the layout's length, and so does `kept`
/// unless it is empty.
PayloadLayout DensePayload(const ParamLayout& layout, const std::vector<bool>& travels, double max_abs,
                           const KeptRanks& kept = {});

}  // namespace fedpeft
