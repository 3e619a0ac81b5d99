#include "client/wire.h"

#include <algorithm>

#include "proto/protocol.pb.h"

namespace fedpeft::client {

std::string Encode(const Digest& digest) {
  return std::string(digest.begin(), digest.end());
}

void Encode(const TaskKey& key, v1::TaskKey& out) {
  out.set_client_id(key.client);
  out.set_round(key.round);
  out.set_attempt(key.attempt);
  out.set_step(key.step);
}

TaskKey Decode(const v1::TaskKey& key) {
  return {key.client_id(), key.round(), key.attempt(), key.step()};
}

Result<BlobRef> Decode(const v1::BlobRef& blob) {
  BlobRef ref;
  if (blob.sha256().size() != ref.sha256.size()) return InvalidArgument("task: its parameters have no SHA-256");
  std::copy(blob.sha256().begin(), blob.sha256().end(), ref.sha256.begin());
  ref.length = blob.length();
  return ref;
}

}  // namespace fedpeft::client
