#include "client/local_runner.h"

#include <algorithm>

#include "peft/core/log.h"
#include "peft/plan/ranks.h"

namespace fedpeft::client {

namespace {

/// The payload delta `trained − start`, in the payload's order.
Bytes DeltaOf(const ParamVector& trained, const ParamVector& start, const PayloadLayout& payload) {
  Bytes bytes(payload.size * sizeof(float));
  std::uint8_t* out = bytes.data();
  ForEachRange(*start.layout(), payload, [&](std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i, out += sizeof(float)) {
      StoreLe(trained.values()[i] - start.values()[i], out);
    }
  });
  return bytes;
}

void Copy(const PayloadLayout& payload, const ParamVector& from, ParamVector& to) {
  Put(*to.layout(), payload, Pick(*from.layout(), payload, from.values()), to.values());
}

}  // namespace

LocalRunner::LocalRunner(RunSpec run, std::shared_ptr<const ParamLayout> layout, RunViews views,
                         std::unique_ptr<LocalTrainer> trainer, std::vector<std::vector<Example>> data,
                         std::vector<std::vector<Example>> held_out)
    : run_(std::move(run)),
      layout_(std::move(layout)),
      trainer_(std::move(trainer)),
      views_(std::move(views)),
      data_(std::move(data)),
      held_out_(std::move(held_out)),
      start_(layout_),
      work_(layout_) {
  if (!views_.all_shared()) initial_ = ParamVector::Initial(layout_, run_.seed);
}

Result<std::unique_ptr<LocalRunner>> LocalRunner::Make(RunSpec run, std::shared_ptr<const BaseModel> base,
                                                       std::vector<std::vector<Example>> data,
                                                       std::vector<std::vector<Example>> held_out) {
  ASSIGN_OR_RETURN(auto layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(RunViews views, RunViews::Make(run.plan, run.schedule, layout));
  ASSIGN_OR_RETURN(auto trainer, LocalTrainer::Make(std::move(base), run, layout));
  return std::unique_ptr<LocalRunner>(new LocalRunner(std::move(run), std::move(layout), std::move(views),
                                                      std::move(trainer), std::move(data), std::move(held_out)));
}

PayloadLayout LocalRunner::OwnIn(std::uint32_t round) const {
  std::vector<bool> own = own_->which;
  for (std::size_t i = 0; i < own.size(); ++i) own[i] = own[i] && !views_.At(round).share[i];
  return DensePayload(*layout_, own, /*max_abs=*/0);
}

Status LocalRunner::TakeBroadcast(ByteSpan params) {
  if (initial_) std::ranges::copy(initial_->values(), start_.values().begin());
  const PayloadLayout masks = views_.Masks();
  const std::size_t head = std::min(params.size(), masks.size * sizeof(float));
  RETURN_IF_ERROR(start_.Scatter(masks, params.first(head)));
  RETURN_IF_ERROR(start_.Scatter(views_.Broadcast(KeptRanksOf(start_)), params.subspan(head)));
  ZeroUnusedRanks(start_);
  return OkStatus();
}

Status LocalRunner::Begin(std::uint32_t round, const Start& start) {
  RETURN_IF_ERROR(TakeBroadcast(start.params));
  if (!keeps_personal()) return OkStatus();
  Result<OwnTensors> own = DecodeOwn(layout_, start.personal);
  if (!own.ok()) return own.status().Annotate("the client's own tensors");
  own_ = std::move(*own);
  Copy(OwnIn(round), own_->values, start_);
  return OkStatus();
}

Result<Bytes> LocalRunner::KeepOwn(const std::string& name, std::uint32_t round) {
  const ViewSpec& view = views_.At(round);
  for (std::size_t i = 0; i < view.train.size(); ++i) {
    if (view.train[i] && !view.share[i]) own_->which[i] = true;
  }
  Copy(OwnIn(round), work_, own_->values);
  Bytes bytes = EncodeOwn(*own_);
  if (personal_folder_ && !bytes.empty()) {
    const PersonalFolder& folder = *personal_folder_;
    RETURN_IF_ERROR(WritePersonal(PersonalPath(folder.state, name), folder.run_id, run_.plan, folder.base, *own_));
  }
  return bytes;
}

Result<LocalRunner::Update> LocalRunner::Train(std::size_t index, const std::string& name, std::uint32_t round,
                                               const Start& start, const std::atomic<bool>& stop,
                                               const LocalTrainer::Progress& progress) {
  FEDPEFT_CHECK(index < data_.size());
  RETURN_IF_ERROR(Begin(round, start));
  std::ranges::copy(start_.values(), work_.values().begin());
  TrainRequest request;
  request.learning_rate = LearningRateAt(run_.train, round, run_.total_rounds());
  request.round = round;
  request.client = name;
  Result<TrainStats> stats = trainer_->TrainRound(work_, data_[index], request, &stop, progress);
  const bool told = stats.ok() || stats.status().code() == Code::kCancelled;
  if (!told && run_.privacy.hides_from_coordinator()) {
    // That this client's data made it fail would be told without noise: it learned nothing.
    LogWarning("training.failed", {{"client", name}, {"round", round}, {"reason", stats.status().ToString()}});
    std::ranges::copy(start_.values(), work_.values().begin());
    stats = TrainStats{};
  }
  if (!stats.ok()) return stats.status();
  const PayloadLayout payload = views_.Update(round, KeptRanksOf(start_));
  Update update{DeltaOf(work_, start_, payload), payload.digest, {}, *stats};
  if (keeps_personal()) {
    ASSIGN_OR_RETURN(update.personal, KeepOwn(name, round));
  }
  return update;
}

Result<EvaluateStats> LocalRunner::Evaluate(std::size_t index, std::uint32_t round, const Start& start,
                                            const std::atomic<bool>& stop) {
  FEDPEFT_CHECK(index < data_.size());
  RETURN_IF_ERROR(Begin(round, start));
  return trainer_->Evaluate(start_, (held_out_.empty() ? data_ : held_out_)[index], &stop);
}

}  // namespace fedpeft::client
