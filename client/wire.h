// Protocol messages ↔ the client's plain structs.
#pragma once

#include <string>

#include "client/task_queue.h"
#include "peft/core/hash.h"
#include "peft/core/status.h"

namespace fedpeft::v1 {
class BlobRef;
class TaskKey;
}  // namespace fedpeft::v1

namespace fedpeft::client {

std::string Encode(const Digest& digest);
void Encode(const TaskKey& key, v1::TaskKey& out);
TaskKey Decode(const v1::TaskKey& key);
/// Errors: kInvalidArgument for a hash of another length.
Result<BlobRef> Decode(const v1::BlobRef& blob);

}  // namespace fedpeft::client
