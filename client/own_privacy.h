// OwnPrivacy: what the clients of a process do where each hides itself, or its examples, by noise of its own. It asks
// the ledger before a client trains, and enters what a training releases before any of it can leave.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "client/ledger.h"
#include "client/update_store.h"
#include "configs/privacy.h"
#include "configs/run.h"
#include "peft/core/bytes.h"
#include "peft/core/status.h"
#include "privacy/crypto/random_source.h"

namespace fedpeft::client {

/// Threads: none of its own, and one at a time.
class OwnPrivacy {
 public:
  struct Setup {
    RunSpec run;
    std::string run_id;
    /// What this client's people allow all runs together to cost it; nothing: each run has its own budget alone.
    std::optional<privacy::PrivacyBudget> limit = {};
    privacy::RandomSource* random = &privacy::RandomSource::System();
  };
  /// `updates` must outlive this object. Pre: setup.run.privacy.own(). Errors: ResolveNoise's.
  static Result<OwnPrivacy> Make(Setup setup, const UpdateStore& updates);

  /// That the client may train once more. Errors: kFailedPrecondition where that would be over the run's budget or the
  /// limit, with what is spent; the ledger's.
  Status Admit(const std::string& client, std::size_t examples);
  /// Makes the trained update one that may leave, and enters that in the client's ledger. Where examples are what is
  /// hidden, training has done so. Pre: Admit has let this client, of so many examples, since it gave anything.
  /// Errors: the ledger's; the update must not leave then.
  Status Hide(const std::string& client, std::size_t examples, std::uint32_t round, Bytes& update);

 private:
  OwnPrivacy(Setup setup, const UpdateStore& updates)
      : setup_(std::move(setup)), updates_(updates), releases_(setup_.run) {}
  Result<PrivacyLedger*> LedgerOf(const std::string& client);
  Status HideClient(const std::string& client, std::uint32_t round, Bytes& update) const;
  Result<SpentRow> RowOf(std::uint32_t round, std::size_t examples);

  Setup setup_;
  const UpdateStore& updates_;
  TrainingReleases releases_;
  std::map<std::string, PrivacyLedger> ledgers_;
};

}  // namespace fedpeft::client
