// The chunk codec that both ends share: a payload travels as chunks that start where the last one ended and end at the
// next multiple of kChunkBytes or at the payload's end. The cut is a rule and not a choice, so that a peer cannot send
// a payload byte by byte. A chunk carries its offset and a CRC-32C; what the payload as a whole must be (length,
// SHA-256) is the business of whoever asked for it.
#pragma once

#include <cstdint>
#include <string>

#include "peft/core/bytes.h"
#include "peft/core/status.h"

namespace fedpeft {

namespace v1 {
class Chunk;
}

/// Bytes of the chunk that starts at `offset` of a payload of `length` bytes. Pre: offset < length.
std::size_t ChunkSize(std::uint64_t offset, std::uint64_t length);

/// Makes the chunk of `data` at `offset`. Pre: data is ChunkSize long, for the sender's payload.
void FillChunk(std::uint64_t offset, ByteSpan data, v1::Chunk& chunk);

/// The encoding of the same chunk up to, and without, the bytes of `data`: head and data side by side are the message.
/// For senders that share one copy of the data between many receivers.
std::string ChunkHead(std::uint64_t offset, ByteSpan data);

/// Whether `chunk` is the one that goes on at `offset` of a payload of `length` bytes. Errors: kInvalidArgument for
/// another offset, for bytes past the payload's end, for another cut than ChunkSize's; kDataLoss when the CRC differs.
Status CheckChunk(const v1::Chunk& chunk, std::uint64_t offset, std::uint64_t length);

}  // namespace fedpeft
