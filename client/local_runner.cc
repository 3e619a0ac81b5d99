#include "client/local_runner.h"

#include <algorithm>

namespace fedpeft::client {

namespace {

/// The payload delta `trained − start`, in the payload's order.
Bytes DeltaOf(const ParamVector& trained, const ParamVector& start, const PayloadLayout& payload) {
  Bytes bytes(payload.size * sizeof(float));
  std::uint8_t* out = bytes.data();
  for (const Segment& segment : payload.segments) {
    const std::span<const float> after = trained.tensor(segment.tensor), before = start.tensor(segment.tensor);
    for (std::size_t i = 0; i < after.size(); ++i, out += sizeof(float)) StoreLe(after[i] - before[i], out);
  }
  return bytes;
}

}  // namespace

LocalRunner::LocalRunner(RunSpec run, std::shared_ptr<const ParamLayout> layout, std::unique_ptr<LocalTrainer> trainer,
                         std::vector<std::vector<Example>> data)
    : run_(std::move(run)),
      layout_(std::move(layout)),
      trainer_(std::move(trainer)),
      data_(std::move(data)),
      start_(ParamVector::Initial(layout_, run_.seed)),
      work_(layout_) {}

Result<std::unique_ptr<LocalRunner>> LocalRunner::Make(RunSpec run, std::shared_ptr<const BaseModel> base,
                                                       std::vector<std::vector<Example>> data) {
  ASSIGN_OR_RETURN(auto layout, PlanLayout(run.plan));
  ASSIGN_OR_RETURN(auto trainer, LocalTrainer::Make(std::move(base), run, layout));
  return std::unique_ptr<LocalRunner>(
      new LocalRunner(std::move(run), std::move(layout), std::move(trainer), std::move(data)));
}

PayloadLayout LocalRunner::PayloadAt(std::uint32_t round) const {
  return DensePayload(*layout_, PlanView(run_.plan, *layout_), run_.PhaseAt(std::max(round, 1u)).reducer.max_abs);
}

Result<LocalRunner::Update> LocalRunner::Train(std::size_t index, const std::string& name, std::uint32_t round,
                                               ByteSpan start, const std::atomic<bool>& stop,
                                               const LocalTrainer::Progress& progress) {
  FEDPEFT_CHECK(index < data_.size());
  const PayloadLayout payload = PayloadAt(round);
  RETURN_IF_ERROR(start_.Scatter(payload, start));
  std::copy(start_.values().begin(), start_.values().end(), work_.values().begin());
  TrainRequest request;
  request.learning_rate = LearningRateAt(run_.train, round, run_.total_rounds());
  request.round = round;
  request.client = name;
  ASSIGN_OR_RETURN(const TrainStats stats, trainer_->TrainRound(work_, data_[index], request, &stop, progress));
  return Update{DeltaOf(work_, start_, payload), stats};
}

Result<EvaluateStats> LocalRunner::Evaluate(std::size_t index, ByteSpan params, const std::atomic<bool>& stop) {
  FEDPEFT_CHECK(index < data_.size());
  RETURN_IF_ERROR(start_.Scatter(PayloadAt(1), params));
  return trainer_->Evaluate(start_, data_[index], &stop);
}

}  // namespace fedpeft::client
