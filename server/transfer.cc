#include "server/transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "peft/core/check.h"
#include "proto/chunks.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"

namespace fedpeft::server {
namespace {

class MemoryBytes final : public UploadedBytes {
 public:
  MemoryBytes(Bytes bytes, ByteWindow::Share share) : bytes_(std::move(bytes)), share_(std::move(share)) {}
  Status Read(std::uint64_t offset, MutableByteSpan out) override {
    FEDPEFT_CHECK(offset <= bytes_.size() && out.size() <= bytes_.size() - offset);
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return OkStatus();
  }
  std::uint64_t length() const override { return bytes_.size(); }

 private:
  const Bytes bytes_;
  ByteWindow::Share share_;
};

class SpooledBytes final : public UploadedBytes {
 public:
  SpooledBytes(std::unique_ptr<Spool::File> file, std::uint64_t length, ByteWindow::Share share)
      : file_(std::move(file)), length_(length), share_(std::move(share)) {}
  Status Read(std::uint64_t offset, MutableByteSpan out) override {
    FEDPEFT_CHECK(offset <= length_ && out.size() <= length_ - offset);
    return file_->Read(offset, out);
  }
  std::uint64_t length() const override { return length_; }

 private:
  const std::unique_ptr<Spool::File> file_;
  const std::uint64_t length_;
  ByteWindow::Share share_;
};

}  // namespace

Upload::Upload(UploadId id, UploadManifest manifest, ByteWindow::Share share, std::shared_ptr<Spool> spool)
    : id_(id), manifest_(std::move(manifest)), share_(std::move(share)), spool_(std::move(spool)) {}

Status Upload::Append(const v1::Chunk& chunk) {
  RETURN_IF_ERROR(CheckChunk(chunk, received_, manifest_.length));
  const ByteSpan data = AsBytes(chunk.data());
  if (manifest_.length <= kChunkBytes) {
    memory_.assign(data.begin(), data.end());
  } else {
    if (!file_) {
      ASSIGN_OR_RETURN(file_, spool_->Take());
    }
    RETURN_IF_ERROR(file_->Write(received_, data));
  }
  sha256_.Update(data);
  received_ += data.size();
  return OkStatus();
}

Result<std::unique_ptr<UploadedBytes>> Upload::Finish() {
  FEDPEFT_CHECK(complete());
  const Digest digest = sha256_.Finish();
  if (digest != manifest_.sha256) {
    return InvalidArgument("update of " + manifest_.key.client_id + ": got sha256 " + Hex(digest) + ", want " +
                           Hex(manifest_.sha256) + " as its manifest says (send the whole update again)");
  }
  std::unique_ptr<UploadedBytes> bytes;
  if (file_) {
    bytes = std::make_unique<SpooledBytes>(std::move(file_), manifest_.length, std::move(share_));
  } else {
    bytes = std::make_unique<MemoryBytes>(std::move(memory_), std::move(share_));
  }
  return bytes;
}

std::optional<UploadTable::Admission> UploadTable::Admit(const UploadManifest& manifest, Instant now) {
  EndStream end;
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = by_client_.find(manifest.key.client_id); known != by_client_.end()) {
      const auto slot = slots_.find(known->second);
      const UploadManifest& open = slot->second.upload->manifest();
      if (slot->second.streaming) {
        // The client would not ask if its old stream still worked: it is ended, and then there is a place to resume.
        end = slot->second.end_stream;
      } else if (open.key == manifest.key && open.sha256 == manifest.sha256 && open.length == manifest.length) {
        slot->second.touched = now;
        return Admission{.id = known->second, .offset = slot->second.upload->received()};
      } else {
        slots_.erase(slot);
        by_client_.erase(known);
      }
    }
    if (!end) return AdmitNew(manifest, now);
  }
  end(Status(Code::kAborted, "upload: opened again by its client (this stream is over)"));
  return std::nullopt;
}

std::optional<UploadTable::Admission> UploadTable::AdmitNew(const UploadManifest& manifest, Instant now) {
  ByteWindow::Share share = window_->TryTake(manifest.length);
  if (!share) return std::nullopt;
  const UploadId id = ++last_id_;
  slots_[id] = {.upload = std::make_shared<Upload>(id, manifest, std::move(share), spool_),
                .streaming = false,
                .end_stream = nullptr,
                .touched = now};
  by_client_[manifest.key.client_id] = id;
  return Admission{.id = id, .offset = 0};
}

Result<std::shared_ptr<Upload>> UploadTable::Attach(UploadId id, const std::function<bool(const std::string&)>& owns,
                                                    Instant now, EndStream end_stream) {
  const std::lock_guard lock(mutex_);
  const auto slot = slots_.find(id);
  if (slot == slots_.end() || !owns(slot->second.upload->manifest().key.client_id)) {
    return NotFound("upload " + std::to_string(id) + ": this session has none such (ask for one with OpenUpload)");
  }
  if (slot->second.streaming) {
    return Status(Code::kAlreadyExists,
                  "upload " + std::to_string(id) + ": another stream is sending it (wait for it)");
  }
  slot->second.streaming = true;
  slot->second.end_stream = std::move(end_stream);
  slot->second.touched = now;
  return slot->second.upload;
}

void UploadTable::Touch(UploadId id, Instant now) {
  const std::lock_guard lock(mutex_);
  if (const auto slot = slots_.find(id); slot != slots_.end()) slot->second.touched = now;
}

void UploadTable::Detach(UploadId id, bool drop, Instant now) {
  Slot gone;
  const std::lock_guard lock(mutex_);
  const auto slot = slots_.find(id);
  if (slot == slots_.end()) return;
  slot->second.streaming = false;
  slot->second.end_stream = nullptr;
  slot->second.touched = now;
  if (!drop) return;
  by_client_.erase(slot->second.upload->manifest().key.client_id);
  gone = std::move(slot->second);
  slots_.erase(slot);
}

void UploadTable::CloseBefore(std::uint32_t round, std::uint32_t attempt) {
  DropIf(
      [&](const Slot& slot) {
        const TaskKey& key = slot.upload->manifest().key;
        return key.round != round || key.attempt != attempt;
      },
      FailedPrecondition("upload: its round is closed (the update is not wanted any more)"));
}

void UploadTable::DropSilent(Instant now) {
  DropIf([&](const Slot& slot) { return now - slot.touched >= Seconds(kSilenceSeconds); },
         DeadlineExceeded("upload: no chunk for " + std::to_string(static_cast<int>(kSilenceSeconds)) +
                          " s (open it again)"));
}

template <typename Predicate>
void UploadTable::DropIf(Predicate drop, const Status& why) {
  std::vector<Slot> gone;
  {
    const std::lock_guard lock(mutex_);
    for (auto slot = slots_.begin(); slot != slots_.end();) {
      if (!drop(slot->second)) {
        ++slot;
        continue;
      }
      by_client_.erase(slot->second.upload->manifest().key.client_id);
      gone.push_back(std::move(slot->second));
      slot = slots_.erase(slot);
    }
  }
  for (Slot& slot : gone) {
    if (slot.end_stream) slot.end_stream(why);
  }
}

}  // namespace fedpeft::server
