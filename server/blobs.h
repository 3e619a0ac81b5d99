// Blobs: what many clients fetch (parameters), held once. A blob is cut and encoded when it is published; every fetch
// writes the same gRPC slices, which point into the blob's own bytes.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"
#include "server/events.h"

namespace fedpeft::server {

/// Immutable; the encoded chunks keep the bytes alive.
class EncodedBlob {
 public:
  explicit EncodedBlob(std::shared_ptr<const Bytes> bytes);
  std::uint64_t length() const { return bytes_->size(); }
  /// The encoded v1::Chunk at `offset`, which ends at the next boundary (proto/chunks.h). Pre: offset < length().
  grpc::ByteBuffer ChunkAt(std::uint64_t offset) const;

 private:
  grpc::ByteBuffer Encode(std::uint64_t offset) const;

  const std::shared_ptr<const Bytes> bytes_;
  /// By number; of the chunks that start at a boundary.
  std::vector<grpc::ByteBuffer> chunks_;
};

/// Threads: any.
class BlobStore {
 public:
  BlobRef Publish(std::shared_ptr<const Bytes> bytes);
  void Retire(const Digest& sha256);
  /// Errors: kNotFound for a blob that was never published, or retired; kOutOfRange for an offset past its end.
  Result<std::shared_ptr<const EncodedBlob>> Find(const Digest& sha256, std::uint64_t offset) const;

 private:
  mutable std::mutex mutex_;
  std::map<Digest, std::shared_ptr<const EncodedBlob>> blobs_;  // guarded by mutex_
};

}  // namespace fedpeft::server
