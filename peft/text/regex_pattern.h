// Reads a regular expression as tokenizer.json writes it (Oniguruma's syntax for Ruby) and writes it for PCRE2 over the
// bytes of a RegexAlphabet. What would mean something else there, or needs Unicode data that is not in the tables, is
// refused by name.
#pragma once

#include <string>
#include <string_view>

#include "peft/core/status.h"
#include "peft/text/regex_alphabet.h"

namespace fedpeft::text {

struct BytePattern {
  RegexAlphabet alphabet;
  std::string pattern;  ///< ASCII
};

/// Known: literals, `.`, `^`, `$`, `\A`, `\z`, `|`, groups `(…)`, `(?:…)`, `(?i:…)` (ASCII within), `(?>…)`, lookaheads
/// and lookbehinds, classes without nesting, `\s \d \n \r \t \f \v \xHH \x{H…} \uHHHH`, general categories `\p{…}`
/// with one or two letters, their complements, and every quantifier but `{…}+`.
/// Errors: kUnimplemented for what is unknown, kInvalidArgument for what is malformed; both say where.
Result<BytePattern> TranslatePattern(std::string_view pattern);

/// A pattern that matches exactly this text.
std::string EscapePattern(std::string_view text);

}  // namespace fedpeft::text
