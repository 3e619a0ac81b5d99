// ConfigReader: config.json key by key. Reading never fails; the first error is kept and comes out at the end, together
// with the check that every key was either read or is known to change nothing, so that no setting is overlooked.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft {

class ConfigReader {
 public:
  /// Errors: kInvalidArgument: not one JSON object.
  static Result<ConfigReader> Parse(std::string_view json);
  ConfigReader(ConfigReader&&) noexcept;
  ~ConfigReader();

  /// The value at `key`; `otherwise` where the key is left out or null.
  std::int64_t Integer(const std::string& key, std::int64_t otherwise, std::int64_t min = 1,
                       std::int64_t max = std::int64_t{1} << 40);
  /// A finite number above 0.
  double Positive(const std::string& key, double otherwise);
  bool Flag(const std::string& key, bool otherwise);
  std::string Text(const std::string& key, const std::string& otherwise);
  std::vector<std::string> Texts(const std::string& key);
  /// The object at `key`, `{}` where it is left out or null. Its keys are to be finished with it.
  ConfigReader Object(const std::string& key);

  /// Whether the key is left out, which a null is not.
  bool Left(const std::string& key) const;
  /// Whether the key is there, not null and not an empty object.
  bool Has(const std::string& key) const;
  /// These keys change nothing about a frozen base's arithmetic.
  void Ignore(std::initializer_list<const char*> keys);
  /// An error that the caller found; the first one is kept.
  void Fail(Status error);

  /// The first error; else kUnimplemented for a key that nobody read or ignored, unless its value asks for nothing
  /// (null, false, empty).
  Status Finish() const;

 private:
  explicit ConfigReader(nlohmann::json object);
  const nlohmann::json* Find(const std::string& key);
  void Mistyped(const std::string& key, const std::string& want);

  std::unique_ptr<nlohmann::json> object_;
  std::set<std::string, std::less<>> known_;
  Status error_;
};

}  // namespace fedpeft
