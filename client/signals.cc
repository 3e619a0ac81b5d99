#include "client/signals.h"

#include <condition_variable>
#include <csignal>
#include <mutex>

#include "peft/core/log.h"

namespace fedpeft::client {

namespace {

/// Ends a watcher; never delivered, as it is blocked everywhere.
constexpr int kEndWatcher = SIGUSR1;

sigset_t WatchedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, kEndWatcher}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void BlockStopSignals() {
  const sigset_t set = WatchedSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

StopOnSignal::StopOnSignal(std::function<void()> stop)
    : thread_([stop = std::move(stop)] {
        const sigset_t set = WatchedSignals();
        int signal = 0;
        if (sigwait(&set, &signal) != 0 || signal == kEndWatcher) return;
        LogInfo("signal.stop", {{"signal", signal}});
        stop();
      }) {}

StopOnSignal::~StopOnSignal() {
  pthread_kill(thread_.native_handle(), kEndWatcher);
  thread_.join();
}

bool WaitUnlessStopped(const std::stop_token& stop, Duration duration) {
  std::mutex mutex;
  std::condition_variable_any nothing_else;
  std::unique_lock lock(mutex);
  nothing_else.wait_for(lock, stop, duration, [] { return false; });
  return !stop.stop_requested();
}

}  // namespace fedpeft::client
