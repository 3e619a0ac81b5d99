#include "server/coordinator.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "configs/privacy.h"
#include "configs/secure.h"
#include "peft/core/check.h"
#include "peft/core/log.h"
#include "server/run_loop.h"
#include "server/store.h"
#include "server/store_thread.h"

namespace fedpeft::server {
namespace {

/// Round 0: the initial parameters, so that there is always a last round.
Status CommitStart(Store& store, const GlobalModel& model, const RunSpec& run) {
  RoundCommit start;
  start.record.committed_ms = UnixMillis();
  start.record.params_sha256 = Sha256Of(model.Encode(*model.checkpoint()));
  start.record.complete = run.evaluation.every == 0;
  start.record.threat = ThreatName(run.secure);
  return store.Commit(start, *model.checkpoint());
}

/// How far the privacy budget goes.
Status ReckonBudget(const RunSpec& run, ResumePoint& resume) {
  ASSIGN_OR_RETURN(const std::uint32_t last, LastAffordableRound(run, resume.committed_round, resume.released));
  ASSIGN_OR_RETURN(const double spent, EpsilonOf(run, resume.released));
  resume.last_affordable_round = last;
  const PhaseSpec& phase = run.PhaseAt(std::min(resume.committed_round + 1, run.total_rounds()));
  LogInfo("privacy.budget", {{"epsilon", run.privacy.budget.epsilon},
                             {"delta", run.privacy.budget.delta},
                             {"spent", spent},
                             {"noise_multiplier", run.privacy.noise_multiplier},
                             {"accountant", std::string(NameOf(run.privacy.accountant))},
                             {"last_round", last},
                             {"fewest_joined", FewestToDrawFrom(run, phase).value_or(run.privacy.population)}});
  return OkStatus();
}

}  // namespace

/// The queue, its thread, and what the thread owns.
class Coordinator::Loop {
 public:
  Loop(CoordinatorOptions options, std::string run_id, GlobalModel model, Store store, ResumePoint resume)
      : options_(std::move(options)),
        run_id_(std::move(run_id)),
        layout_digest_(model.layout()->digest()),
        max_update_bytes_(model.max_update_bytes()),
        personal_(model.personal()),
        store_(std::move(store)),
        run_(options_.run, {run_id_, options_.check_certificate}, std::move(model), std::move(resume),
             Clock::System()) {}

  ~Loop() {
    Close();
    if (thread_.joinable()) thread_.join();
    store_.Abandon();
    TurnAll();
  }

  void Start(Outbox& outbox) {
    FEDPEFT_CHECK(!thread_.joinable());
    store_.Start();
    thread_ = std::thread([this, &outbox] { Main(outbox); });
  }

  void Post(Event event) {
    if (!Enqueue(event)) RunLoop::Turn(std::move(event));
  }

  RunOutcome Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return outcome_.has_value(); });
    return *outcome_;
  }

  const CoordinatorOptions& options() const { return options_; }
  const std::string& run_id() const { return run_id_; }
  const Digest& layout_digest() const { return layout_digest_; }
  std::uint64_t max_update_bytes() const { return max_update_bytes_; }
  bool personal() const { return personal_; }

 private:
  /// Nothing: time is up. An event from outside. Or a call into run_: a store job is done.
  using Work = std::variant<std::monostate, Event, std::function<void()>>;

  void Main(Outbox& outbox) {
    run_.Start(
        outbox, [this](RunLoop::Job job, std::function<void()> done) { Persist(std::move(job), std::move(done)); },
        [this](RunOutcome outcome) { End(std::move(outcome)); });
    while (std::optional<Work> work = Next()) {
      if (std::holds_alternative<std::monostate>(*work)) {
        run_.Tick();
      } else if (auto* call = std::get_if<std::function<void()>>(&*work)) {
        (*call)();
      } else if (Event& event = std::get<Event>(*work); std::holds_alternative<StopRequested>(event)) {
        return Stop();
      } else {
        run_.Handle(std::move(event));
      }
    }
  }

  /// Blocks for the next piece of work; nothing when the loop is to end.
  std::optional<Work> Next() {
    const std::optional<Instant> wakeup = run_.Wakeup();
    std::unique_lock lock(mutex_);
    const auto ready = [this] { return closed_ || !queue_.empty(); };
    if (!wakeup) {
      changed_.wait(lock, ready);
    } else if (!changed_.wait_until(lock, *wakeup, ready)) {
      return std::monostate();
    }
    if (closed_) return std::nullopt;
    Work work = std::move(queue_.front());
    queue_.pop_front();
    return work;
  }

  /// Runs the job on the store thread, and `done`, or the job's failure, back here.
  void Persist(RunLoop::Job job, std::function<void()> done) {
    store_.Run(std::move(job), [this, done = std::move(done)](const Status& status) {
      std::function<void()> call = [this, status, done] { run_.Stored(status, done); };
      Enqueue(call);  // not taken once the loop has ended: the next process reads what was stored
    });
  }

  /// What is being stored is stored; everything else is the next process's.
  void Stop() {
    Close();
    TurnAll();
    run_.Flush();
    store_.Drain();
    LogInfo("run.stopped", {{"run", options_.run.name}});
    End({RunOutcome::Kind::kStopped, "stopped on request; the next start goes on"});
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

  void End(RunOutcome outcome) {
    const std::lock_guard lock(mutex_);
    if (!outcome_) outcome_ = std::move(outcome);
    changed_.notify_all();
  }

  /// False, and `item` untouched, once the loop has ended.
  template <typename Item>
  bool Enqueue(Item& item) {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    queue_.emplace_back(std::move(item));
    changed_.notify_all();
    return true;
  }

  /// Answers what is left in the queue. Pre: closed.
  void TurnAll() {
    std::deque<Work> left;
    {
      const std::lock_guard lock(mutex_);
      left.swap(queue_);
    }
    for (Work& work : left) {
      if (Event* event = std::get_if<Event>(&work)) RunLoop::Turn(std::move(*event));
    }
  }

  // Constant.
  const CoordinatorOptions options_;
  const std::string run_id_;
  const Digest layout_digest_;
  const std::uint64_t max_update_bytes_;
  const bool personal_;

  // Synchronised by itself.
  StoreThread store_;
  // The loop thread's.
  RunLoop run_;
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::deque<Work> queue_;
  bool closed_ = false;
  std::optional<RunOutcome> outcome_;
};

Result<std::unique_ptr<Coordinator>> Coordinator::Open(CoordinatorOptions options) {
  RunSpec& run = options.run;
  if (run.privacy.in_ledger()) {
    LogInfo("privacy.reckoning", {{"rounds", run.total_rounds()}});  // takes seconds
    RETURN_IF_ERROR(ResolveNoise(run));
  }
  ASSIGN_OR_RETURN(GlobalModel model, GlobalModel::Make(run));
  ASSIGN_OR_RETURN(Store store, Store::Open(options.state_folder, options.run_config, options.run));
  ASSIGN_OR_RETURN(const std::optional<RoundRecord> last, store.LastRound());
  ResumePoint resume;
  if (last) {
    ASSIGN_OR_RETURN(Checkpoint checkpoint, store.LoadCheckpoint(last->round, model.layout()));
    RETURN_IF_ERROR(model.Restore(std::move(checkpoint), last->params_sha256).Annotate(options.state_folder));
    ASSIGN_OR_RETURN(resume, store.LoadResumePoint(run.privacy.min_separation));
  } else {
    if (options.start) {
      ASSIGN_OR_RETURN(ParamVector params, options.start());
      model.Replace(std::make_shared<const Checkpoint>(Checkpoint{std::move(params), {}}));
    }
    RETURN_IF_ERROR(CommitStart(store, model, options.run));
  }
  if (run.privacy.in_ledger()) RETURN_IF_ERROR(ReckonBudget(run, resume));
  if (run.privacy.correlated() && store.run().status != RunStatus::kFinished) {
    ASSIGN_OR_RETURN(privacy::SecretKey key, store.NoiseKey(resume.committed_round));
    RETURN_IF_ERROR(model.MakeNoise(std::move(key), resume.committed_round));
  }
  std::string run_id = store.run().run_id;
  auto loop = std::make_unique<Loop>(std::move(options), std::move(run_id), std::move(model), std::move(store),
                                     std::move(resume));
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(loop)));
}

Coordinator::Coordinator(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Coordinator::~Coordinator() = default;

const std::string& Coordinator::run_id() const {
  return loop_->run_id();
}
const RunSpec& Coordinator::run() const {
  return loop_->options().run;
}
const Digest& Coordinator::layout_digest() const {
  return loop_->layout_digest();
}
std::uint64_t Coordinator::max_update_bytes() const {
  return loop_->max_update_bytes();
}
bool Coordinator::personal() const {
  return loop_->personal();
}
void Coordinator::Start(Outbox& outbox) {
  loop_->Start(outbox);
}
void Coordinator::Post(Event event) {
  loop_->Post(std::move(event));
}
RunOutcome Coordinator::Wait() {
  return loop_->Wait();
}

}  // namespace fedpeft::server
