#include "server/stream_watch.h"

#include <vector>

namespace fedpeft::server {

StreamWatch::Ticket StreamWatch::Add(EndStream end) {
  const std::lock_guard lock(mutex_);
  streams_.emplace(++last_number_, Stream{std::move(end), clock_.Now()});
  return {this, last_number_};
}

void StreamWatch::Touch(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (const auto stream = streams_.find(number); stream != streams_.end()) stream->second.moved = clock_.Now();
}

void StreamWatch::Remove(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  streams_.erase(number);
}

void StreamWatch::EndSilent() {
  std::vector<EndStream> silent;
  {
    const std::lock_guard lock(mutex_);
    const Instant now = clock_.Now();
    std::erase_if(streams_, [&](auto& entry) {
      if (now - entry.second.moved < silence_) return false;
      silent.push_back(std::move(entry.second.end));
      return true;
    });
  }
  for (const EndStream& end : silent) end();
}

}  // namespace fedpeft::server
