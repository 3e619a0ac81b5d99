// Precompiled: the normalizer of SentencePiece, a table of texts and their replacements that a file brings along.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "peft/text/normalizer.h"

namespace fedpeft::text {

class JsonObject;

/// The table: u32 LE size of a double-array trie in bytes, the trie as u32 LE units (darts-clone), and the
/// replacements, each with a zero byte behind it; a trie's value is where its replacement begins.
class PrecompiledNormalizer final : public Normalizer {
 public:
  /// Errors: kInvalidArgument on a table that is not base64, cut short or not UTF-8.
  static Result<std::unique_ptr<Normalizer>> FromJson(JsonObject& object);

  Status Normalize(NormalText& normal) const override;
  void AddTo(Fingerprint& fingerprint) const override;

 private:
  PrecompiledNormalizer(std::vector<std::uint32_t> units, std::string replacements)
      : units_(std::move(units)), replacements_(std::move(replacements)) {}

  /// The replacement of the shortest entry that `text` begins with; the package takes it for all of `text`.
  std::optional<std::string_view> ReplacementOf(std::string_view text) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace fedpeft::text
