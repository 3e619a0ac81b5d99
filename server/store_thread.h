// StoreThread: the one thread that touches the state folder. Jobs run in the order they came; what they wait for on the
// disk never holds up the loop.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "peft/core/status.h"
#include "server/store.h"

namespace fedpeft::server {

class StoreThread {
 public:
  using Job = std::function<Status(Store&)>;
  using Done = std::function<void(Status)>;

  explicit StoreThread(Store store) : store_(std::move(store)) {}
  ~StoreThread() { Abandon(); }

  void Start();
  /// `done` runs on the store thread.
  void Run(Job job, Done done);
  /// Finishes all jobs and ends the thread.
  void Drain() { Stop(false); }
  /// Finishes the job at hand, drops the rest, and ends the thread.
  void Abandon() { Stop(true); }

 private:
  void Loop();
  void Stop(bool drop);

  Store store_;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<std::pair<Job, Done>> jobs_;
  bool stopping_ = false;
};

}  // namespace fedpeft::server
