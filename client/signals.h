// SIGINT and SIGTERM as an ordinary call on an ordinary thread: nothing is ever interrupted in a signal handler.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "peft/core/clock.h"

namespace fedpeft::client {

/// Blocks the two signals (and the one that ends a watcher) for this thread and those it starts. Before any other
/// thread exists.
void BlockStopSignals();

/// While alive, calls `stop` once when a signal comes. A signal that came before is still noticed.
class StopOnSignal {
 public:
  explicit StopOnSignal(std::function<void()> stop);
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

 private:
  std::thread thread_;
};

/// A flag that can be waited for.
class StopFlag {
 public:
  void Set();
  /// False as soon as the flag is set.
  bool WaitUnlessSet(Duration duration);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

}  // namespace fedpeft::client
