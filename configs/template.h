// TextTemplate: a text with `{column}` fields, which a row of data fills; `{{` and `}}` are braces themselves.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "peft/core/status.h"

namespace fedpeft {

class TextTemplate {
 public:
  struct Piece {
    /// The text itself, or the name of a column.
    std::string text;
    bool is_column = false;
  };

  /// Errors: kInvalidArgument for a brace without its partner, or a field without a name.
  static Result<TextTemplate> Parse(std::string_view text);

  const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  std::vector<Piece> pieces_;
};

}  // namespace fedpeft
