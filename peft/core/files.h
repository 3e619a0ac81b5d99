// Whole-file reads with a limit, durable atomic writes, read-only maps, temporary folders, folder locks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "peft/core/bytes.h"
#include "peft/core/status.h"

namespace fedpeft {

/// Reads a whole file. Errors: kNotFound; kResourceExhausted when it is larger than `max_bytes`.
Result<std::string> ReadFile(const std::string& path, std::uint64_t max_bytes);

/// Writes a sibling temporary file, syncs it, renames it over `path` and syncs the folder: after a crash the old or the
/// new content is there, never a mixture.
Status WriteFileAtomically(const std::string& path, ByteSpan content);
/// The same for content in pieces (a header, then buffers that live elsewhere), written one after the other.
Status WriteFileAtomically(const std::string& path, std::span<const ByteSpan> pieces);
/// The same without syncing: whole after the death of a process, not after a power cut. For what can be made again.
Status ReplaceFile(const std::string& path, std::span<const ByteSpan> pieces);

/// Creates the folder and its parents (mode 0755). Not an error when it exists.
Status MakeFolders(const std::string& path);
Result<std::vector<std::string>> ListFolder(const std::string& path);
bool PathExists(const std::string& path);
bool IsFolder(const std::string& path);
/// `a/b`; `b` alone when `a` is empty.
std::string JoinPath(std::string_view a, std::string_view b);
/// The part after the last '/'.
std::string_view BaseName(std::string_view path);
/// fsync of a folder, so that renames in it survive a power cut.
Status SyncFolder(const std::string& path);

/// A read-only private map of a local file. For files the operator owns (the base model): truncation by somebody else
/// while mapped would be a SIGBUS.
class MappedFile {
 public:
  static Result<MappedFile> Open(const std::string& path);
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ByteSpan bytes() const { return {data_, size_}; }

 private:
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

/// An exclusive flock on `folder/lock`, released at destruction or process death.
class FolderLock {
 public:
  /// Errors: kFailedPrecondition when another process holds it.
  static Result<FolderLock> Take(const std::string& folder);
  ~FolderLock();
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&& other) noexcept;

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace fedpeft
