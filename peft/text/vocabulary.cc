#include "peft/text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "peft/text/json_object.h"

namespace fedpeft::text {

using nlohmann::json;

namespace {

// FNV-1a: tokens are a few bytes long, where it is as fast as anything.
std::uint64_t HashOf(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3u;
  return hash ^ (hash >> 32);
}

bool IsTokenId(const json& value) {
  return value.is_number_unsigned() && value.get<std::uint64_t>() <= std::uint64_t{kMaxTokenId};
}

}  // namespace

TokenIndex::TokenIndex(std::size_t count) : slots_(std::bit_ceil(2 * count + 2)) {}

std::size_t TokenIndex::SlotOf(std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = HashOf(text) & mask;
  while (slots_[at].id != kEmpty && slots_[at].text != text) at = (at + 1) & mask;
  return at;
}

bool TokenIndex::Insert(std::string_view text, std::int32_t id) {
  Slot& slot = slots_[SlotOf(text)];
  if (slot.id != kEmpty) return false;
  slot = {text, id};
  return true;
}

std::optional<std::int32_t> TokenIndex::Find(std::string_view text) const {
  const Slot& slot = slots_[SlotOf(text)];
  return slot.id == kEmpty ? std::nullopt : std::optional(slot.id);
}

Result<Vocabulary> Vocabulary::FromJson(const json& object, std::string_view where) {
  const std::string name(where);
  if (!object.is_object()) return InvalidArgument(name + ": got " + Describe(object) + ", want an object of token ids");
  if (object.empty()) return InvalidArgument(name + ": got no token, want at least one");
  std::size_t bytes = 0;
  for (const auto& item : object.items()) bytes += item.key().size();

  Vocabulary out;
  out.block_.reserve(bytes);  // exactly what is needed: views into it must not move
  out.entries_.reserve(object.size());
  out.index_ = TokenIndex(object.size());
  for (const auto& item : object.items()) {
    if (!IsTokenId(item.value())) {
      return InvalidArgument(name + ": token '" + item.key() + "' has id " + Describe(item.value()) +
                             ", want an integer from 0 to " + std::to_string(kMaxTokenId));
    }
    const std::size_t start = out.block_.size();
    out.block_.insert(out.block_.end(), item.key().begin(), item.key().end());
    const std::string_view text(out.block_.data() + start, item.key().size());
    out.entries_.push_back({item.value().get<std::int32_t>(), text});
    FEDPEFT_CHECK(out.index_.Insert(text, out.entries_.back().id));
  }
  std::sort(out.entries_.begin(), out.entries_.end(), [](const Entry& a, const Entry& b) { return a.id < b.id; });
  const auto twice = std::adjacent_find(out.entries_.begin(), out.entries_.end(),
                                        [](const Entry& a, const Entry& b) { return a.id == b.id; });
  if (twice != out.entries_.end()) {
    return InvalidArgument(name + ": id " + std::to_string(twice->id) + " belongs to '" + std::string(twice->text) +
                           "' and to '" + std::string((twice + 1)->text) + "', want one token");
  }
  return out;
}

std::optional<std::string_view> Vocabulary::TokenOf(std::int32_t id) const {
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), id,
                                      [](const Entry& entry, std::int32_t wanted) { return entry.id < wanted; });
  if (found == entries_.end() || found->id != id) return std::nullopt;
  return found->text;
}

void Vocabulary::AddTo(Fingerprint& fingerprint) const {
  fingerprint.Number(entries_.size());
  for (const Entry& entry : entries_) {
    fingerprint.Number(static_cast<std::uint64_t>(entry.id));
    fingerprint.Text(entry.text);
  }
}

}  // namespace fedpeft::text
