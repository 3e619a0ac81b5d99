// The client's state folder: its name, the update that each client trained last, its own tensors after it, and in which
// rounds it has sent one and unmasked a sum. They outlive the process, so that a coordinator or client that dies costs
// no second training, and nobody gets a second sum of a round, or rounds that are too near.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "client/trainer.h"
#include "peft/core/bytes.h"
#include "peft/core/files.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"

namespace fedpeft::client {

/// A trained update: the payload bytes, and what they are against.
struct KeptUpdate {
  std::uint32_t round = 0;
  /// SHA-256 of the parameters that training started from.
  Digest base{};
  /// Of the payload's layout.
  Digest layout{};
  TrainStats stats;
  Bytes payload;
  /// The client's own tensors after this training (Runner::Update::personal).
  Bytes personal;
};

/// A client's name as part of a file's: that of virtual client X/0 has a '/', which becomes '+', which no name has.
std::string FileNameOf(const std::string& client);

/// A run's id is a word in the folder's files, whatever a coordinator sends. Errors: kDataLoss for what is not 1 to 64
/// digits and lower-case letters.
Status CheckRunId(const std::string& id);

/// One folder, one process (locked).
class UpdateStore {
 public:
  /// `folder` empty: a temporary folder that goes with the object. Errors: kFailedPrecondition when another process
  /// uses it; files' errors.
  static Result<UpdateStore> Open(const std::string& folder);
  ~UpdateStore();
  UpdateStore(UpdateStore&&) noexcept;
  UpdateStore& operator=(UpdateStore&&) = delete;

  /// The name this folder was first used under; `wanted` if given, else a fresh `client-` and eight hexadecimal digits.
  Result<std::string> Name(const std::string& wanted);
  /// The same; empty where there is none yet.
  std::string KnownName() const;

  /// Replaces the client's kept update.
  Status Keep(const std::string& run_id, const std::string& client, const KeptUpdate& update);
  /// The kept update, if it is of this run, round and base, and whole.
  std::optional<KeptUpdate> Find(const std::string& run_id, const std::string& client, std::uint32_t round,
                                 const Digest& base) const;
  /// The client's own tensors after its last training in this run; empty before the first. Errors: kDataLoss for a
  /// damaged file, and the file's.
  Result<Bytes> Personal(const std::string& run_id, const std::string& client) const;
  /// Secure aggregation: the client gives shares of others' secrets away in this round, once; durable when it returns.
  Status MarkUnmasked(const std::string& run_id, const std::string& client, std::uint32_t round);
  /// Whether it has, in this round or a later one. Errors: kDataLoss for a damaged file, and the file's.
  Result<bool> IsUnmasked(const std::string& run_id, const std::string& client, std::uint32_t round) const;
  /// Where the client's privacy ledger is (ledger.h).
  std::string LedgerPath(const std::string& client) const;
  /// The client's update of this round leaves it, as far as it knows into a sum; durable when it returns.
  Status MarkSent(const std::string& run_id, const std::string& client, std::uint32_t round);
  /// The last round that it sent one in; 0: none. Errors: kDataLoss for a damaged file, and the file's.
  Result<std::uint32_t> LastSent(const std::string& run_id, const std::string& client) const;
  /// Forgets every kept update; their run is over.
  void Clear();

 private:
  UpdateStore(std::string folder, bool temporary, FolderLock lock);
  std::string PathOf(const std::string& client) const;
  /// Of the file with the last round of each run in which the client has done that.
  std::string RecordPathOf(const std::string& what, const std::string& client) const;

  std::string folder_;
  bool temporary_;
  FolderLock lock_;
};

}  // namespace fedpeft::client
