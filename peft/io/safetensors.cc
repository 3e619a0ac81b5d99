#include "peft/io/safetensors.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "peft/io/quote.h"
#include "peft/io/safetensors_header.h"
#include "peft/params/half.h"
#include "peft/params/layout.h"

namespace fedpeft {

namespace {

using internal::Header;
using internal::HeaderEntry;

constexpr std::uint64_t kLongestHeader = 100'000'000;  // the official library's

struct DtypeFacts {
  std::string_view name;
  unsigned bits;
};
/// In the order of Dtype.
constexpr std::array<DtypeFacts, 22> kDtypes = {{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};
static_assert(kDtypes[static_cast<std::size_t>(Dtype::kU64)].name == "U64");

/// The tensors must tile the data from its first byte to its last: no hole, no overlap, nothing left over.
Status CheckTiling(const Header& header, std::uint64_t data_size) {
  std::vector<std::pair<const std::string*, const HeaderEntry*>> order;
  order.reserve(header.tensors.size());
  for (const auto& [name, entry] : header.tensors) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  std::uint64_t at = 0;
  for (const auto& [name, entry] : order) {
    std::string claim = "tensor " + Quoted(*name) + " has data_offsets [";
    claim.append(std::to_string(entry->begin)).append(",").append(std::to_string(entry->end)).append("]");
    if (entry->begin != at || entry->end < entry->begin) {
      return InvalidArgument(claim + ", want them to begin at " + std::to_string(at));
    }
    const std::optional<std::uint64_t> bytes = DenseBytes(entry->dtype, entry->shape);
    if (!bytes || *bytes != entry->end - entry->begin) {
      return InvalidArgument(claim + ", which do not fit dtype " + std::string(DtypeName(entry->dtype)) +
                             " and shape " + ShapeText(entry->shape));
    }
    at = entry->end;
  }
  if (at != data_size) {
    return InvalidArgument("data: has " + std::to_string(data_size) + " bytes, want " + std::to_string(at) +
                           " (truncated, or something is appended)");
  }
  return OkStatus();
}

}  // namespace

std::string_view DtypeName(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)].name;
}
unsigned DtypeBits(Dtype dtype) {
  return kDtypes[static_cast<std::size_t>(dtype)].bits;
}

std::optional<Dtype> DtypeOf(std::string_view name) {
  for (std::size_t i = 0; i < kDtypes.size(); ++i) {
    if (kDtypes[i].name == name) return static_cast<Dtype>(i);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> DenseBytes(Dtype dtype, const Shape& shape) {
  std::uint64_t bits = 1;
  for (const std::int64_t size : shape) {
    if (size < 0 || !CheckedMul(bits, static_cast<std::uint64_t>(size), bits)) return std::nullopt;
  }
  if (!CheckedMul(bits, DtypeBits(dtype), bits) || bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

TensorView FloatView(std::string name, Shape shape, std::span<const float> values) {
  FEDPEFT_CHECK(DenseBytes(Dtype::kF32, shape) == values.size_bytes());
  return {std::move(name), Dtype::kF32, std::move(shape), AsBytes(values)};
}

Result<Safetensors> ParseSafetensors(ByteSpan file) {
  if (file.size() < 8) {
    return InvalidArgument("has " + std::to_string(file.size()) + " bytes, want at least 8 (not a safetensors file)");
  }
  const auto header_size = LoadLe<std::uint64_t>(file);
  if (header_size > kLongestHeader || header_size > file.size() - 8) {
    return InvalidArgument("header: has " + std::to_string(header_size) + " bytes by its length field, want at most " +
                           std::to_string(std::min<std::uint64_t>(kLongestHeader, file.size() - 8)));
  }
  const ByteSpan data = file.subspan(8 + header_size);
  ASSIGN_OR_RETURN(Header header, internal::ParseHeader(AsText(file.subspan(8, header_size))));
  RETURN_IF_ERROR(CheckTiling(header, data.size()));
  Safetensors content{.tensors = {}, .metadata = std::move(header.metadata)};
  for (auto& [name, entry] : header.tensors) {
    content.tensors.emplace_hint(
        content.tensors.end(), name,
        TensorView{name, entry.dtype, std::move(entry.shape), data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return content;
}

Result<SafetensorsFile> SafetensorsFile::Map(const std::string& path) {
  SafetensorsFile file;
  ASSIGN_OR_RETURN(file.map_, MappedFile::Open(path));
  Result<Safetensors> content = ParseSafetensors(file.map_.bytes());
  if (!content.ok()) return content.status().Annotate(path);
  file.content_ = std::move(content).value();
  return file;
}

Result<SafetensorsFile> SafetensorsFile::Read(const std::string& path, std::uint64_t max_bytes) {
  SafetensorsFile file;
  ASSIGN_OR_RETURN(std::string text, ReadFile(path, max_bytes));
  file.memory_.push_back(std::make_unique<const std::string>(std::move(text)));
  Result<Safetensors> content = ParseSafetensors(AsBytes(*file.memory_.back()));
  if (!content.ok()) return content.status().Annotate(path);
  file.content_ = std::move(content).value();
  return file;
}

Status SafetensorsFile::Join(SafetensorsFile other) {
  for (auto& [name, tensor] : other.content_.tensors) {
    if (content_.tensors.contains(name)) return InvalidArgument("tensor " + Quoted(name) + " is in another file too");
    content_.tensors.emplace(name, std::move(tensor));
  }
  std::move(other.memory_.begin(), other.memory_.end(), std::back_inserter(memory_));
  return OkStatus();
}

Status CheckShape(const TensorView& tensor, const Shape& want) {
  if (tensor.shape == want) return OkStatus();
  return InvalidArgument("tensor " + Quoted(tensor.name) + " has shape " + ShapeText(tensor.shape) + ", want " +
                         ShapeText(want));
}

Status CopyFloats(const TensorView& tensor, std::span<float> out) {
  const std::size_t elements = tensor.data.size() * 8 / DtypeBits(tensor.dtype);
  if (elements != out.size()) {
    return InvalidArgument("tensor " + Quoted(tensor.name) + " has " + std::to_string(elements) + " elements, want " +
                           std::to_string(out.size()));
  }
  switch (tensor.dtype) {
    case Dtype::kF32:
      if (!out.empty()) std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
      return OkStatus();
    case Dtype::kF16:
      HalvesToFloats(tensor.data, out);
      return OkStatus();
    case Dtype::kBF16:
      Bfloat16sToFloats(tensor.data, out);
      return OkStatus();
    case Dtype::kF64:
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(LoadLe<double>(tensor.data, 8 * i));
      return OkStatus();
    default:
      return Unimplemented("tensor " + Quoted(tensor.name) + " has dtype " + std::string(DtypeName(tensor.dtype)) +
                           ", want F32, F16, BF16 or F64 (convert it)");
  }
}

}  // namespace fedpeft
