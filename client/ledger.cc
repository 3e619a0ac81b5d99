#include "client/ledger.h"

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "peft/core/files.h"

namespace fedpeft::client {

namespace {

constexpr std::string_view kPrefix = "ledger-";
constexpr std::uint64_t kMaxLedgerBytes = std::uint64_t{64} << 20;

std::string LineOf(const SpentRow& row) {
  return row.run_id + " " + std::to_string(row.round) + " " + std::to_string(row.times) + " " +
         privacy::ReleaseText(row.release) + "\n";
}

Result<SpentRow> ParseLine(const std::string& line) {
  std::istringstream in(line);
  SpentRow row;
  std::string release;
  if (!(in >> row.run_id >> row.round >> row.times >> std::ws) || !std::getline(in, release)) {
    return InvalidArgument("got \"" + line + "\", want a run, a round, a number and a release");
  }
  ASSIGN_OR_RETURN(row.release, privacy::ParseRelease(release));
  return row;
}

}  // namespace

Result<PrivacyLedger> PrivacyLedger::Open(std::string path) {
  PrivacyLedger ledger(std::move(path));
  const Result<std::string> text = ReadFile(ledger.path_, kMaxLedgerBytes);
  if (text.status().code() == Code::kNotFound) return ledger;
  if (!text.ok()) return text.status();
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    Result<SpentRow> row = ParseLine(line);
    if (!row.ok()) return DataLoss(ledger.path_ + ": " + row.status().message());
    ledger.rows_.push_back(*std::move(row));
  }
  return ledger;
}

Status PrivacyLedger::Add(SpentRow row) {
  std::string text;
  for (const SpentRow& before : rows_) text += LineOf(before);
  text += LineOf(row);
  RETURN_IF_ERROR(WriteFileAtomically(path_, AsBytes(std::string_view(text))));
  rows_.push_back(std::move(row));
  return OkStatus();
}

std::string LedgerPathIn(const std::string& folder, const std::string& file_name) {
  return JoinPath(folder, std::string(kPrefix) + file_name);
}

Result<std::vector<std::string>> LedgersIn(const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> names, ListFolder(folder));
  std::erase_if(names, [](const std::string& name) { return !name.starts_with(kPrefix); });
  for (std::string& name : names) name.erase(0, kPrefix.size());
  std::ranges::sort(names);
  return names;
}

Result<double> EpsilonOfRows(const std::vector<SpentRow>& rows, double delta) {
  privacy::Accountant accountant(privacy::AccountantKind::kPld);
  for (const SpentRow& row : rows) RETURN_IF_ERROR(accountant.Add(row.release, row.times));
  return accountant.Epsilon(delta);
}

}  // namespace fedpeft::client
