// The regular expressions of tokenizer.json: where Oniguruma, which the `tokenizers` package uses, finds matches.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft::text {

/// Bytes [start, end) of a text, which match or lie between matches.
struct Span {
  std::size_t start, end;
  bool is_match;
};

/// Immutable and cheap to copy. Threads: every const member is safe on any thread.
class Regex {
 public:
  /// Errors: TranslatePattern's; kInvalidArgument where PCRE2 refuses the pattern or it is longer than 64 KiB.
  static Result<Regex> Compile(std::string_view pattern);

  /// Cuts all of `text` into matches and what is between them, in order; matches may be empty.
  /// Pre: valid UTF-8. Errors: kResourceExhausted when a match takes too many steps.
  Status Cut(std::string_view text, std::vector<Span>& spans) const;

 private:
  struct Compiled;
  explicit Regex(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace fedpeft::text
