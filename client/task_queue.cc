#include "client/task_queue.h"

#include <algorithm>
#include <utility>

namespace fedpeft::client {

void TaskQueue::Offer(Work work) {
  {
    const std::lock_guard lock(mutex_);
    const std::pair offered(work.key.round, work.key.attempt);
    const auto [newest, first] = newest_.try_emplace({work.key.client, work.key.step}, offered);
    if (!first && offered <= newest->second) return;
    newest->second = offered;
    // A newer attempt of the same round starts from the same parameters, so the work in progress is still of use.
    if (current_ && current_->client == work.key.client && current_->round < work.key.round) cancelled_ = true;
    if (std::holds_alternative<SecureWork>(work.what)) {
      summing_ = std::max(summing_, offered);
      if (current_ && current_->step == kTrainStep && !WantedLocked(*current_)) cancelled_ = true;
      const auto other = std::ranges::find_if(
          queue_, [](const Work& queued) { return !std::holds_alternative<SecureWork>(queued.what); });
      queue_.insert(other, std::move(work));
      changed_.notify_all();
      return;
    }
    if (work.key.step == kTrainStep) training_ = std::max(training_, work.key.round);
    if (current_ && current_->step == kEvaluateStep && current_->round < training_) cancelled_ = true;
    queue_.push_back(std::move(work));
  }
  changed_.notify_all();
}

void TaskQueue::CloseRounds(std::uint32_t round) {
  {
    const std::lock_guard lock(mutex_);
    closed_ = std::max(closed_, round);
    // Evaluations of a round come after its commit.
    if (current_ && current_->step == kTrainStep && current_->round <= closed_) cancelled_ = true;
  }
  changed_.notify_all();
}

void TaskQueue::Reset() {
  const std::lock_guard lock(mutex_);
  queue_.clear();
  newest_.clear();
  training_ = 0;
  summing_ = {};
}

void TaskQueue::Finish(Status outcome) {
  {
    const std::lock_guard lock(mutex_);
    if (!outcome_) outcome_ = std::move(outcome);
    cancelled_ = true;
  }
  changed_.notify_all();
}

std::optional<Work> TaskQueue::Take() {
  std::unique_lock lock(mutex_);
  current_.reset();
  while (!outcome_) {
    if (queue_.empty()) {
      changed_.wait(lock);
      continue;
    }
    Work work = std::move(queue_.front());
    queue_.pop_front();
    if (!WantedLocked(work.key)) continue;
    current_ = work.key;
    cancelled_ = false;
    return work;
  }
  return std::nullopt;
}

bool TaskQueue::WantedLocked(const TaskKey& key) const {
  if (outcome_) return false;
  const bool evaluation = key.step == kEvaluateStep;
  if (evaluation ? key.round < training_ : key.round <= closed_) return false;
  if (key.step == kTrainStep && std::pair(key.round, key.attempt) <= summing_) return false;
  const auto newest = newest_.find({key.client, key.step});
  return newest == newest_.end() || newest->second <= std::pair(key.round, key.attempt);
}

bool TaskQueue::Wanted(const TaskKey& key) const {
  const std::lock_guard lock(mutex_);
  return WantedLocked(key);
}

bool TaskQueue::WaitWhileWanted(const TaskKey& key, Duration duration) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, duration, [&] { return !WantedLocked(key); });
  return WantedLocked(key);
}

bool TaskQueue::WaitUnlessFinished(Duration duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [&] { return outcome_.has_value(); });
}

bool TaskQueue::finished() const {
  const std::lock_guard lock(mutex_);
  return outcome_.has_value();
}

Status TaskQueue::outcome() const {
  const std::lock_guard lock(mutex_);
  FEDPEFT_CHECK(outcome_.has_value());
  return *outcome_;
}

}  // namespace fedpeft::client
