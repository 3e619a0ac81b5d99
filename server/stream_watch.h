// StreamWatch: ends streams in which nothing moves, so that a peer that opens one and goes silent holds no call, and no
// blob, for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "peft/core/clock.h"

namespace fedpeft::server {

/// Threads: any.
class StreamWatch {
 public:
  /// Called once at most, without a lock held, and perhaps after the ticket is gone.
  using EndStream = std::function<void()>;

  /// The stream is watched as long as its ticket lives. Moves, but not after the watch is gone.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(StreamWatch* watch, std::uint64_t number) : watch_(watch), number_(number) {}
    Ticket(Ticket&& other) noexcept : watch_(std::exchange(other.watch_, nullptr)), number_(other.number_) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(watch_, other.watch_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~Ticket() {
      if (watch_ != nullptr) watch_->Remove(number_);
    }
    /// Something moved.
    void Touch() {
      if (watch_ != nullptr) watch_->Touch(number_);
    }

   private:
    StreamWatch* watch_ = nullptr;
    std::uint64_t number_ = 0;
  };

  StreamWatch(const Clock& clock, double silence_s) : clock_(clock), silence_(Seconds(silence_s)) {}

  [[nodiscard]] Ticket Add(EndStream end);
  /// Ends every stream in which nothing has moved for the silence.
  void EndSilent();

 private:
  struct Stream {
    EndStream end;
    Instant moved;
  };
  void Touch(std::uint64_t number);
  void Remove(std::uint64_t number);

  const Clock& clock_;
  const Duration silence_;
  std::mutex mutex_;
  std::map<std::uint64_t, Stream> streams_;  // guarded by mutex_
  std::uint64_t last_number_ = 0;            // guarded by mutex_
};

}  // namespace fedpeft::server
