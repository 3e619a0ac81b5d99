// Work that comes in parts, on several threads.
#pragma once

#include <cstddef>
#include <functional>

namespace fedpeft {

/// At least 1.
std::size_t Cores();

/// Calls `work` once with each of 0 … parts − 1, on up to `threads` (≥ 1) at once, and returns when all are done.
void ForEachPart(std::size_t parts, std::size_t threads, const std::function<void(std::size_t part)>& work);

}  // namespace fedpeft
