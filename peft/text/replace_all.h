// One text for another, everywhere in a third.
#pragma once

#include <string>
#include <string_view>

namespace fedpeft::text {

/// Appends `text`, with every `from`, from left to right, as `to`. Pre: `from` is not empty.
inline void AppendReplacing(std::string_view text, std::string_view from, std::string_view to, std::string& out) {
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from, done)) {
    out.append(text.substr(done, at - done)).append(to);
    done = at + from.size();
  }
  out.append(text.substr(done));
}

/// The same in place.
inline void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  if (text.find(from) == text.npos) return;
  std::string out;
  out.reserve(text.size() + to.size());
  AppendReplacing(text, from, to, out);
  text = std::move(out);
}

}  // namespace fedpeft::text
