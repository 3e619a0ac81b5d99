#include "server/hub.h"

#include <type_traits>
#include <utility>

namespace fedpeft::server {

Hub::Hub(RunInfo run, std::shared_ptr<Spool> spool, Sink sink, const Clock& clock)
    : run_(std::move(run)),
      sink_(std::move(sink)),
      clock_(clock),
      uploads_(std::make_shared<UploadTable>(run_.upload_window_bytes, std::move(spool))),
      streams_(clock, UploadTable::kSilenceSeconds),
      sessions_(run_),
      timer_([this] { KeepTime(); }) {}

Hub::~Hub() {
  Stop();
}

void Hub::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (timer_.joinable()) timer_.join();
}

template <typename Change>
auto Hub::WithEvents(Change change) {
  SessionRegistry::Effects effects;
  auto result = [&] {
    const std::lock_guard order(posting_);
    auto changed = [&] {
      const std::lock_guard lock(mutex_);
      return change(effects);
    }();
    for (Event& event : effects.events) sink_(std::move(event));
    return changed;
  }();
  // Without a lock: gRPC may run another handler inside the call that ends this one.
  EndPolls(effects);
  delivered_.notify_all();
  return result;
}

template <typename Change>
void Hub::WithPolls(Change change) {
  SessionRegistry::Effects effects;
  {
    const std::lock_guard lock(mutex_);
    change(effects);
  }
  EndPolls(effects);
}

void Hub::EndPolls(SessionRegistry::Effects& effects) {
  for (SessionRegistry::EndedPoll& poll : effects.polls) poll.answer(std::move(poll.outcome));
}

Result<Hub::Joined> Hub::Join(const JoinClaim& claim, const Certificate& certificate) {
  ASSIGN_OR_RETURN(const std::string identity, CheckJoin(run_, claim, certificate));
  ASSIGN_OR_RETURN(SessionRegistry::Joined joined, WithEvents([&](SessionRegistry::Effects& effects) {
                     return sessions_.Join(identity, claim, clock_.Now(), effects);
                   }));
  return Joined{.token = std::move(joined.token), .client_id = identity};
}

Result<SessionId> Hub::Authenticate(std::string_view token, const Certificate& certificate) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const SessionId session, sessions_.Find(token));
  if (certificate && *certificate != sessions_.IdentityOf(session)) {
    return PermissionDenied("session: got the certificate of " + *certificate +
                            ", want that of the client that joined");
  }
  return session;
}

Result<SessionRegistry::PollRef> Hub::Poll(SessionId session, const std::vector<TaskKey>& received,
                                           SessionRegistry::PollAnswer answer) {
  Result<SessionRegistry::PollRef> ref = SessionRegistry::PollRef{};
  WithPolls([&](SessionRegistry::Effects& effects) {
    ref = sessions_.Poll(session, received, std::move(answer), clock_.Now(), effects);
  });
  if (!received.empty()) delivered_.notify_all();
  return ref;
}

void Hub::CancelPoll(SessionRegistry::PollRef poll) {
  WithPolls([&](SessionRegistry::Effects& effects) { sessions_.CancelPoll(poll, clock_.Now(), effects); });
}

void Hub::Leave(SessionId session, const std::string& reason) {
  WithEvents([&](SessionRegistry::Effects& effects) {
    sessions_.Leave(session, reason, effects);
    return true;
  });
}

void Hub::Submit(TaskAnswered answered) {
  if (const Status owner = CheckOwner(answered.session, answered.key.client_id); !owner.ok()) {
    answered.answer(owner);
    return;
  }
  sink_(std::move(answered));
}

void Hub::Offer(SessionId session, UploadManifest manifest, std::function<void(Result<OfferAnswer>)> answer) {
  if (const Status owner = CheckOwner(session, manifest.key.client_id); !owner.ok()) {
    answer(owner);
    return;
  }
  UploadOffered offered{.session = session, .manifest = manifest, .answer = nullptr};
  offered.answer = [uploads = uploads_, &clock = clock_, manifest = std::move(manifest),
                    answer = std::move(answer)](const UploadDecision& decision) {
    switch (decision.kind) {
      case UploadDecision::Kind::kWanted:
        answer(OfferAnswer{.admission = uploads->Admit(manifest, clock.Now()), .complete = false, .refusal = {}});
        return;
      case UploadDecision::Kind::kAlreadyHere:
        answer(OfferAnswer{.admission = std::nullopt, .complete = true, .refusal = {}});
        return;
      case UploadDecision::Kind::kRefused:
        answer(OfferAnswer{.admission = std::nullopt,
                           .complete = false,
                           .refusal = decision.reason.empty() ? "not wanted" : decision.reason});
        return;
      case UploadDecision::Kind::kUnavailable:
        answer(Unavailable("coordinator: is stopping (keep the update and offer it again)"));
        return;
    }
  };
  sink_(std::move(offered));
}

Result<std::shared_ptr<Upload>> Hub::AttachUpload(SessionId session, UploadId id, UploadTable::EndStream end_stream) {
  const auto owns = [&](const std::string& client_id) { return CheckOwner(session, client_id).ok(); };
  return uploads_->Attach(id, owns, clock_.Now(), std::move(end_stream));
}

void Hub::TouchUpload(UploadId id) {
  uploads_->Touch(id, clock_.Now());
}

void Hub::DetachUpload(UploadId id, bool drop) {
  uploads_->Detach(id, drop, clock_.Now());
}

void Hub::Arrived(UploadArrived arrived) {
  sink_(std::move(arrived));
}

void Hub::Send(SessionId session, Task task) {
  WithPolls(
      [&](SessionRegistry::Effects& effects) { sessions_.Send(session, std::move(task), clock_.Now(), effects); });
}

void Hub::WithdrawTasks() {
  const std::lock_guard lock(mutex_);
  sessions_.WithdrawTasks();
}

void Hub::SetBusy(SessionId session, bool busy) {
  const std::lock_guard lock(mutex_);
  sessions_.SetBusy(session, busy, clock_.Now());
}

BlobRef Hub::Publish(std::shared_ptr<const Bytes> blob) {
  return blobs_.Publish(std::move(blob));
}

void Hub::Retire(const Digest& sha256) {
  blobs_.Retire(sha256);
}

void Hub::CloseUploadsBefore(std::uint32_t round, std::uint32_t attempt) {
  uploads_->CloseBefore(round, attempt);
}

bool Hub::WaitUntilDelivered(Duration at_most) {
  bool delivered = false;
  {
    std::unique_lock lock(mutex_);
    delivered = delivered_.wait_for(lock, at_most, [this] { return !sessions_.HasTasks(); });
  }
  // Whoever has left is posted as gone before this returns.
  const std::lock_guard order(posting_);
  return delivered;
}

void Hub::Drain() {
  WithPolls([&](SessionRegistry::Effects& effects) { sessions_.Drain(effects); });
}

Status Hub::CheckOwner(SessionId session, const std::string& client_id) const {
  const std::lock_guard lock(mutex_);
  if (sessions_.Owns(session, client_id)) return OkStatus();
  return PermissionDenied("key.client_id: got one that this session does not speak for, want its own clients'");
}

void Hub::KeepTime() {
  while (true) {
    {
      std::unique_lock lock(mutex_);
      if (stop_.wait_for(lock, kTick, [this] { return stopping_; })) return;
    }
    WithEvents([&](SessionRegistry::Effects& effects) {
      sessions_.Tick(clock_.Now(), effects);
      return true;
    });
    uploads_->DropSilent(clock_.Now());
    streams_.EndSilent();
  }
}

}  // namespace fedpeft::server
