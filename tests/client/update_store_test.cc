#include "client/update_store.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/support/temp_folder.h"

namespace fedpeft::client {
namespace {

KeptUpdate MakeUpdate(std::uint32_t round) {
  KeptUpdate update;
  update.round = round;
  update.base[0] = 7;
  update.stats = {.examples = 5, .steps = 2, .tokens = 60, .loss = 1.25, .seconds = 0.5};
  update.payload = {1, 2, 3, '\n', 0, 255};
  update.personal = {9, '\n', 8};
  return update;
}

TEST(UpdateStoreTest, UpdateOutlivesTheProcess) {
  const fedpeft::testing::TempFolder folder;
  const KeptUpdate update = MakeUpdate(4);
  {
    Result<UpdateStore> store = UpdateStore::Open(folder.path());
    ASSERT_TRUE(store->Keep("run", "a/1", update).ok());
  }
  const Result<UpdateStore> store = UpdateStore::Open(folder.path());
  const auto found = store->Find("run", "a/1", 4, update.base);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->payload, update.payload);
  EXPECT_EQ(found->personal, update.personal);
  EXPECT_EQ(found->stats.examples, 5);
  EXPECT_EQ(found->stats.loss, 1.25);
}

TEST(UpdateStoreTest, WhatWasUnmaskedIsKnownToTheNextProcess) {
  const fedpeft::testing::TempFolder folder;
  {
    Result<UpdateStore> store = UpdateStore::Open(folder.path());
    EXPECT_FALSE(store->IsUnmasked("run", "a/1", 1).value());
    ASSERT_TRUE(store->MarkUnmasked("run", "a/1", 3).ok());
    ASSERT_TRUE(store->MarkUnmasked("other", "a/1", 1).ok());
    ASSERT_TRUE(store->MarkUnmasked("run", "a/1", 2).ok());
    store->Clear();
  }
  const Result<UpdateStore> store = UpdateStore::Open(folder.path());
  EXPECT_TRUE(store->IsUnmasked("run", "a/1", 1).value());
  EXPECT_TRUE(store->IsUnmasked("run", "a/1", 3).value());
  EXPECT_FALSE(store->IsUnmasked("run", "a/1", 4).value());
  EXPECT_TRUE(store->IsUnmasked("other", "a/1", 1).value());
  EXPECT_FALSE(store->IsUnmasked("run", "a/2", 1).value());
  ASSERT_TRUE(WriteFileAtomically(folder.File("unmasked-a+1"), AsBytes(std::string_view("[3]"))).ok());
  EXPECT_EQ(store->IsUnmasked("run", "a/1", 1).status().code(), Code::kDataLoss);
}

TEST(UpdateStoreTest, WhatWasSentIsKnownToTheNextProcess) {
  const fedpeft::testing::TempFolder folder;
  {
    Result<UpdateStore> store = UpdateStore::Open(folder.path());
    EXPECT_EQ(store->LastSent("run", "a/1").value(), 0u);
    ASSERT_TRUE(store->MarkSent("run", "a/1", 3).ok());
    ASSERT_TRUE(store->MarkSent("other", "a/1", 9).ok());
    ASSERT_TRUE(store->MarkUnmasked("run", "a/1", 7).ok());
    store->Clear();
  }
  const Result<UpdateStore> store = UpdateStore::Open(folder.path());
  EXPECT_EQ(store->LastSent("run", "a/1").value(), 3u);
  EXPECT_EQ(store->LastSent("other", "a/1").value(), 9u);
  EXPECT_EQ(store->LastSent("run", "a/2").value(), 0u);
}

TEST(UpdateStoreTest, AnotherRunRoundClientOrBaseIsNotFound) {
  const fedpeft::testing::TempFolder folder;
  Result<UpdateStore> store = UpdateStore::Open(folder.path());
  const KeptUpdate update = MakeUpdate(4);
  ASSERT_TRUE(store->Keep("run", "a", update).ok());
  EXPECT_FALSE(store->Find("other", "a", 4, update.base));
  EXPECT_FALSE(store->Find("run", "b", 4, update.base));
  EXPECT_FALSE(store->Find("run", "a", 5, update.base));
  EXPECT_FALSE(store->Find("run", "a", 4, Digest{}));
  EXPECT_EQ(store->Personal("run", "a").value(), update.personal);
  EXPECT_EQ(store->Personal("other", "a").value(), Bytes());
  EXPECT_EQ(store->Personal("run", "b").value(), Bytes());
  store->Clear();
  EXPECT_FALSE(store->Find("run", "a", 4, update.base));
}

TEST(UpdateStoreTest, DamagedFileIsNoUpdate) {
  const fedpeft::testing::TempFolder folder;
  Result<UpdateStore> store = UpdateStore::Open(folder.path());
  const KeptUpdate update = MakeUpdate(4);
  ASSERT_TRUE(store->Keep("run", "a", update).ok());
  const std::string path = folder.File("update-a");
  const std::string whole = *ReadFile(path, 1 << 20);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    ASSERT_TRUE(WriteFileAtomically(path, AsBytes(std::string_view(whole).substr(0, length))).ok());
    EXPECT_FALSE(store->Find("run", "a", 4, update.base)) << length;
    EXPECT_EQ(store->Personal("run", "a").status().code(), Code::kDataLoss) << length;
  }
}

TEST(UpdateStoreTest, NameIsKeptAndMayBeChanged) {
  const fedpeft::testing::TempFolder folder;
  const std::string first = *UpdateStore::Open(folder.path())->Name("");
  EXPECT_EQ(first.size(), std::string("client-01234567").size());
  EXPECT_EQ(*UpdateStore::Open(folder.path())->Name(""), first);
  EXPECT_EQ(*UpdateStore::Open(folder.path())->Name("ward-7"), "ward-7");
  EXPECT_EQ(*UpdateStore::Open(folder.path())->Name(""), "ward-7");
}

TEST(UpdateStoreTest, FolderServesOneProcess) {
  const fedpeft::testing::TempFolder folder;
  const Result<UpdateStore> first = UpdateStore::Open(folder.path());
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(UpdateStore::Open(folder.path()).status().code(), Code::kFailedPrecondition);
}

TEST(RunIdTest, IsAWordInOurFiles) {
  EXPECT_TRUE(CheckRunId("0123456789abcdef").ok());
  for (const std::string id : {"", "a b", "a\n", "../a", "A"}) EXPECT_EQ(CheckRunId(id).code(), Code::kDataLoss) << id;
  EXPECT_EQ(CheckRunId(std::string(65, 'a')).code(), Code::kDataLoss);
}

}  // namespace
}  // namespace fedpeft::client
