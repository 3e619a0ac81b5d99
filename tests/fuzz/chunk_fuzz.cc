// A chunk from a hostile peer: the first bytes choose what is expected, the rest is the message. Whatever is accepted
// must be what the codec itself would make.
#include <cstdint>
#include <cstdlib>

#include "peft/core/bytes.h"
#include "proto/chunks.h"
#include "proto/protocol.pb.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fedpeft;
  constexpr std::size_t kPrefix = 16;
  if (size < kPrefix) return 0;
  const ByteSpan input(data, size);
  const auto offset = LoadLe<std::uint64_t>(input, 0);
  const auto length = LoadLe<std::uint64_t>(input, 8);
  v1::Chunk chunk;
  if (!chunk.ParseFromArray(data + kPrefix, static_cast<int>(size - kPrefix))) return 0;
  if (!CheckChunk(chunk, offset, length).ok()) return 0;

  v1::Chunk again;
  FillChunk(offset, AsBytes(chunk.data()), again);
  v1::Chunk encoded;
  if (!encoded.ParseFromString(ChunkHead(offset, AsBytes(chunk.data())) + chunk.data())) std::abort();
  if (encoded.SerializeAsString() != again.SerializeAsString()) std::abort();
  return 0;
}
