// Names from files in messages: a hostile name must not forge log lines or flood them.
#pragma once

#include <string>
#include <string_view>

namespace fedpeft {

/// `"name"`, with control characters, quotes and backslashes escaped, and cut after 200 bytes.
std::string Quoted(std::string_view name);

}  // namespace fedpeft
