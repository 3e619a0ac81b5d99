// Spool: where uploads too large for memory wait, in files that are written again and again instead of being made and
// deleted; and the window, which bounds the bytes of all uploads that are anywhere in the process.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/status.h"

namespace fedpeft::server {

/// A budget of bytes. Threads: any.
class ByteWindow : public std::enable_shared_from_this<ByteWindow> {
 public:
  /// Gives its bytes back when it goes.
  class Share {
   public:
    Share() = default;
    Share(std::shared_ptr<ByteWindow> window, std::uint64_t bytes) : window_(std::move(window)), bytes_(bytes) {}
    Share(Share&& other) noexcept = default;
    Share& operator=(Share&& other) noexcept;
    ~Share();
    explicit operator bool() const { return window_ != nullptr; }

   private:
    std::shared_ptr<ByteWindow> window_;
    std::uint64_t bytes_ = 0;
  };

  explicit ByteWindow(std::uint64_t limit) : limit_(limit) {}
  /// An empty share when there is no room now. Something larger than the whole window is let in when it is alone.
  Share TryTake(std::uint64_t bytes);
  std::uint64_t used() const;

 private:
  const std::uint64_t limit_;
  mutable std::mutex mutex_;
  std::uint64_t used_ = 0;  // guarded by mutex_
};

/// Threads: any; one File belongs to one thread at a time.
class Spool : public std::enable_shared_from_this<Spool> {
 public:
  /// An open file, given back for reuse when it goes.
  class File {
   public:
    File(std::shared_ptr<Spool> spool, int fd) : spool_(std::move(spool)), fd_(fd) {}
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    Status Write(std::uint64_t offset, ByteSpan bytes);
    Status Read(std::uint64_t offset, MutableByteSpan out) const;

   private:
    std::shared_ptr<Spool> spool_;
    int fd_;
  };

  /// Makes the folder, or empties it of what an earlier process left.
  static Result<std::shared_ptr<Spool>> Open(const std::string& folder);
  explicit Spool(std::string folder) : folder_(std::move(folder)) {}
  ~Spool();

  Result<std::unique_ptr<File>> Take();

 private:
  /// Files kept open for reuse at most.
  static constexpr std::size_t kMaxFree = 64;

  const std::string folder_;
  std::mutex mutex_;
  std::vector<int> free_;   // guarded by mutex_
  std::uint64_t made_ = 0;  // guarded by mutex_
};

}  // namespace fedpeft::server
