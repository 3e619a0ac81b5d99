#include "server/transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "peft/core/files.h"
#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"
#include "server/blobs.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

using ::testing::ElementsAre;

Bytes Pattern(std::size_t size, std::size_t salt = 0) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 131 + i / 256 + salt);
  return bytes;
}

UploadManifest ManifestOf(const Bytes& payload, const std::string& client, std::uint32_t round = 1) {
  UploadManifest manifest;
  manifest.key = {.client_id = client, .round = round, .attempt = 0, .step = kTrainStep};
  manifest.length = payload.size();
  manifest.sha256 = Sha256Of(payload);
  return manifest;
}

v1::Chunk ChunkAt(const Bytes& payload, std::uint64_t offset) {
  v1::Chunk chunk;
  FillChunk(offset, ByteSpan(payload).subspan(offset, ChunkSize(offset, payload.size())), chunk);
  return chunk;
}

bool Anybody(const std::string&) {
  return true;
}

class TransferTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kWindow = std::uint64_t{4} << 20;

  std::shared_ptr<Upload> Attach(UploadId id) {
    auto upload = table_.Attach(id, Anybody, now_, [this](const Status& why) { ended_.push_back(why.code()); });
    FEDPEFT_CHECK(upload.ok());
    return *upload;
  }
  static void AppendUntil(Upload& upload, const Bytes& payload, std::uint64_t until) {
    while (upload.received() < until) ASSERT_TRUE(upload.Append(ChunkAt(payload, upload.received())).ok());
  }

  testing::TempFolder folder_;
  std::shared_ptr<Spool> spool_ = *Spool::Open(folder_.File("spool"));
  UploadTable table_{kWindow, spool_};
  Instant now_{};
  std::vector<Code> ended_;
};

TEST_F(TransferTest, DeliversWhatWasSentFromMemoryAndFromTheSpool) {
  for (std::size_t size : {std::size_t{1}, std::size_t{kChunkBytes}, 2 * kChunkBytes + 5}) {
    const Bytes payload = Pattern(size);
    const auto admission = table_.Admit(ManifestOf(payload, "alice"), now_);
    ASSERT_TRUE(admission.has_value());
    const auto upload = Attach(admission->id);
    AppendUntil(*upload, payload, size);
    auto bytes = upload->Finish();
    table_.Detach(admission->id, /*drop=*/true, now_);
    ASSERT_TRUE(bytes.ok());
    Bytes read((*bytes)->length());
    ASSERT_TRUE((*bytes)->Read(0, read).ok());
    EXPECT_EQ(read, payload);
    EXPECT_EQ(table_.window_used(), size) << "as long as somebody holds the bytes";
    (*bytes).reset();
    EXPECT_EQ(table_.window_used(), 0u);
  }
}

TEST_F(TransferTest, ReusedSpoolFilesHoldTheNewBytes) {
  for (std::size_t salt = 0; salt < 3; ++salt) {
    const Bytes payload = Pattern(2 * kChunkBytes, salt);
    const auto admission = table_.Admit(ManifestOf(payload, "alice"), now_);
    const auto upload = Attach(admission->id);
    AppendUntil(*upload, payload, payload.size());
    const auto bytes = upload->Finish();
    table_.Detach(admission->id, /*drop=*/true, now_);
    Bytes read(10);
    ASSERT_TRUE((*bytes)->Read(kChunkBytes, read).ok());
    EXPECT_EQ(AsText(read), AsText(ByteSpan(payload).subspan(kChunkBytes, 10)));
  }
}

TEST_F(TransferTest, SpoolIsEmptyAtTheStartAndHoldsNoNames) {
  ASSERT_TRUE(WriteFileAtomically(folder_.File("spool/left-over"), AsBytes("x")).ok());
  const auto spool = Spool::Open(folder_.File("spool"));
  ASSERT_TRUE(spool.ok());
  const auto file = (*spool)->Take();
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(ListFolder(folder_.File("spool"))->empty());
}

TEST_F(TransferTest, AFullDiskIsToldAndTheUploadGoesOnOnceThereIsRoom) {
  const Bytes payload = Pattern(2 * kChunkBytes);
  const auto admission = table_.Admit(ManifestOf(payload, "alice"), now_);
  const auto upload = Attach(admission->id);
  ASSERT_TRUE(upload->Append(ChunkAt(payload, 0)).ok());
  {
    // A limit on file sizes stands for the end of the disk; its signal is ignored as a daemon would.
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit tight{.rlim_cur = kChunkBytes + 10, .rlim_max = before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
    const Status full = upload->Append(ChunkAt(payload, kChunkBytes));
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    EXPECT_FALSE(full.ok());
    EXPECT_THAT(full.message(), ::testing::HasSubstr("is the disk full?"));
  }
  EXPECT_EQ(upload->received(), kChunkBytes);
  AppendUntil(*upload, payload, payload.size());
  const auto bytes = upload->Finish();
  ASSERT_TRUE(bytes.ok());
  Bytes read(payload.size());
  ASSERT_TRUE((*bytes)->Read(0, read).ok());
  EXPECT_EQ(read, payload);
}

TEST_F(TransferTest, ResumesWhereItBrokeOff) {
  const Bytes payload = Pattern(3 * kChunkBytes);
  const auto first = table_.Admit(ManifestOf(payload, "alice"), now_);
  auto upload = Attach(first->id);
  AppendUntil(*upload, payload, 2 * kChunkBytes);
  table_.Detach(first->id, /*drop=*/false, now_);

  const auto again = table_.Admit(ManifestOf(payload, "alice"), now_);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->id, first->id);
  EXPECT_EQ(again->offset, 2 * kChunkBytes);
  upload = Attach(again->id);
  AppendUntil(*upload, payload, payload.size());
  EXPECT_TRUE(upload->Finish().ok());
}

TEST_F(TransferTest, AnotherUpdateOfTheClientTakesThePlaceOfTheFirst) {
  const Bytes payload = Pattern(3 * kChunkBytes);
  const auto first = table_.Admit(ManifestOf(payload, "alice"), now_);
  const auto second = table_.Admit(ManifestOf(Pattern(3 * kChunkBytes, 1), "alice"), now_);
  ASSERT_TRUE(second.has_value()) << "the first gave its bytes back";
  EXPECT_EQ(second->offset, 0u);
  EXPECT_EQ(table_.Attach(first->id, Anybody, now_, {}).status().code(), Code::kNotFound);
  EXPECT_EQ(table_.window_used(), payload.size());
}

TEST_F(TransferTest, WindowBoundsWhatIsAdmitted) {
  const Bytes payload = Pattern(3 * kChunkBytes);
  const auto alice = table_.Admit(ManifestOf(payload, "alice"), now_);
  EXPECT_FALSE(table_.Admit(ManifestOf(payload, "bob"), now_).has_value());
  table_.Detach(alice->id, /*drop=*/true, now_);
  EXPECT_TRUE(table_.Admit(ManifestOf(payload, "bob"), now_).has_value());
}

TEST_F(TransferTest, SomethingLargerThanTheWindowIsAdmittedAlone) {
  UploadManifest huge = ManifestOf(Pattern(1), "alice");
  huge.length = std::uint64_t{1} << 60;  // Allocates nothing.
  EXPECT_TRUE(table_.Admit(huge, now_).has_value());
  EXPECT_FALSE(table_.Admit(ManifestOf(Pattern(1), "bob"), now_).has_value());
}

TEST_F(TransferTest, SecondStreamAndOtherClientsAreRefused) {
  const auto admission = table_.Admit(ManifestOf(Pattern(10), "alice"), now_);
  const auto upload = Attach(admission->id);
  EXPECT_EQ(table_.Attach(admission->id, Anybody, now_, {}).status().code(), Code::kAlreadyExists);
  table_.Detach(admission->id, /*drop=*/false, now_);
  const auto not_alice = [](const std::string& client) { return client != "alice"; };
  EXPECT_EQ(table_.Attach(admission->id, not_alice, now_, {}).status().code(), Code::kNotFound);
}

TEST_F(TransferTest, OpeningAgainEndsTheOldStreamAndWaitsForItsEnd) {
  const Bytes payload = Pattern(10);
  const auto admission = table_.Admit(ManifestOf(payload, "alice"), now_);
  const auto upload = Attach(admission->id);
  EXPECT_FALSE(table_.Admit(ManifestOf(payload, "alice"), now_).has_value());
  EXPECT_THAT(ended_, ElementsAre(Code::kAborted));
  table_.Detach(admission->id, /*drop=*/false, now_);
  EXPECT_TRUE(table_.Admit(ManifestOf(payload, "alice"), now_).has_value());
}

TEST_F(TransferTest, RefusesWrongOffsetsDamageAndTheWrongHash) {
  const Bytes payload = Pattern(kChunkBytes + 10);
  UploadManifest lying = ManifestOf(payload, "alice");
  lying.sha256[0] ^= 1;
  const auto admission = table_.Admit(lying, now_);
  const auto upload = Attach(admission->id);
  EXPECT_EQ(upload->Append(ChunkAt(payload, kChunkBytes)).code(), Code::kInvalidArgument) << "a gap";
  v1::Chunk damaged = ChunkAt(payload, 0);
  damaged.set_crc32c(damaged.crc32c() ^ 1);
  EXPECT_EQ(upload->Append(damaged).code(), Code::kDataLoss);
  EXPECT_EQ(upload->received(), 0u);
  AppendUntil(*upload, payload, payload.size());
  EXPECT_EQ(upload->Append(ChunkAt(payload, 0)).code(), Code::kInvalidArgument) << "replayed";
  EXPECT_EQ(upload->Finish().status().code(), Code::kInvalidArgument);
}

TEST_F(TransferTest, ClosedRoundsAndSilentUploadsAreEndedAndDropped) {
  const auto old = table_.Admit(ManifestOf(Pattern(10), "alice", 1), now_);
  const auto current = table_.Admit(ManifestOf(Pattern(10), "bob", 2), now_);
  const auto old_upload = Attach(old->id);
  table_.CloseBefore(2, 0);
  EXPECT_THAT(ended_, ElementsAre(Code::kFailedPrecondition));
  const auto upload = Attach(current->id);
  now_ += Seconds(UploadTable::kSilenceSeconds - 1);
  table_.DropSilent(now_);
  table_.Touch(current->id, now_);
  now_ += Seconds(UploadTable::kSilenceSeconds - 1);
  table_.DropSilent(now_);
  EXPECT_EQ(ended_.size(), 1u);
  now_ += Seconds(1);
  table_.DropSilent(now_);
  EXPECT_THAT(ended_, ElementsAre(Code::kFailedPrecondition, Code::kDeadlineExceeded));
}

TEST(BlobStoreTest, ServesChunksFromAnyOffsetUntilRetired) {
  const Bytes payload = Pattern(2 * kChunkBytes + 7);
  BlobStore store;
  const BlobRef ref = store.Publish(std::make_shared<const Bytes>(payload));
  EXPECT_EQ(ref.sha256, Sha256Of(payload));
  const auto blob = store.Find(ref.sha256, 0);
  ASSERT_TRUE(blob.ok());
  for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{kChunkBytes}, std::uint64_t{kChunkBytes + 9}}) {
    grpc::Slice encoded;
    ASSERT_TRUE((*blob)->ChunkAt(offset).DumpToSingleSlice(&encoded).ok());
    v1::Chunk chunk;
    ASSERT_TRUE(chunk.ParseFromArray(encoded.begin(), static_cast<int>(encoded.size())));
    EXPECT_TRUE(CheckChunk(chunk, offset, payload.size()).ok());
    EXPECT_EQ(chunk.data(), AsText(ByteSpan(payload).subspan(offset, chunk.data().size())));
  }
  EXPECT_EQ(store.Find(ref.sha256, payload.size() + 1).status().code(), Code::kOutOfRange);
  store.Retire(ref.sha256);
  EXPECT_EQ(store.Find(ref.sha256, 0).status().code(), Code::kNotFound);
}

}  // namespace
}  // namespace fedpeft::server
