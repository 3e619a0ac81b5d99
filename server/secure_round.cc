#include "server/secure_round.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "peft/core/parallel.h"
#include "peft/metrics/totals.h"
#include "privacy/crypto/random_source.h"
#include "privacy/secagg/ring.h"
#include "privacy/secagg/scale.h"
#include "proto/limits.h"

namespace fedpeft::server {
namespace {

/// Bytes that are read and added at a time: whole elements of any width, at places that masks can begin at.
constexpr std::uint64_t kPieceElements = std::uint64_t{1} << 18;

privacy::ServerSession::Setup SessionOf(const RunSpec& run, const SecureSum& sum, SecureRound::Setup& setup) {
  privacy::ServerSession::Setup session;
  session.config = sum.config;
  privacy::RandomSource::System().Fill(session.config.nonce);
  session.clients = std::move(setup.clients);
  session.check = std::move(setup.check);
  session.deadline = Seconds(run.secure.step_deadline_s);
  session.upload_deadline = Seconds(run.secure.upload_deadline_s);
  return session;
}

std::int64_t CountOf(const privacy::SecureMean& mean, SecureCount which) {
  return mean.counters[static_cast<std::size_t>(which)];
}

}  // namespace

Result<SecureRound> SecureRound::Open(const RunSpec& run, Setup setup) {
  ASSIGN_OR_RETURN(const privacy::RingBudget budget, RingBudgetOf(run, run.PhaseAt(setup.sum.round)));
  ASSIGN_OR_RETURN(const std::int64_t level, privacy::LargestLevel(budget));
  // No phase takes larger values than it does in the clear.
  setup.range = std::min(setup.range, run.PhaseAt(setup.sum.round).reducer.max_abs);
  if (run.privacy.distributed()) setup.range = run.privacy.clip;
  setup.sum.exponent = privacy::ScaleExponent(level, setup.range);
  ASSIGN_OR_RETURN(const SecureSum sum, SecureSumOf(run, setup.sum));
  return SecureRound(run, std::move(setup), sum);
}

SecureRound::SecureRound(const RunSpec& run, Setup setup, const SecureSum& sum)
    : range_(setup.range),
      limit_(run.PhaseAt(setup.sum.round).reducer.max_abs),
      expected_(run.privacy.distributed() ? std::optional<double>(run.PhaseAt(setup.sum.round).cohort) : std::nullopt),
      values_(setup.sum.values),
      session_(SessionOf(run, sum, setup)),
      sum_(std::make_unique<privacy::MaskedSum>(sum.layout)) {}

Status SecureRound::Add(UploadedBytes& bytes) {
  const std::uint64_t elements = sum_->layout().elements();
  const int bits = sum_->layout().spec().budget.bits;
  Bytes piece;
  for (std::uint64_t first = 0; first < elements; first += kPieceElements) {
    piece.resize(privacy::PackedBytes(std::min(kPieceElements, elements - first), bits));
    RETURN_IF_ERROR(bytes.Read(privacy::PackedBytes(first, bits), piece));
    RETURN_IF_ERROR(sum_->AddPiece(first, piece));
  }
  return OkStatus();
}

Result<SecureOutcome> SecureRound::Unmask(const privacy::SecureFinished& finished) {
  sum_->Unmask(finished.masks, static_cast<unsigned>(Cores()));
  const std::uint64_t clients = finished.clients.size();
  ASSIGN_OR_RETURN(privacy::SecureMean mean, sum_->Finish(clients, expected_));
  SecureOutcome outcome;
  outcome.clients = finished.clients;
  outcome.total_weight = static_cast<std::uint64_t>(CountOf(mean, SecureCount::kWeight));
  // What one client lies about shows here, and nowhere else: what nobody can have is left out.
  const std::int64_t examples = CountOf(mean, SecureCount::kExamples);
  const double loss = static_cast<double>(CountOf(mean, SecureCount::kLoss)) * kGrid;
  if (examples > 0 && static_cast<std::uint64_t>(examples) <= clients * kMaxExamples) {
    outcome.examples = static_cast<std::uint64_t>(examples);
    if (loss >= 0) outcome.train_loss = loss / static_cast<double>(examples);
  }
  outcome.saturated = static_cast<std::uint64_t>(mean.counters.back());
  outcome.next_range = privacy::NextRange({.range = range_,
                                           .largest_mean = mean.largest,
                                           .values = values_ * clients,
                                           .saturated = outcome.saturated,
                                           .limit = limit_});
  outcome.mean = std::move(mean.mean);
  return outcome;
}

}  // namespace fedpeft::server
