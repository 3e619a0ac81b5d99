#include "server/store_thread.h"

#include <utility>

namespace fedpeft::server {

void StoreThread::Start() {
  thread_ = std::thread(&StoreThread::Loop, this);
}

void StoreThread::Run(Job job, Done done) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.emplace_back(std::move(job), std::move(done));
  }
  changed_.notify_one();
}

void StoreThread::Stop(bool drop) {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (drop) jobs_.clear();
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void StoreThread::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    auto [job, done] = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    done(job(store_));
    lock.lock();
  }
}

}  // namespace fedpeft::server
