#include "proto/chunks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "peft/core/hash.h"
#include "peft/core/random.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"
#include "tests/support/mutate.h"

namespace fedpeft {
namespace {

using ::testing::HasSubstr;

Bytes Pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 131 + i / 256);
  return bytes;
}

v1::Chunk ChunkAt(const Bytes& payload, std::uint64_t offset) {
  v1::Chunk chunk;
  FillChunk(offset, ByteSpan(payload).subspan(offset, ChunkSize(offset, payload.size())), chunk);
  return chunk;
}

TEST(ChunksTest, CutsAtBoundariesAndAtTheEnd) {
  EXPECT_EQ(ChunkSize(0, 10), 10u);
  EXPECT_EQ(ChunkSize(0, kChunkBytes), kChunkBytes);
  EXPECT_EQ(ChunkSize(0, 3 * kChunkBytes), kChunkBytes);
  EXPECT_EQ(ChunkSize(kChunkBytes, kChunkBytes + 1), 1u);
  EXPECT_EQ(ChunkSize(5, 3 * kChunkBytes), kChunkBytes - 5);
  EXPECT_EQ(ChunkSize(std::numeric_limits<std::uint64_t>::max() - 1, std::numeric_limits<std::uint64_t>::max()), 1u);
}

TEST(ChunksTest, ChunksOfAPayloadPutTogetherAreThePayload) {
  const Bytes payload = Pattern(2 * kChunkBytes + 17);
  for (std::uint64_t start : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{kChunkBytes}}) {
    std::string together;
    for (std::uint64_t offset = start; offset < payload.size();) {
      const v1::Chunk chunk = ChunkAt(payload, offset);
      ASSERT_TRUE(CheckChunk(chunk, offset, payload.size()).ok());
      together += chunk.data();
      offset += chunk.data().size();
    }
    EXPECT_EQ(together, AsText(ByteSpan(payload).subspan(start)));
  }
}

TEST(ChunksTest, HeadAndDataAreTheEncodedMessage) {
  const Bytes payload = Pattern(300);
  for (std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{299}, std::uint64_t{1} << 40}) {
    v1::Chunk made;
    FillChunk(offset, payload, made);
    v1::Chunk parsed;
    ASSERT_TRUE(parsed.ParseFromString(ChunkHead(offset, payload) + std::string(AsText(payload))));
    EXPECT_EQ(parsed.SerializeAsString(), made.SerializeAsString());
  }
}

struct Reject {
  const char* what;
  std::uint64_t at;
  std::uint64_t length;
  Code code;
  const char* message;
};

TEST(ChunksTest, RefusesWhatDoesNotContinueThePayload) {
  const Bytes payload = Pattern(100);
  const v1::Chunk chunk = ChunkAt(payload, 0);
  const Reject rejects[] = {
      {"replayed", 100, 200, Code::kInvalidArgument, "got offset 0, want 100"},
      {"short", 0, 101, Code::kInvalidArgument, "got 100 bytes, want 101"},
      {"overlong", 0, 99, Code::kInvalidArgument, "got 100 bytes, want 99"},
      {"for an empty payload", 0, 0, Code::kInvalidArgument, "want 0"},
  };
  for (const Reject& reject : rejects) {
    const Status status = CheckChunk(chunk, reject.at, reject.length);
    EXPECT_EQ(status.code(), reject.code) << reject.what;
    EXPECT_THAT(status.message(), HasSubstr(reject.message)) << reject.what;
  }
  EXPECT_EQ(CheckChunk(v1::Chunk(), 0, 100).code(), Code::kInvalidArgument) << "empty chunk";
  EXPECT_EQ(CheckChunk(v1::Chunk(), 0, 0).code(), Code::kInvalidArgument) << "empty chunk of an empty payload";
}

TEST(ChunksTest, RefusesDamageOfAnyBit) {
  const Bytes payload = Pattern(64);
  for (std::size_t bit = 0; bit < payload.size() * 8; ++bit) {
    v1::Chunk chunk = ChunkAt(payload, 0);
    std::string& data = *chunk.mutable_data();
    data[bit / 8] = static_cast<char>(data[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(CheckChunk(chunk, 0, payload.size()).code(), Code::kDataLoss) << bit;
  }
}

TEST(ChunksTest, RefusesTruncationAtEveryByte) {
  const Bytes payload = Pattern(64);
  const std::string encoded = ChunkAt(payload, 0).SerializeAsString();
  for (std::size_t size = 0; size < encoded.size(); ++size) {
    v1::Chunk chunk;
    EXPECT_FALSE(chunk.ParseFromString(encoded.substr(0, size)) && CheckChunk(chunk, 0, payload.size()).ok()) << size;
  }
}

/// Of a chunk's content, as a peer that wants to get through would send it.
void Resign(Bytes& encoded) {
  v1::Chunk chunk;
  if (!chunk.ParseFromArray(encoded.data(), static_cast<int>(encoded.size()))) return;
  chunk.set_crc32c(Crc32c(AsBytes(chunk.data())));
  const std::string again = chunk.SerializeAsString();
  encoded.assign(again.begin(), again.end());
}

TEST(ChunksTest, TenThousandMutationsAreRefusedOrAreWhatTheCodecMakes) {
  const std::string good = ChunkAt(Pattern(64), 0).SerializeAsString();
  RandomStream random(1, "chunk mutations");
  int accepted = 0;
  for (int i = 0; i < 10'000; ++i) {
    Bytes encoded(good.begin(), good.end());
    testing::Mutate(random, encoded);
    if (random.NextBelow(2) == 0) Resign(encoded);
    v1::Chunk chunk;
    if (!chunk.ParseFromArray(encoded.data(), static_cast<int>(encoded.size()))) continue;
    if (!CheckChunk(chunk, 0, 64).ok()) continue;
    ++accepted;
    EXPECT_EQ(chunk.offset(), 0u);
    EXPECT_EQ(chunk.data().size(), 64u);
    EXPECT_EQ(chunk.crc32c(), Crc32c(AsBytes(chunk.data())));
  }
  EXPECT_GT(accepted, 100) << "the mutations no longer get past the parser";
}

}  // namespace
}  // namespace fedpeft
