#include "client/own_privacy.h"

#include <cstring>
#include <utility>
#include <vector>

#include "configs/clip_groups.h"
#include "peft/core/log.h"
#include "privacy/mechanism/local.h"

namespace fedpeft::client {

namespace {

Status CheckBudget(const std::vector<SpentRow>& rows, const privacy::PrivacyBudget& budget, const std::string& whose) {
  ASSIGN_OR_RETURN(const double epsilon, EpsilonOfRows(rows, budget.delta));
  if (IsWithin(epsilon, budget)) return OkStatus();
  return FailedPrecondition("privacy: one training more would cost this client epsilon " + std::to_string(epsilon) +
                            " of " + whose + " " + std::to_string(budget.epsilon) + " (it takes no further part)");
}

}  // namespace

Result<OwnPrivacy> OwnPrivacy::Make(Setup setup, const UpdateStore& updates) {
  RETURN_IF_ERROR(ResolveNoise(setup.run));
  return OwnPrivacy(std::move(setup), updates);
}

Result<PrivacyLedger*> OwnPrivacy::LedgerOf(const std::string& client) {
  auto ledger = ledgers_.find(client);
  if (ledger == ledgers_.end()) {
    ASSIGN_OR_RETURN(PrivacyLedger opened, PrivacyLedger::Open(updates_.LedgerPath(client)));
    ledger = ledgers_.emplace(client, std::move(opened)).first;
  }
  return &ledger->second;
}

Result<SpentRow> OwnPrivacy::RowOf(std::uint32_t round, std::size_t examples) {
  ASSIGN_OR_RETURN(const TrainingRelease release, releases_.Of(examples));
  return SpentRow{setup_.run_id, round, release.times, release.release};
}

Status OwnPrivacy::Admit(const std::string& client, std::size_t examples) {
  ASSIGN_OR_RETURN(const PrivacyLedger* ledger, LedgerOf(client));
  ASSIGN_OR_RETURN(const SpentRow next, RowOf(0, examples));
  std::vector<SpentRow> all = ledger->rows();
  all.push_back(next);
  if (setup_.limit) RETURN_IF_ERROR(CheckBudget(all, *setup_.limit, "its policy's"));
  std::erase_if(all, [this](const SpentRow& row) { return row.run_id != setup_.run_id; });
  return CheckBudget(all, setup_.run.privacy.budget, "the run's");
}

Status OwnPrivacy::Hide(const std::string& client, std::size_t examples, std::uint32_t round, Bytes& update) {
  if (!setup_.run.privacy.hides_examples()) RETURN_IF_ERROR(HideClient(client, round, update));
  ASSIGN_OR_RETURN(SpentRow row, RowOf(round, examples));
  ASSIGN_OR_RETURN(PrivacyLedger* const ledger, LedgerOf(client));
  return ledger->Add(std::move(row));
}

Status OwnPrivacy::HideClient(const std::string& client, std::uint32_t round, Bytes& update) const {
  ASSIGN_OR_RETURN(const privacy::ClipGroups groups, UpdateClipGroups(setup_.run, round));
  std::vector<float> values(update.size() / sizeof(float));
  std::memcpy(values.data(), update.data(), update.size());
  const PrivacySpec& privacy = setup_.run.privacy;
  const std::uint64_t not_finite =
      privacy::ClipAndHide(values, privacy.clip, groups, privacy.noise_multiplier, *setup_.random);
  std::memcpy(update.data(), values.data(), update.size());
  if (not_finite > 0) LogWarning("update.not_finite", {{"client", client}, {"round", round}, {"values", not_finite}});
  return OkStatus();
}

}  // namespace fedpeft::client
