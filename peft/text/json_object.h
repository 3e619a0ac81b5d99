// Strict reading of one JSON object of a tokenizer.json: every key is asked for, with its type, and a key nobody asked
// for is an error, so that a setting this version does not know is never ignored.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft::text {

/// Parses a whole document. Errors: kInvalidArgument on bad JSON, a key twice in one object, or nesting beyond 32.
Result<nlohmann::json> ParseJson(std::string_view text);

/// What is there instead, for error messages: its type, and its value when that is short.
std::string Describe(const nlohmann::json& value);

/// Borrows the JSON value, which must outlive it. Errors of all getters: kInvalidArgument, naming `where` and the key.
class JsonObject {
 public:
  /// `where` names the object in messages (`model`, `added_tokens[3]`).
  static Result<JsonObject> Of(const nlohmann::json& value, std::string where);

  /// Null when the key is missing or its value is null.
  const nlohmann::json* Optional(std::string_view key);
  Result<const nlohmann::json*> Required(std::string_view key);
  Result<std::string> String(std::string_view key);
  Result<bool> Bool(std::string_view key);
  /// `low` to `high`, both included.
  Result<std::int64_t> Integer(std::string_view key, std::int64_t low, std::int64_t high);
  /// At most `most` elements.
  Result<const nlohmann::json*> Array(std::string_view key, std::size_t most);
  /// The value of the key `type`, the tag by which every stage is chosen.
  Result<std::string> Type() { return String("type"); }

  /// Errors: kUnimplemented when the object has a key that was never asked for.
  Status RefuseOtherKeys() const;
  const std::string& where() const { return where_; }

 private:
  JsonObject(const nlohmann::json& value, std::string where) : value_(&value), where_(std::move(where)) {}
  const nlohmann::json* value_;
  std::string where_;
  std::vector<std::string> asked_;
};

/// Most members of a sequence of stages.
inline constexpr std::size_t kMostStages = 64;

/// The error for a stage of a type that is not built in.
Status UnknownType(std::string_view where, std::string_view type, std::string_view known);

}  // namespace fedpeft::text
