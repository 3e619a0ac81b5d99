// SIGINT and SIGTERM as an ordinary call on an ordinary thread: nothing is ever interrupted in a signal handler.
#pragma once

#include <functional>
#include <stop_token>
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

/// Waits for `duration`; false as soon as the stop is requested.
bool WaitUnlessStopped(const std::stop_token& stop, Duration duration);

}  // namespace fedpeft::client
