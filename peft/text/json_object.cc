#include "peft/text/json_object.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

namespace fedpeft::text {

using nlohmann::json;

namespace {

constexpr int kMaxDepth = 32;

/// Watches the parser: remembers the first key seen twice in one object, and nesting that is too deep.
class StructureCheck {
 public:
  bool operator()(int depth, json::parse_event_t event, const json& parsed) {
    if (depth > kMaxDepth) too_deep_ = true;
    if (event == json::parse_event_t::object_start) open_.emplace_back();
    if (event == json::parse_event_t::object_end) open_.pop_back();
    if (event == json::parse_event_t::key && !open_.back().insert(parsed.get_ref<const std::string&>()).second &&
        duplicate_.empty()) {
      duplicate_ = parsed.dump();
    }
    return !too_deep_;
  }
  Status status() const {
    if (too_deep_) return InvalidArgument("JSON: nested more than " + std::to_string(kMaxDepth) + " deep");
    if (!duplicate_.empty())
      return InvalidArgument("JSON: key " + duplicate_ + " appears twice in one object, want once");
    return OkStatus();
  }

 private:
  std::vector<std::unordered_set<std::string>> open_;
  std::string duplicate_;
  bool too_deep_ = false;
};

}  // namespace

Result<json> ParseJson(std::string_view text) {
  StructureCheck check;
  try {
    json value = json::parse(text, std::ref(check));
    RETURN_IF_ERROR(check.status());
    return value;
  } catch (const json::exception& error) {
    return InvalidArgument(std::string("JSON: ") + error.what());
  }
}

std::string Describe(const json& value) {
  constexpr std::size_t kLongest = 40;
  if (value.is_structured()) return value.type_name();
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return text.size() <= kLongest ? text : value.type_name();
}

Result<JsonObject> JsonObject::Of(const json& value, std::string where) {
  if (!value.is_object()) return InvalidArgument(where + ": got " + Describe(value) + ", want an object");
  return JsonObject(value, std::move(where));
}

const json* JsonObject::Optional(std::string_view key) {
  asked_.emplace_back(key);
  const auto found = value_->find(asked_.back());
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

Result<const json*> JsonObject::Required(std::string_view key) {
  const json* value = Optional(key);
  if (value == nullptr) return InvalidArgument(where_ + ": key '" + std::string(key) + "' is missing");
  return value;
}

Result<std::string> JsonObject::String(std::string_view key) {
  ASSIGN_OR_RETURN(const json* value, Required(key));
  if (value->is_string()) return value->get<std::string>();
  return InvalidArgument(where_ + "." + std::string(key) + ": got " + Describe(*value) + ", want a string");
}

Result<bool> JsonObject::Bool(std::string_view key) {
  ASSIGN_OR_RETURN(const json* value, Required(key));
  if (value->is_boolean()) return value->get<bool>();
  return InvalidArgument(where_ + "." + std::string(key) + ": got " + Describe(*value) + ", want true or false");
}

Result<std::int64_t> JsonObject::Integer(std::string_view key, std::int64_t low, std::int64_t high) {
  ASSIGN_OR_RETURN(const json* value, Required(key));
  // Unsigned values above int64's range read as negative ones here, hence the first test.
  const bool fits =
      value->is_number_integer() && !(value->is_number_unsigned() && value->get<std::uint64_t>() >> 63 != 0);
  if (fits && value->get<std::int64_t>() >= low && value->get<std::int64_t>() <= high)
    return value->get<std::int64_t>();
  return InvalidArgument(where_ + "." + std::string(key) + ": got " + Describe(*value) + ", want an integer from " +
                         std::to_string(low) + " to " + std::to_string(high));
}

Result<const json*> JsonObject::Array(std::string_view key, std::size_t most) {
  ASSIGN_OR_RETURN(const json* value, Required(key));
  if (value->is_array() && value->size() <= most) return value;
  return InvalidArgument(where_ + "." + std::string(key) + ": got " + Describe(*value) + ", want an array of at most " +
                         std::to_string(most) + " elements");
}

Status JsonObject::RefuseOtherKeys() const {
  for (const auto& item : value_->items()) {
    if (std::find(asked_.begin(), asked_.end(), item.key()) == asked_.end()) {
      return Unimplemented(where_ + ": unknown key '" + item.key() + "' (this version does not know what it means)");
    }
  }
  return OkStatus();
}

Status UnknownType(std::string_view where, std::string_view type, std::string_view known) {
  return Unimplemented(std::string(where) + ": got type '" + std::string(type) + "', want " + std::string(known));
}

}  // namespace fedpeft::text
