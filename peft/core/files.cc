#include "peft/core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace fedpeft {

namespace {

/// A file descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Status WriteAll(int fd, ByteSpan content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t wrote = ::write(fd, content.data(), content.size());
    if (wrote < 0) {
      if (errno == EINTR) continue;
      return FromErrno(path, errno);
    }
    content = content.subspan(static_cast<std::size_t>(wrote));
  }
  return OkStatus();
}

}  // namespace

Result<std::string> ReadFile(const std::string& path, std::uint64_t max_bytes) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return FromErrno(path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return FromErrno(path, errno);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + ": not a regular file");
  if (static_cast<std::uint64_t>(info.st_size) > max_bytes) {
    return ResourceExhausted(path + ": has " + std::to_string(info.st_size) + " bytes, want at most " +
                             std::to_string(max_bytes));
  }
  std::string content(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t at = 0;
  while (at < content.size()) {
    const ssize_t got = ::read(fd.get(), content.data() + at, content.size() - at);
    if (got < 0) {
      if (errno == EINTR) continue;
      return FromErrno(path, errno);
    }
    if (got == 0) break;
    at += static_cast<std::size_t>(got);
  }
  content.resize(at);
  return content;
}

namespace {

enum class Survives { kProcessDeath, kPowerCut };

Status WriteAndRename(const std::string& path, std::span<const ByteSpan> pieces, Survives survives) {
  const std::string temporary = path + ".tmp";
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (fd.get() < 0) return FromErrno(temporary, errno);
    for (const ByteSpan piece : pieces) RETURN_IF_ERROR(WriteAll(fd.get(), piece, temporary));
    if (survives == Survives::kPowerCut && ::fsync(fd.get()) != 0) return FromErrno(temporary, errno);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return FromErrno(path, errno);
  if (survives == Survives::kProcessDeath) return OkStatus();
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return SyncFolder(folder.empty() ? "." : folder);
}

}  // namespace

Status WriteFileAtomically(const std::string& path, ByteSpan content) {
  return WriteFileAtomically(path, std::span<const ByteSpan>(&content, 1));
}

Status WriteFileAtomically(const std::string& path, std::span<const ByteSpan> pieces) {
  return WriteAndRename(path, pieces, Survives::kPowerCut);
}

Status ReplaceFile(const std::string& path, std::span<const ByteSpan> pieces) {
  return WriteAndRename(path, pieces, Survives::kProcessDeath);
}

Status SyncFolder(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return FromErrno(path, errno);
  return OkStatus();
}

Status MakeFolders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  return error ? FromErrno(path, error.value()) : OkStatus();
}

Result<std::vector<std::string>> ListFolder(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return FromErrno(path, error.value());
  std::sort(names.begin(), names.end());
  return names;
}

bool PathExists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

bool IsFolder(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string JoinPath(std::string_view a, std::string_view b) {
  if (a.empty()) return std::string(b);
  std::string out(a);
  if (out.back() != '/') out.push_back('/');
  return out.append(b);
}

std::string_view BaseName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return FromErrno(path, errno);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return FromErrno(path, errno);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + ": not a regular file");
  MappedFile file;
  file.size_ = static_cast<std::size_t>(info.st_size);
  if (file.size_ > 0) {
    void* data = ::mmap(nullptr, file.size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return FromErrno(path, errno);
    file.data_ = static_cast<const std::uint8_t*>(data);
  }
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::uint8_t*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Result<FolderLock> FolderLock::Take(const std::string& folder) {
  const std::string path = JoinPath(folder, "lock");
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return FromErrno(path, errno);
  FolderLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FromErrno(path, errno);
    return FailedPrecondition(folder + ": is in use by another process (stop it, or choose another --state folder)");
  }
  return lock;
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FolderLock& FolderLock::operator=(FolderLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace fedpeft
