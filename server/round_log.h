// rounds.jsonl: one line of JSON a complete round (committed, and its evaluation over or not due), for scripts to
// follow.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "peft/core/status.h"
#include "server/records.h"

namespace fedpeft::server {

/// One object: round, total_rounds, attempt, cohort, participants, examples, train_loss, eval_loss, eval_accuracy,
/// eval_examples, evaluators, best, bytes_up, bytes_down, seconds, committed (UTC), params_sha256. What there is none
/// of is null.
std::string RoundJson(const RoundRecord& record, std::uint32_t total_rounds);

/// The file from the rounds' records; atomic.
Status RewriteRoundLog(const std::string& folder, const std::vector<RoundRecord>& rounds, std::uint32_t total_rounds);
Status AppendToRoundLog(const std::string& folder, const RoundRecord& record, std::uint32_t total_rounds);

}  // namespace fedpeft::server
