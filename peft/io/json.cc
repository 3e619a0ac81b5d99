#include "peft/io/json.h"

#include <set>
#include <vector>

#include "peft/io/quote.h"

namespace fedpeft {

Result<nlohmann::json> ParseJsonObject(std::string_view text) {
  constexpr int kDeepest = 64;
  if (text.find('\0') != std::string_view::npos) return InvalidArgument("has a NUL byte, want JSON");
  using Event = nlohmann::json::parse_event_t;
  std::string error;
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int depth, Event event, nlohmann::json& value) {
    if (event == Event::object_start) open_objects.emplace_back();
    if (event == Event::object_end) open_objects.pop_back();
    if (event == Event::key && !open_objects.back().insert(value.get_ref<const std::string&>()).second &&
        error.empty()) {
      error = "key " + Quoted(value.get_ref<const std::string&>()) + " occurs twice";
    }
    if (depth > kDeepest && error.empty()) error = "nests deeper than " + std::to_string(kDeepest) + " levels";
    return error.empty();
  };
  nlohmann::json value = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
  if (!error.empty()) return InvalidArgument(error);
  if (!value.is_object()) return InvalidArgument("is not a JSON object");
  return value;
}

Result<std::string> DumpJson(const nlohmann::json& value, int indent) {
  try {
    return value.dump(indent);
  } catch (const nlohmann::json::type_error&) {
    return InvalidArgument("text: is not valid UTF-8, so it cannot be written as JSON");
  }
}

}  // namespace fedpeft
