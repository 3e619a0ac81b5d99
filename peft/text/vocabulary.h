// Token text to id and back. The text lives in one block; looking up allocates nothing.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "peft/core/fingerprint.h"
#include "peft/core/status.h"

namespace fedpeft::text {

/// Ids are below this; a file that names a larger one is refused before anything is sized by it.
inline constexpr std::int64_t kMaxTokenId = (1 << 24) - 1;

/// An open-addressing map from text it does not own to ids.
class TokenIndex {
 public:
  /// Room for `count` entries, which is all there may ever be.
  explicit TokenIndex(std::size_t count = 0);
  /// False, and nothing changed, when the text is there already.
  bool Insert(std::string_view text, std::int32_t id);
  std::optional<std::int32_t> Find(std::string_view text) const;

 private:
  struct Slot {
    std::string_view text;
    std::int32_t id = kEmpty;
  };
  static constexpr std::int32_t kEmpty = -1;
  std::size_t SlotOf(std::string_view text) const;
  std::vector<Slot> slots_;  // a power of two, at most half full
};

/// Never empty. Immutable; moving keeps the text where it is.
class Vocabulary {
 public:
  struct Entry {
    std::int32_t id;
    std::string_view text;
  };

  /// From `{"token": id, …}`. Errors: kInvalidArgument on an id that is no integer from 0 to kMaxTokenId or that two
  /// tokens share.
  static Result<Vocabulary> FromJson(const nlohmann::json& object, std::string_view where);

  std::optional<std::int32_t> Find(std::string_view token) const { return index_.Find(token); }
  std::optional<std::string_view> TokenOf(std::int32_t id) const;
  /// In order of ids.
  std::span<const Entry> entries() const { return entries_; }
  void AddTo(Fingerprint& fingerprint) const;

 private:
  std::vector<char> block_;
  std::vector<Entry> entries_;
  TokenIndex index_;
};

}  // namespace fedpeft::text
