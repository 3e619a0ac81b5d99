// A tokenizer read from a Hugging Face tokenizer.json: text, or a pair of texts, to the ids a base model is fed with.
// Ids are equal to those of the `tokenizers` package. Not here: batches, padding, attention masks; the data loader
// knows them. README.md says which types of stages are built in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "peft/text/truncation.h"

namespace fedpeft {

struct EncodeOptions {
  /// Most ids in the result, special tokens included; the excess is cut. None: nothing is cut.
  std::optional<std::size_t> max_length = std::nullopt;
  bool truncate_left = false;  ///< cuts at the start of a text rather than at its end
  text::TruncationStrategy truncation = text::TruncationStrategy::kLongestFirst;
  bool add_special_tokens = true;
  bool want_special_mask = false;
};

/// Shapes: all [T]; `special_mask` is empty unless asked for.
struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;
  std::vector<std::uint8_t> special_mask;  ///< 1 where the post-processor put a special token
};

/// Immutable and cheap to copy. Threads: every const member is safe on any thread.
class Tokenizer {
 public:
  /// Errors: ReadFile's; FromJson's with the path before them. At most 128 MiB are read.
  static Result<Tokenizer> FromFile(const std::string& path);
  /// The file's `truncation` and `padding` are its author's defaults, checked for nothing and ignored: the caller's
  /// options count. Errors: kUnimplemented, naming it, on a stage of unknown type or an unknown setting;
  /// kInvalidArgument on anything malformed.
  static Result<Tokenizer> FromJson(std::string_view json);

  /// Ill-formed UTF-8 is read as U+FFFD (text::ReplaceInvalidUtf8).
  /// Errors: kInvalidArgument when `max_length` has no room for the special tokens; Truncate's; kResourceExhausted
  /// when a regular expression of the file takes too many steps.
  Result<Encoding> Encode(std::string_view text, const EncodeOptions& options = {}) const;
  Result<Encoding> EncodePair(std::string_view first, std::string_view second, const EncodeOptions& options = {}) const;

  /// The text of the ids, as the file's decoder joins it; unknown ids are left out.
  std::string Decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  /// One more than the largest id: the rows an embedding must have.
  std::size_t vocab_size() const;
  std::optional<std::int32_t> TokenId(std::string_view token) const;
  /// SHA-256 over all that ids depend on: every stage's effective settings, vocabulary and added tokens. Formatting,
  /// order of keys, truncation, padding and decoder do not matter.
  const Digest& hash() const;

 private:
  struct Parts;
  explicit Tokenizer(std::shared_ptr<const Parts> parts) : parts_(std::move(parts)) {}
  Result<Encoding> EncodeTexts(std::string_view first, const std::string_view* second,
                               const EncodeOptions& options) const;
  std::shared_ptr<const Parts> parts_;
};

}  // namespace fedpeft
