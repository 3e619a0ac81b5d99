// PrivacyLedger: what a client has released under noise of its own, in every run, on its own disk. A row is there
// before what it stands for leaves the box, and stays.
//
// One text file a client, a line a release: `RUN ROUND TIMES RELEASE` (privacy/accounting/accountant.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peft/core/status.h"
#include "privacy/accounting/accountant.h"

namespace fedpeft::client {

/// What one training released: the same release so many times.
struct SpentRow {
  std::string run_id;
  std::uint32_t round = 0;
  std::uint64_t times = 1;
  privacy::Release release;

  bool operator==(const SpentRow&) const = default;
};

class PrivacyLedger {
 public:
  /// Errors: kDataLoss for a file that is not what this program writes, and the file's; none for one that is not there.
  static Result<PrivacyLedger> Open(std::string path);

  const std::vector<SpentRow>& rows() const { return rows_; }
  /// Durable when it returns. Errors: the file's, and nothing is added.
  Status Add(SpentRow row);

 private:
  explicit PrivacyLedger(std::string path) : path_(std::move(path)) {}

  std::string path_;
  std::vector<SpentRow> rows_;
};

/// Of the client whose files have that name, in its state folder.
std::string LedgerPathIn(const std::string& folder, const std::string& file_name);
/// The names of all that have one there, sorted. Errors: the folder's.
Result<std::vector<std::string>> LedgersIn(const std::string& folder);

/// ε of all these together, for that δ, by loss distributions. Errors: the accountant's.
Result<double> EpsilonOfRows(const std::vector<SpentRow>& rows, double delta);

}  // namespace fedpeft::client
