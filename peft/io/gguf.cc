#include "peft/io/gguf.h"

#include <bit>

#include "peft/core/bytes.h"
#include "peft/core/files.h"
#include "peft/io/quote.h"

namespace fedpeft {

namespace {

constexpr std::uint32_t kVersion = 3, kFloat32 = 0;
constexpr std::size_t kAlignment = 32, kLongestName = 64;
/// Of an entry's value, by its place in GgufValue.
constexpr std::uint32_t kValueTypes[] = {8, 6, 4};

template <typename T>
void Append(T value, Bytes& out) {
  const std::size_t at = out.size();
  out.resize(at + sizeof value);
  StoreLe<T>(value, out.data() + at);
}

void Append(const std::string& text, Bytes& out) {
  Append<std::uint64_t>(text.size(), out);
  out.insert(out.end(), text.begin(), text.end());
}

void Append(const GgufValue& value, Bytes& out) {
  Append<std::uint32_t>(kValueTypes[value.index()], out);
  if (const auto* text = std::get_if<std::string>(&value)) Append(*text, out);
  if (const auto* number = std::get_if<float>(&value))
    Append<std::uint32_t>(std::bit_cast<std::uint32_t>(*number), out);
  if (const auto* number = std::get_if<std::uint32_t>(&value)) Append<std::uint32_t>(*number, out);
}

std::size_t Aligned(std::size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

Status WriteGguf(const std::string& path, const GgufEntries& entries, std::span<const GgufTensor> tensors) {
  Bytes header = {'G', 'G', 'U', 'F'};
  Append<std::uint32_t>(kVersion, header);
  Append<std::uint64_t>(tensors.size(), header);
  Append<std::uint64_t>(entries.size(), header);
  for (const auto& [key, value] : entries) {
    Append(key, header);
    Append(value, header);
  }
  std::size_t offset = 0;
  for (const GgufTensor& tensor : tensors) {
    if (tensor.name.size() > kLongestName) {
      return InvalidArgument("tensor " + Quoted(tensor.name) + ": the name has more than 64 bytes");
    }
    Append(tensor.name, header);
    Append<std::uint32_t>(static_cast<std::uint32_t>(tensor.shape.size()), header);
    for (auto it = tensor.shape.rbegin(); it != tensor.shape.rend(); ++it) {
      Append<std::uint64_t>(static_cast<std::uint64_t>(*it), header);
    }
    Append<std::uint32_t>(kFloat32, header);
    Append<std::uint64_t>(offset, header);
    offset += Aligned(tensor.values.size_bytes());
  }
  header.resize(Aligned(header.size()), 0);
  Bytes data(offset, 0);
  std::size_t at = 0;
  for (const GgufTensor& tensor : tensors) {
    for (const float value : tensor.values) {
      StoreLe<std::uint32_t>(std::bit_cast<std::uint32_t>(value), data.data() + at);
      at += sizeof value;
    }
    at = Aligned(at);
  }
  const ByteSpan pieces[] = {header, data};
  return WriteFileAtomically(path, pieces);
}

}  // namespace fedpeft
