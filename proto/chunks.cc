#include "proto/chunks.h"

#include <google/protobuf/io/coded_stream.h>

#include <algorithm>
#include <array>

#include "peft/core/hash.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"

namespace fedpeft {
namespace {

using google::protobuf::io::CodedOutputStream;

// Field number << 3 | wire type (0 varint, 2 length-delimited, 5 fixed32).
constexpr std::uint32_t kOffsetTag = v1::Chunk::kOffsetFieldNumber << 3 | 0;
constexpr std::uint32_t kDataTag = v1::Chunk::kDataFieldNumber << 3 | 2;
constexpr std::uint32_t kCrcTag = v1::Chunk::kCrc32CFieldNumber << 3 | 5;

}  // namespace

std::size_t ChunkSize(std::uint64_t offset, std::uint64_t length) {
  FEDPEFT_CHECK(offset < length);
  const std::uint64_t to_boundary = kChunkBytes - offset % kChunkBytes;
  return static_cast<std::size_t>(std::min(to_boundary, length - offset));
}

void FillChunk(std::uint64_t offset, ByteSpan data, v1::Chunk& chunk) {
  chunk.set_offset(offset);
  chunk.set_data(data.data(), data.size());
  chunk.set_crc32c(Crc32c(data));
}

std::string ChunkHead(std::uint64_t offset, ByteSpan data) {
  std::array<std::uint8_t, 32> head;
  std::uint8_t* end = head.data();
  end = CodedOutputStream::WriteVarint32ToArray(kOffsetTag, end);
  end = CodedOutputStream::WriteVarint64ToArray(offset, end);
  end = CodedOutputStream::WriteVarint32ToArray(kCrcTag, end);
  end = CodedOutputStream::WriteLittleEndian32ToArray(Crc32c(data), end);
  end = CodedOutputStream::WriteVarint32ToArray(kDataTag, end);
  end = CodedOutputStream::WriteVarint64ToArray(data.size(), end);
  return {head.data(), end};
}

Status CheckChunk(const v1::Chunk& chunk, std::uint64_t offset, std::uint64_t length) {
  if (chunk.offset() != offset) {
    return InvalidArgument("chunk: got offset " + std::to_string(chunk.offset()) + ", want " + std::to_string(offset) +
                           " (send chunks in order, without gaps)");
  }
  const std::string where = "chunk at " + std::to_string(offset);
  const std::size_t want = offset < length ? ChunkSize(offset, length) : 0;
  if (chunk.data().size() != want || want == 0) {
    return InvalidArgument(where + ": got " + std::to_string(chunk.data().size()) + " bytes, want " +
                           std::to_string(want) + " of a payload of " + std::to_string(length) +
                           " (a chunk ends at a multiple of " + std::to_string(kChunkBytes) + " or at the end)");
  }
  const std::uint32_t crc = Crc32c(AsBytes(chunk.data()));
  if (crc != chunk.crc32c()) {
    return DataLoss(where + ": got crc32c " + std::to_string(crc) + ", want " + std::to_string(chunk.crc32c()) +
                    " (damaged on the way: resume from this offset)");
  }
  return OkStatus();
}

}  // namespace fedpeft
