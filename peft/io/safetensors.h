// safetensors: the one format in which weights enter and leave fedpeft. The reader takes every file for hostile: all
// checks of the official library and three more (duplicate keys, unknown keys and anything after the JSON are refused).
// It hands out views, never copies. Where a tensor's numbers are wanted, CopyFloats converts.
// Source: huggingface/safetensors, README "Format" and safetensors/src/tensor.rs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/files.h"
#include "peft/core/status.h"

namespace fedpeft {

/// In ascending alignment order, which is also the writer's (descending) sort key.
// clang-format off
enum class Dtype : std::uint8_t {
  kBool, kF4, kF6E2M3, kF6E3M2, kU8, kI8, kF8E5M2, kF8E4M3, kF8E8M0, kF8E4M3Fnuz, kF8E5M2Fnuz,
  kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kC64, kF64, kI64, kU64,
};
// clang-format on
/// `F32`, as in the file.
std::string_view DtypeName(Dtype dtype);
/// The dtype of that name, or none.
std::optional<Dtype> DtypeOf(std::string_view name);
/// Bits of one element.
unsigned DtypeBits(Dtype dtype);

/// Sizes, outermost first; `[]` is a scalar. Signed as in ParamLayout and LibTorch; never negative.
using Shape = std::vector<std::int64_t>;

/// Bytes of a dense tensor; none when a size is negative, the product overflows, or it is no whole number of bytes.
std::optional<std::uint64_t> DenseBytes(Dtype dtype, const Shape& shape);

/// A named tensor somewhere in memory: row-major, little-endian, at any alignment. Borrows `data`.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::kF32;
  Shape shape;
  ByteSpan data;
};
using TensorMap = std::map<std::string, TensorView, std::less<>>;
using StringMap = std::map<std::string, std::string, std::less<>>;

/// The view of a float buffer, for writers. Pre: `values` has as many elements as `shape` says.
TensorView FloatView(std::string name, Shape shape, std::span<const float> values);

/// A file's content. Pre of every TensorView: the number of bytes is what dtype and shape say.
struct Safetensors {
  TensorMap tensors;
  /// `__metadata__`; empty when the file has none.
  StringMap metadata;
};

/// Reads a whole file's bytes; the result borrows them.
/// Errors: kInvalidArgument: any deviation from the format. Every dtype is accepted here.
/// Cost: proportional to the header; at most 100 MB of header, a million tensors, 64 dimensions.
Result<Safetensors> ParseSafetensors(ByteSpan file);

/// A file and its content, kept together. Moving it keeps the views valid.
class SafetensorsFile {
 public:
  /// Maps the file: for what the operator owns and nobody truncates, such as the base model.
  static Result<SafetensorsFile> Map(const std::string& path);
  /// Reads it into memory: for everything else. Errors: kResourceExhausted beyond `max_bytes`.
  static Result<SafetensorsFile> Read(const std::string& path, std::uint64_t max_bytes);
  /// Takes up the tensors of another file, not its metadata. Pre: both are read, not mapped. Errors: kInvalidArgument
  /// for a name that both have.
  Status Join(SafetensorsFile other);

  const TensorMap& tensors() const { return content_.tensors; }
  const StringMap& metadata() const { return content_.metadata; }

 private:
  SafetensorsFile() = default;
  MappedFile map_;
  std::vector<std::unique_ptr<const std::string>> memory_;
  Safetensors content_;
};

/// Errors: kInvalidArgument `tensor "…" has shape [8,3], want [8,4]`.
Status CheckShape(const TensorView& tensor, const Shape& want);

/// The values of an F32, F16, BF16 or F64 tensor as floats (F64 is rounded). NaN and infinities are passed through.
/// Errors: kInvalidArgument: `out` has another number of elements, or the dtype holds integers; kUnimplemented: a float
/// dtype of fewer than 16 bits, or complex.
Status CopyFloats(const TensorView& tensor, std::span<float> out);

/// The file's bytes: sorted by dtype (widest first) and name, header padded so that data is 8-aligned. `metadata` is
/// written beside `format: pt`, which transformers and peft look for.
/// Errors: kInvalidArgument: a name twice, `__metadata__` as a name, text that is not UTF-8, or data that is not as
/// long as dtype and shape say.
Result<Bytes> SerializeSafetensors(std::span<const TensorView> tensors, const StringMap& metadata = {});

/// The same bytes, straight from the tensors' buffers to the disk; atomic and durable (WriteFileAtomically).
Status WriteSafetensors(const std::string& path, std::span<const TensorView> tensors, const StringMap& metadata = {});

}  // namespace fedpeft
