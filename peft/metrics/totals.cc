#include "peft/metrics/totals.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>

namespace fedpeft {

namespace {

constexpr std::array kCounts = {sum::kExamples,      sum::kLoss, sum::kCorrect, sum::kTokens,
                                sum::kTokensCorrect, sum::kXX,   sum::kYY};
constexpr std::array kSigned = {sum::kX, sum::kY, sum::kXY, sum::kSpearman};
constexpr std::array kOfClasses = {sum::kHit, sum::kGuess, sum::kTruth};

/// Of one client, that no few of them can fill 63 bits: 2^38 nats.
constexpr std::int64_t kMostClaimed = std::int64_t{1} << 58;

template <typename T>
std::optional<T> Parse(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool IsIn(const auto& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool IsOfClass(std::string_view name) {
  return std::any_of(kOfClasses.begin(), kOfClasses.end(), [&](std::string_view prefix) {
    return name.starts_with(prefix) && Parse<std::uint32_t>(name.substr(prefix.size())).has_value();
  });
}

Status Claim(std::string_view what, std::int64_t got, std::int64_t most) {
  return InvalidArgument("evaluation: " + std::string(what) + ": got " + std::to_string(got) + ", want 0 to " +
                         std::to_string(most));
}

/// Sums of one name over all classes.
Result<std::int64_t> OverClasses(const Totals& totals, std::string_view prefix) {
  Totals all;
  for (const auto& [name, value] : totals.sums()) {
    if (name.starts_with(prefix)) RETURN_IF_ERROR(all.Add(prefix, value));
  }
  return all.Get(prefix);
}

Status CheckClasses(const Totals& totals) {
  for (const auto& [name, value] : totals.sums()) {
    if (!name.starts_with(sum::kHit)) continue;
    const std::string label = name.substr(sum::kHit.size());
    const std::int64_t most =
        std::min(totals.Get(std::string(sum::kGuess) + label), totals.Get(std::string(sum::kTruth) + label));
    if (value > most) return Claim(name, value, most);
  }
  ASSIGN_OR_RETURN(const std::int64_t hits, OverClasses(totals, sum::kHit));
  ASSIGN_OR_RETURN(const std::int64_t guesses, OverClasses(totals, sum::kGuess));
  ASSIGN_OR_RETURN(const std::int64_t truths, OverClasses(totals, sum::kTruth));
  const std::int64_t examples = totals.Get(sum::kExamples);
  const bool none = guesses == 0 && truths == 0;
  if (!none && (hits != totals.Get(sum::kCorrect) || guesses != examples || truths != examples)) {
    return InvalidArgument("evaluation: classes: got counts that do not add up to its " + std::to_string(examples) +
                           " examples");
  }
  return OkStatus();
}

}  // namespace

Status Totals::Add(std::string_view name, std::int64_t value) {
  std::int64_t after = 0;
  if (__builtin_add_overflow(Get(name), value, &after)) {
    return OutOfRange("evaluation: got a sum of " + std::string(name) + " beyond 63 bits");
  }
  sums_.insert_or_assign(std::string(name), after);
  return OkStatus();
}

Status Totals::AddReal(std::string_view name, double value) {
  const double scaled = value / kGrid;
  if (!(std::abs(scaled) < 0x1p62)) {
    return OutOfRange("evaluation: got " + std::to_string(value) + " for " + std::string(name) +
                      ", want a finite number below 2^42 (the parameters have diverged, or the labels want scaling)");
  }
  return Add(name, std::llrint(scaled));
}

Status Totals::Join(const Totals& other) {
  Totals joined = *this;
  for (const auto& [name, value] : other.sums_) RETURN_IF_ERROR(joined.Add(name, value));
  if (!sums_.empty() && !other.sums_.empty()) joined.sums_.erase(std::string(sum::kSpearman));
  *this = std::move(joined);
  return OkStatus();
}

std::int64_t Totals::Get(std::string_view name) const {
  const auto found = sums_.find(name);
  return found == sums_.end() ? 0 : found->second;
}

Status CheckTotals(const Totals& totals) {
  for (const auto& [name, value] : totals.sums()) {
    const bool count = IsIn(kCounts, name) || IsOfClass(name);
    if (!count && !IsIn(kSigned, name)) return InvalidArgument("evaluation: has a sum that is not known");
    if (count && value < 0) return Claim(name, value, kMostClaimed);
    if (std::abs(value) > kMostClaimed) return InvalidArgument("evaluation: " + name + ": is absurdly large");
  }
  const std::int64_t examples = totals.Get(sum::kExamples), tokens = totals.Get(sum::kTokens);
  if (examples < 1) return InvalidArgument("evaluation: examples: got " + std::to_string(examples) + ", want some");
  if (totals.Get(sum::kCorrect) > examples) return Claim(sum::kCorrect, totals.Get(sum::kCorrect), examples);
  if (totals.Has(sum::kTokens) && tokens < 1) return InvalidArgument("evaluation: tokens: got 0, want some");
  if (totals.Get(sum::kTokensCorrect) > tokens) {
    return Claim(sum::kTokensCorrect, totals.Get(sum::kTokensCorrect), tokens);
  }
  if (std::abs(totals.GetReal(sum::kSpearman)) > 1 + 1e-6) {
    return InvalidArgument("evaluation: spearman: is not between -1 and 1");
  }
  return CheckClasses(totals);
}

std::string TotalsText(const Totals& totals) {
  std::string text;
  for (const auto& [name, value] : totals.sums()) text += name + " " + std::to_string(value) + "\n";
  return text;
}

Result<Totals> TotalsFromText(std::string_view text) {
  Totals totals;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const std::size_t space = line.find(' ');
    const auto value = space == line.npos ? std::nullopt : Parse<std::int64_t>(line.substr(space + 1));
    if (end == text.npos || !value || totals.Has(line.substr(0, space))) {
      return DataLoss("evaluation: its stored sums are damaged");
    }
    RETURN_IF_ERROR(totals.Add(line.substr(0, space), *value));
    text.remove_prefix(end + 1);
  }
  return totals;
}

}  // namespace fedpeft
