#include "server/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "peft/core/files.h"

namespace fedpeft::server {

ByteWindow::Share& ByteWindow::Share::operator=(Share&& other) noexcept {
  std::swap(window_, other.window_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

ByteWindow::Share::~Share() {
  if (!window_) return;
  const std::lock_guard lock(window_->mutex_);
  window_->used_ -= bytes_;
}

ByteWindow::Share ByteWindow::TryTake(std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  const bool fits = used_ <= limit_ && bytes <= limit_ - used_;
  if (!fits && used_ != 0) return {};
  used_ += bytes;
  return {shared_from_this(), bytes};
}

std::uint64_t ByteWindow::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

Result<std::shared_ptr<Spool>> Spool::Open(const std::string& folder) {
  RETURN_IF_ERROR(MakeFolders(folder));
  ASSIGN_OR_RETURN(const std::vector<std::string> names, ListFolder(folder));
  for (const std::string& name : names) {
    const std::string path = JoinPath(folder, name);
    if (::unlink(path.c_str()) != 0) return FromErrno(path + ": unlink", errno);
  }
  return std::make_shared<Spool>(folder);
}

Spool::~Spool() {
  for (int fd : free_) ::close(fd);
}

Result<std::unique_ptr<Spool::File>> Spool::Take() {
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      const int fd = free_.back();
      free_.pop_back();
      return std::make_unique<File>(shared_from_this(), fd);
    }
    path = JoinPath(folder_, "upload-" + std::to_string(++made_));
  }
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FromErrno(path + ": open", errno);
  // Without a name the file cannot outlive the process, however that ends.
  if (::unlink(path.c_str()) != 0) {
    const int error = errno;
    ::close(fd);
    return FromErrno(path + ": unlink", error);
  }
  return std::make_unique<File>(shared_from_this(), fd);
}

Spool::File::~File() {
  {
    const std::lock_guard lock(spool_->mutex_);
    if (spool_->free_.size() < kMaxFree) {
      spool_->free_.push_back(fd_);
      return;
    }
  }
  ::close(fd_);
}

Status Spool::File::Write(std::uint64_t offset, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return FromErrno(spool_->folder_ + ": write an upload (is the disk full?)", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  return OkStatus();
}

Status Spool::File::Read(std::uint64_t offset, MutableByteSpan out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FromErrno(spool_->folder_ + ": read an upload", errno);
    if (got == 0) return DataLoss(spool_->folder_ + ": an upload ends early (is the disk sound?)");
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return OkStatus();
}

}  // namespace fedpeft::server
