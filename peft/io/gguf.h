// GGUF, the file format of llama.cpp: written, not read. Source: ggml, docs/gguf.md, version 3.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft {

using GgufValue = std::variant<std::string, float, std::uint32_t>;
using GgufEntries = std::vector<std::pair<std::string, GgufValue>>;

struct GgufTensor {
  /// At most 64 bytes.
  std::string name;
  /// Row-major, the fastest dimension last, as everywhere here; the file has it first.
  std::vector<std::int64_t> shape;
  std::span<const float> values;
};

/// Writes entries and tensors in their order, tensors as float32; atomic and durable.
/// Errors: kInvalidArgument for a tensor's name that is too long; those of writing. Pre: shapes fit the values.
Status WriteGguf(const std::string& path, const GgufEntries& entries, std::span<const GgufTensor> tensors);

}  // namespace fedpeft
