// The JSON header of a safetensors file as plain entries: well-formed and of the right schema, nothing more. Whether
// the entries make sense together is safetensors.cc's business.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "peft/core/status.h"
#include "peft/io/safetensors.h"

namespace fedpeft::internal {

struct HeaderEntry {
  Dtype dtype = Dtype::kF32;
  Shape shape;
  /// Bytes, relative to the start of the data, as claimed.
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct Header {
  std::map<std::string, HeaderEntry, std::less<>> tensors;
  StringMap metadata;
};

/// Errors: kInvalidArgument: not UTF-8, not JSON, bytes after it, another schema, a key twice, or beyond the limits of
/// ParseSafetensors.
Result<Header> ParseHeader(std::string_view json);

}  // namespace fedpeft::internal
