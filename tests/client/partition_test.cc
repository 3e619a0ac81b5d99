#include "client/partition.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include <algorithm>
#include <map>

namespace fedpeft::client {
namespace {

using Parts = std::vector<std::vector<std::uint32_t>>;

struct Data {
  Table table;
  std::vector<std::int32_t> labels;
};

/// `rows` rows in 4 labels; column `site` has at most `sites` values.
Data MakeData(std::size_t rows, std::size_t sites) {
  Data data;
  data.table.columns = {"text", "site"};
  for (std::size_t i = 0; i < rows; ++i) {
    data.table.rows.push_back({"t", "s" + std::to_string(i * i % sites)});
    data.labels.push_back(static_cast<std::int32_t>(i % 4));
  }
  return data;
}

Parts Deal(std::string_view spec, const Data& data, std::size_t clients, std::uint64_t seed = 1) {
  Result<Parts> parts = PartitionRows(*ParsePartition(spec), data.table, data.labels, clients, seed);
  EXPECT_TRUE(parts.ok()) << parts.status().ToString();
  return parts.ok() ? *parts : Parts{};
}

void ExpectEveryRowOnce(const Parts& parts, std::size_t rows) {
  std::vector<std::uint32_t> all;
  for (const auto& part : parts) {
    EXPECT_FALSE(part.empty());
    all.insert(all.end(), part.begin(), part.end());
  }
  std::sort(all.begin(), all.end());
  ASSERT_EQ(all.size(), rows);
  for (std::uint32_t i = 0; i < rows; ++i) EXPECT_EQ(all[i], i);
}

/// Mean over clients of the largest label's share: ¼ when even, 1 when a client has one label.
double Skew(const Parts& parts, const Data& data) {
  double sum = 0;
  for (const auto& part : parts) {
    double counts[4] = {};
    for (const std::uint32_t row : part) counts[data.labels[row]] += 1;
    sum += *std::max_element(counts, counts + 4) / static_cast<double>(part.size());
  }
  return sum / static_cast<double>(parts.size());
}

TEST(PartitionTest, IidDealsEveryRowOnceInEqualSizes) {
  const Data data = MakeData(103, 7);
  const Parts parts = Deal("iid", data, 10);
  ExpectEveryRowOnce(parts, 103);
  for (const auto& part : parts) EXPECT_TRUE(part.size() == 10 || part.size() == 11);
  EXPECT_EQ(parts, Deal("iid", data, 10));
  EXPECT_NE(parts, Deal("iid", data, 10, 2));
}

TEST(PartitionTest, PartsKeepTheOrderOfTheRows) {
  const Data data = MakeData(50, 7);
  for (const char* spec : {"iid", "dirichlet:0.5", "column:site"}) {
    for (const auto& part : Deal(spec, data, 3)) EXPECT_TRUE(std::is_sorted(part.begin(), part.end())) << spec;
  }
}

TEST(PartitionTest, DirichletIsMoreSkewedTheSmallerAlpha) {
  const Data data = MakeData(2000, 7);
  const Parts even = Deal("dirichlet:100", data, 10), mild = Deal("dirichlet:1", data, 10),
              strong = Deal("dirichlet:0.1", data, 10);
  for (const Parts* parts : {&even, &mild, &strong}) ExpectEveryRowOnce(*parts, 2000);
  EXPECT_LT(Skew(even, data), 0.35);
  EXPECT_LT(Skew(even, data), Skew(mild, data));
  EXPECT_LT(Skew(mild, data), Skew(strong, data));
  EXPECT_GT(Skew(strong, data), 0.6);
}

TEST(PartitionTest, ColumnKeepsGroupsTogether) {
  const Data data = MakeData(300, 31);
  const Parts parts = Deal("column:site", data, 4);
  ExpectEveryRowOnce(parts, 300);
  std::map<std::string, std::size_t> owner;
  for (std::size_t client = 0; client < parts.size(); ++client) {
    for (const std::uint32_t row : parts[client]) {
      const auto [at, fresh] = owner.emplace(data.table.rows[row][1], client);
      EXPECT_EQ(at->second, client);
    }
  }
}

TEST(PartitionTest, RefusesWhatCannotBeDealt) {
  const Data data = MakeData(5, 2);
  EXPECT_FALSE(PartitionRows(*ParsePartition("iid"), data.table, data.labels, 6, 1).ok());
  EXPECT_FALSE(PartitionRows(*ParsePartition("column:site"), data.table, data.labels, 3, 1).ok());
  EXPECT_FALSE(PartitionRows(*ParsePartition("column:none"), data.table, data.labels, 2, 1).ok());
  for (const char* bad :
       {"", "iids", "dirichlet:", "dirichlet:0", "dirichlet:-1", "dirichlet:nan", "dirichlet:1x", "column:"}) {
    EXPECT_FALSE(ParsePartition(bad).ok()) << bad;
  }
}

TEST(ClientRangeTest, IsAllClientsUnlessNamed) {
  const Result<ClientRange> all = ParseClientRange("", 7);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->first, 0u);
  EXPECT_EQ(all->end, 7u);
  const Result<ClientRange> some = ParseClientRange("3:7", 7);
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->first, 3u);
  EXPECT_EQ(some->end, 7u);
}

TEST(ClientRangeTest, RefusesWhatIsNoRangeOfTheClients) {
  for (const char* bad : {":", "3", "3:", ":3", "3:3", "4:3", "0:8", "-1:3", "1:2:3", "1: 2", "1:2x", "1-2"}) {
    EXPECT_FALSE(ParseClientRange(bad, 7).ok()) << bad;
  }
}

/// Rows of one column, whose labels go round.
Table Rows(std::size_t count, std::size_t sites) {
  Table table{{"site"}, {}};
  for (std::size_t i = 0; i < count; ++i) table.rows.push_back({"s" + std::to_string(i % sites)});
  return table;
}

TEST(PartitionTest, HeldOutRowsAreDealtByThePartsShares) {
  const Table data = Rows(600, 1), held_out = Rows(300, 1);
  std::vector<std::int32_t> labels(600), held_out_labels(300);
  for (std::size_t i = 0; i < 600; ++i) labels[i] = static_cast<std::int32_t>(i % 3);
  for (std::size_t i = 0; i < 300; ++i) held_out_labels[i] = static_cast<std::int32_t>(i % 3);
  const PartitionSpec spec = *ParsePartition("dirichlet:0.3");
  const auto parts = *PartitionRows(spec, data, labels, 5, 1);
  const auto alike = *PartitionAlike(spec, {held_out, held_out_labels}, {data, labels}, parts, 1);
  const auto count = [](const std::vector<std::uint32_t>& rows, const std::vector<std::int32_t>& of, int label) {
    return static_cast<double>(std::ranges::count_if(rows, [&](std::uint32_t row) { return of[row] == label; }));
  };
  std::size_t all = 0;
  for (std::size_t part = 0; part < 5; ++part) {
    all += alike[part].size();
    // Half as many of each label, give or take the rounding of both ends.
    for (int label = 0; label < 3; ++label) {
      EXPECT_NEAR(count(alike[part], held_out_labels, label), count(parts[part], labels, label) / 2.0, 1.0);
    }
  }
  EXPECT_EQ(all, 300u);
}

TEST(PartitionTest, HeldOutGroupsGoWhereTheirGroupIs) {
  const Table data = Rows(60, 6), held_out = Rows(40, 8);  // two of whose sites nobody has
  const std::vector<std::int32_t> labels(60), held_out_labels(40);
  const PartitionSpec spec = *ParsePartition("column:site");
  const auto parts = *PartitionRows(spec, data, labels, 3, 1);
  const auto alike = *PartitionAlike(spec, {held_out, held_out_labels}, {data, labels}, parts, 1);
  std::size_t all = 0;
  for (std::size_t part = 0; part < 3; ++part) {
    std::set<std::string> sites;
    for (const std::uint32_t row : parts[part]) sites.insert(data.rows[row][0]);
    for (const std::uint32_t row : alike[part]) EXPECT_TRUE(sites.contains(held_out.rows[row][0]));
    all += alike[part].size();
  }
  EXPECT_EQ(all, 30u);
}

TEST(PartitionTest, HeldOutRowsOfEqualPartsAreEqualParts) {
  const Table data = Rows(60, 6), held_out = Rows(30, 1);
  const std::vector<std::int32_t> labels(60), held_out_labels(30);
  const auto parts = *PartitionRows({}, data, labels, 4, 1);
  const auto alike = *PartitionAlike({}, {held_out, held_out_labels}, {data, labels}, parts, 1);
  for (const auto& part : alike) {
    EXPECT_NEAR(static_cast<double>(part.size()), 7.5, 0.5);
  }
}

}  // namespace
}  // namespace fedpeft::client
