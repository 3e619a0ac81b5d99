// Protocol messages ↔ the plain structs of events.h and session.h. Everything a peer says is checked for form here
// (lengths of digests and texts, finite numbers); whether it is true or wanted is decided behind.
#pragma once

#include "peft/core/status.h"
#include "server/events.h"
#include "server/run_info.h"
#include "server/session.h"

namespace fedpeft::v1 {
class GetRunReply;
class JoinRequest;
class NextTaskReply;
class NextTaskRequest;
class SubmitRequest;
class TaskKey;
class UploadManifest;
}  // namespace fedpeft::v1

namespace fedpeft::server {

/// `what: got N bytes, want 32`.
Result<Digest> DecodeDigest(const std::string& bytes, std::string_view what);
/// Errors, here and below: kInvalidArgument naming the field.
/// Also that it speaks for at most as many virtual clients as the run takes of a process: nothing is copied before.
Result<JoinClaim> Decode(const v1::JoinRequest& request, const RunInfo& run);
Result<TaskKey> Decode(const v1::TaskKey& key);
/// The tasks that a poll acknowledges, at most those of one reply.
Result<std::vector<TaskKey>> DecodeReceived(const v1::NextTaskRequest& request);
/// Also checks that it is of this run.
Result<UploadManifest> Decode(const v1::UploadManifest& manifest, const RunInfo& run);
/// The answer of a SubmitRequest.
Result<TaskAnswered::Outcome> DecodeAnswer(const v1::SubmitRequest& request);

void Encode(const RunInfo& run, v1::GetRunReply& reply);
void Encode(const std::vector<Task>& tasks, v1::NextTaskReply& reply);

}  // namespace fedpeft::server
