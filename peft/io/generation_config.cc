#include "peft/io/generation_config.h"

#include <limits>

#include "peft/core/files.h"
#include "peft/io/json.h"

namespace fedpeft {

namespace {

constexpr std::uint64_t kMostBytes = 1 << 20;

Result<std::int32_t> IdOf(const nlohmann::json& value) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  if (value.is_number_unsigned() && value.get<std::uint64_t>() <= kMost) return value.get<std::int32_t>();
  return InvalidArgument("eos_token_id: got " + value.dump().substr(0, 40) + ", want a token id or a list of them");
}

Result<std::vector<std::int32_t>> EndIdsOf(const nlohmann::json& config) {
  std::vector<std::int32_t> ids;
  const auto found = config.find("eos_token_id");
  if (found == config.end() || found->is_null()) return ids;
  const nlohmann::json list = found->is_array() ? *found : nlohmann::json::array({*found});
  for (const nlohmann::json& value : list) {
    ASSIGN_OR_RETURN(const std::int32_t id, IdOf(value));
    ids.push_back(id);
  }
  return ids;
}

}  // namespace

Result<std::vector<std::int32_t>> ReadEndIds(const std::string& folder) {
  std::string path = JoinPath(folder, "generation_config.json");
  if (!PathExists(path)) path = JoinPath(folder, "config.json");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMostBytes));
  const Result<nlohmann::json> config = ParseJsonObject(text);
  if (!config.ok()) return config.status().Annotate(path);
  Result<std::vector<std::int32_t>> ids = EndIdsOf(*config);
  if (!ids.ok()) return ids.status().Annotate(path);
  return ids;
}

}  // namespace fedpeft
