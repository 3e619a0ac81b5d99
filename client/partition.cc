#include "client/partition.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "peft/core/random.h"

namespace fedpeft::client {

namespace {

using Parts = std::vector<std::vector<std::uint32_t>>;

Parts DealIid(std::size_t rows, std::size_t clients, RandomStream& stream) {
  const std::vector<std::uint32_t> order = RandomPermutation(stream, rows);
  Parts parts(clients);
  for (std::size_t client = 0; client < clients; ++client) {
    const std::size_t begin = rows * client / clients, end = rows * (client + 1) / clients;
    parts[client].assign(order.begin() + static_cast<std::ptrdiff_t>(begin),
                         order.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return parts;
}

std::map<std::int32_t, std::vector<std::uint32_t>> RowsByLabel(const std::vector<std::int32_t>& labels) {
  std::map<std::int32_t, std::vector<std::uint32_t>> groups;
  for (std::uint32_t row = 0; row < labels.size(); ++row) groups[labels[row]].push_back(row);
  return groups;
}

/// An empty part takes a row from the largest: a client without data could not join.
void FillEmptyParts(Parts& parts) {
  for (auto& part : parts) {
    if (!part.empty()) continue;
    auto& largest =
        *std::max_element(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
    part.push_back(largest.back());
    largest.pop_back();
  }
}

Parts DealDirichlet(const std::vector<std::int32_t>& labels, double alpha, std::size_t clients, RandomStream& stream) {
  Parts parts(clients);
  for (auto& [label, rows] : RowsByLabel(labels)) {
    stream.Shuffle(std::span<std::uint32_t>(rows));
    std::vector<double> shares(clients);
    double sum = 0;
    for (double& share : shares) sum += share = stream.NextGamma(alpha);
    std::size_t at = 0;
    double reached = 0;
    for (std::size_t client = 0; client < clients; ++client) {
      reached += shares[client] / sum;
      const bool last = client + 1 == clients;
      const std::size_t end =
          last ? rows.size()
               : std::min(rows.size(),
                          static_cast<std::size_t>(std::lround(reached * static_cast<double>(rows.size()))));
      for (; at < end; ++at) parts[client].push_back(rows[at]);
    }
  }
  FillEmptyParts(parts);
  return parts;
}

Result<Parts> DealGroups(const Table& table, const std::string& column, std::size_t clients) {
  const std::optional<std::size_t> index = table.Column(column);
  if (!index) return InvalidArgument("partition: the data has no column \"" + column + "\"");
  std::map<std::string_view, std::vector<std::uint32_t>> by_value;
  for (std::uint32_t row = 0; row < table.rows.size(); ++row) by_value[table.rows[row][*index]].push_back(row);
  if (by_value.size() < clients) {
    return InvalidArgument("partition: column \"" + column + "\" has " + std::to_string(by_value.size()) +
                           " values, want at least one a client (" + std::to_string(clients) + ")");
  }
  std::vector<std::vector<std::uint32_t>> groups;
  for (auto& [value, rows] : by_value) groups.push_back(std::move(rows));
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.size() > b.size(); });
  Parts parts(clients);
  for (const auto& group : groups) {
    auto& smallest =
        *std::min_element(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
    smallest.insert(smallest.end(), group.begin(), group.end());
  }
  return parts;
}

Result<Parts> Deal(const PartitionSpec& spec, const Table& table, const std::vector<std::int32_t>& labels,
                   std::size_t clients, std::uint64_t seed) {
  RandomStream stream(seed, "partition");
  switch (spec.kind) {
    case PartitionSpec::Kind::kIid:
      return DealIid(table.rows.size(), clients, stream);
    case PartitionSpec::Kind::kDirichlet:
      return DealDirichlet(labels, spec.alpha, clients, stream);
    case PartitionSpec::Kind::kColumn:
      return DealGroups(table, spec.column, clients);
  }
  return Internal("partition: unknown kind");
}

}  // namespace

Result<PartitionSpec> ParsePartition(std::string_view text) {
  PartitionSpec spec;
  if (text == "iid") return spec;
  if (text.starts_with("column:") && text.size() > 7) {
    spec.kind = PartitionSpec::Kind::kColumn;
    spec.column = text.substr(7);
    return spec;
  }
  if (text.starts_with("dirichlet:")) {
    spec.kind = PartitionSpec::Kind::kDirichlet;
    const std::string_view number = text.substr(10);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), spec.alpha);
    if (error == std::errc() && end == number.data() + number.size() && spec.alpha > 0 && std::isfinite(spec.alpha)) {
      return spec;
    }
  }
  return InvalidArgument("partition: got \"" + std::string(text) +
                         "\", want iid, dirichlet:ALPHA (ALPHA > 0) or column:NAME");
}

Result<ClientRange> ParseClientRange(std::string_view text, std::size_t clients) {
  if (text.empty()) return ClientRange{0, clients};
  ClientRange range;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, range.first);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
    const auto last = std::from_chars(first.ptr + 1, end, range.end);
    if (last.ec == std::errc() && last.ptr == end && range.first < range.end && range.end <= clients) return range;
  }
  return InvalidArgument("client range: got \"" + std::string(text) + "\", want FIRST:END with FIRST < END <= " +
                         std::to_string(clients) + " (the virtual clients, counted from 0; END is not among them)");
}

Result<Parts> PartitionRows(const PartitionSpec& spec, const Table& table, const std::vector<std::int32_t>& labels,
                            std::size_t clients, std::uint64_t seed) {
  const std::size_t rows = table.rows.size();
  FEDPEFT_CHECK(clients > 0 && labels.size() == rows);
  if (rows < clients) {
    return InvalidArgument("partition: the data has " + std::to_string(rows) + " rows, want at least one a client (" +
                           std::to_string(clients) + ")");
  }
  ASSIGN_OR_RETURN(Parts parts, Deal(spec, table, labels, clients, seed));
  for (std::vector<std::uint32_t>& part : parts) std::sort(part.begin(), part.end());
  return parts;
}

namespace {

/// What each row is dealt by: its label, its value in the column, or nothing.
Result<std::vector<std::string>> KeysOf(const PartitionSpec& spec, const LabelledRows& rows) {
  std::vector<std::string> keys(rows.table.rows.size());
  if (spec.kind == PartitionSpec::Kind::kIid) return keys;
  std::size_t column = 0;
  if (spec.kind == PartitionSpec::Kind::kColumn) {
    ASSIGN_OR_RETURN(column, rows.table.NeedColumn(spec.column));
  }
  for (std::size_t row = 0; row < keys.size(); ++row) {
    keys[row] =
        spec.kind == PartitionSpec::Kind::kColumn ? rows.table.rows[row][column] : std::to_string(rows.labels[row]);
  }
  return keys;
}

}  // namespace

Result<Parts> PartitionAlike(const PartitionSpec& spec, const LabelledRows& rows, const LabelledRows& dealt,
                             const Parts& parts, std::uint64_t seed) {
  ASSIGN_OR_RETURN(const std::vector<std::string> dealt_keys, KeysOf(spec, dealt));
  ASSIGN_OR_RETURN(const std::vector<std::string> keys, KeysOf(spec, rows));
  std::map<std::string, std::vector<std::size_t>> counts;
  for (std::size_t part = 0; part < parts.size(); ++part) {
    for (const std::uint32_t row : parts[part]) {
      std::vector<std::size_t>& count = counts[dealt_keys[row]];
      count.resize(parts.size());
      ++count[part];
    }
  }
  std::map<std::string, std::vector<std::uint32_t>> groups;
  for (std::uint32_t row = 0; row < keys.size(); ++row) groups[keys[row]].push_back(row);
  RandomStream stream(seed, "partition of held-out rows");
  Parts out(parts.size());
  for (auto& [key, group] : groups) {
    const auto found = counts.find(key);
    if (found == counts.end()) continue;
    stream.Shuffle(std::span<std::uint32_t>(group));
    std::size_t all = 0, reached = 0, at = 0;
    for (const std::size_t count : found->second) all += count;
    for (std::size_t part = 0; part < out.size(); ++part) {
      reached += found->second[part];
      for (const std::size_t end = group.size() * reached / all; at < end; ++at) out[part].push_back(group[at]);
    }
  }
  for (std::vector<std::uint32_t>& part : out) std::sort(part.begin(), part.end());
  return out;
}

}  // namespace fedpeft::client
