#include "server/blobs.h"

#include <array>
#include <string>
#include <utility>

#include "proto/chunks.h"
#include "proto/limits.h"

namespace fedpeft::server {
namespace {

/// A slice of somebody's bytes that keeps them alive.
grpc::Slice SliceOf(const std::shared_ptr<const Bytes>& owner, ByteSpan part) {
  const auto release = [](void* held) { delete static_cast<std::shared_ptr<const Bytes>*>(held); };
  // gRPC only reads the bytes of a slice that is sent; its interface has no const.
  return {const_cast<std::uint8_t*>(part.data()), part.size(), release, new std::shared_ptr<const Bytes>(owner)};
}

}  // namespace

EncodedBlob::EncodedBlob(std::shared_ptr<const Bytes> bytes) : bytes_(std::move(bytes)) {
  chunks_.reserve(bytes_->size() / kChunkBytes + 1);
  for (std::uint64_t offset = 0; offset < bytes_->size(); offset += kChunkBytes) chunks_.push_back(Encode(offset));
}

grpc::ByteBuffer EncodedBlob::ChunkAt(std::uint64_t offset) const {
  // Only the first chunk of a resumed fetch starts off a boundary.
  return offset % kChunkBytes == 0 ? chunks_[offset / kChunkBytes] : Encode(offset);
}

grpc::ByteBuffer EncodedBlob::Encode(std::uint64_t offset) const {
  const ByteSpan data = ByteSpan(*bytes_).subspan(offset, ChunkSize(offset, bytes_->size()));
  const std::array<grpc::Slice, 2> parts{grpc::Slice(ChunkHead(offset, data)), SliceOf(bytes_, data)};
  return {parts.data(), parts.size()};
}

BlobRef BlobStore::Publish(std::shared_ptr<const Bytes> bytes) {
  const BlobRef ref{.sha256 = Sha256Of(*bytes), .length = bytes->size()};
  auto blob = std::make_shared<const EncodedBlob>(std::move(bytes));
  const std::lock_guard lock(mutex_);
  blobs_.try_emplace(ref.sha256, std::move(blob));
  return ref;
}

void BlobStore::Retire(const Digest& sha256) {
  const std::lock_guard lock(mutex_);
  blobs_.erase(sha256);
}

Result<std::shared_ptr<const EncodedBlob>> BlobStore::Find(const Digest& sha256, std::uint64_t offset) const {
  std::shared_ptr<const EncodedBlob> blob;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = blobs_.find(sha256); found != blobs_.end()) blob = found->second;
  }
  if (!blob) return NotFound("blob " + Hex(sha256) + ": not here, or not any more (ask for the next task)");
  if (offset > blob->length()) {
    return OutOfRange("blob " + Hex(sha256) + ": got offset " + std::to_string(offset) + ", want at most " +
                      std::to_string(blob->length()));
  }
  return blob;
}

}  // namespace fedpeft::server
