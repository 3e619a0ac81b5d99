// Hand-built safetensors files, well-formed or not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "peft/core/bytes.h"

namespace fedpeft::testing {

/// Length field, `header` as it is, then `data_size` bytes 0, 1, 2, ….
inline Bytes SafetensorsBytes(std::string_view header, std::size_t data_size) {
  Bytes file(8);
  StoreLe<std::uint64_t>(header.size(), file.data());
  file.insert(file.end(), header.begin(), header.end());
  for (std::size_t i = 0; i < data_size; ++i) file.push_back(static_cast<std::uint8_t>(i));
  return file;
}

/// `{"dtype":…,"shape":…,"data_offsets":…}` of JSON fragments.
inline std::string EntryJson(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  std::string json = R"({"dtype":)";
  json.append(dtype).append(R"(,"shape":)").append(shape);
  return json.append(R"(,"data_offsets":)").append(offsets).append("}");
}

}  // namespace fedpeft::testing
