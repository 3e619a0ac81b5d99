#include "client/update_store.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "client/ledger.h"

namespace fedpeft::client {

namespace {

constexpr std::string_view kUpdatePrefix = "update-";
constexpr std::uint64_t kMaxRecordBytes = std::uint64_t{16} << 20;
constexpr std::uint64_t kMaxUpdateBytes = std::uint64_t{1} << 40;

/// File: one line of JSON that says what follows, then the payload, then the client's own tensors.
std::string HeaderLine(const std::string& run_id, const std::string& client, const KeptUpdate& update) {
  nlohmann::json header = {{"run", run_id},
                           {"client", client},
                           {"round", update.round},
                           {"base", Hex(update.base)},
                           {"layout", Hex(update.layout)},
                           {"payload", Hex(Sha256Of(update.payload))},
                           {"payload_bytes", update.payload.size()},
                           {"personal", Hex(Sha256Of(update.personal))},
                           {"examples", update.stats.examples},
                           {"steps", update.stats.steps},
                           {"tokens", update.stats.tokens},
                           {"loss", update.stats.loss},
                           {"seconds", update.stats.seconds}};
  return header.dump() + "\n";
}

template <typename T>
T Field(const nlohmann::json& header, const char* key) {
  const auto found = header.find(key);
  if constexpr (std::is_same_v<T, std::string>) {
    return found != header.end() && found->is_string() ? found->get<std::string>() : std::string();
  } else {
    return found != header.end() && found->is_number() ? found->get<T>() : T{};
  }
}

Result<std::string> RandomSuffix() {
  std::array<std::uint8_t, 4> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) return Internal("OpenSSL: no random bytes");
  return Hex(ByteSpan(bytes));
}

}  // namespace

UpdateStore::UpdateStore(std::string folder, bool temporary, FolderLock lock)
    : folder_(std::move(folder)), temporary_(temporary), lock_(std::move(lock)) {}

UpdateStore::UpdateStore(UpdateStore&& other) noexcept
    : folder_(std::move(other.folder_)),
      temporary_(std::exchange(other.temporary_, false)),
      lock_(std::move(other.lock_)) {}

UpdateStore::~UpdateStore() {
  if (!temporary_) return;
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Result<UpdateStore> UpdateStore::Open(const std::string& folder) {
  std::string path = folder;
  if (path.empty()) {
    path = (std::filesystem::temp_directory_path() / "fedpeft-client-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) return FromErrno(path, errno);
  } else {
    RETURN_IF_ERROR(MakeFolders(path));
  }
  ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(path));
  return UpdateStore(std::move(path), folder.empty(), std::move(lock));
}

Result<std::string> UpdateStore::Name(const std::string& wanted) {
  const std::string path = JoinPath(folder_, "name");
  std::string name = wanted.empty() ? KnownName() : wanted;
  if (name.empty()) {
    ASSIGN_OR_RETURN(const std::string suffix, RandomSuffix());
    name = "client-" + suffix;
  }
  RETURN_IF_ERROR(WriteFileAtomically(path, AsBytes(std::string_view(name))));
  return name;
}

std::string UpdateStore::KnownName() const {
  const Result<std::string> kept = ReadFile(JoinPath(folder_, "name"), 256);
  return kept.ok() ? *kept : "";
}

Status CheckRunId(const std::string& id) {
  const auto plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); };
  if (!id.empty() && id.size() <= 64 && std::ranges::all_of(id, plain)) return OkStatus();
  return DataLoss("coordinator: the id of its run is none: want 1 to 64 digits and lower-case letters");
}

std::string FileNameOf(const std::string& client) {
  std::string name = client;
  std::replace(name.begin(), name.end(), '/', '+');
  return name;
}

std::string UpdateStore::PathOf(const std::string& client) const {
  return JoinPath(folder_, std::string(kUpdatePrefix) + FileNameOf(client));
}

Status UpdateStore::Keep(const std::string& run_id, const std::string& client, const KeptUpdate& update) {
  const std::string header = HeaderLine(run_id, client, update);
  const std::array<ByteSpan, 3> pieces = {AsBytes(std::string_view(header)), ByteSpan(update.payload),
                                          ByteSpan(update.personal)};
  return ReplaceFile(PathOf(client), pieces);
}

namespace {

/// A kept file taken apart, its pieces not yet compared with their hashes.
struct KeptFile {
  std::string content;
  nlohmann::json header;
  /// Where the payload begins, and its bytes; the client's own tensors are the rest.
  std::size_t begin = 0, length = 0;

  ByteSpan payload() const { return AsBytes(std::string_view(content).substr(begin, length)); }
  ByteSpan personal() const { return AsBytes(std::string_view(content).substr(begin + length)); }
};

Result<KeptFile> ReadKept(const std::string& path) {
  KeptFile file;
  ASSIGN_OR_RETURN(file.content, ReadFile(path, kMaxUpdateBytes));
  const std::size_t line = file.content.find('\n');
  file.header = nlohmann::json::parse(file.content.substr(0, line), nullptr, /*allow_exceptions=*/false);
  if (line == std::string::npos || !file.header.is_object()) return DataLoss(path + ": begins with no header");
  file.begin = line + 1;
  file.length = Field<std::uint64_t>(file.header, "payload_bytes");
  if (file.length > file.content.size() - file.begin) return DataLoss(path + ": ends within the update");
  return file;
}

bool IsOf(const KeptFile& file, const std::string& run_id, const std::string& client) {
  return Field<std::string>(file.header, "run") == run_id && Field<std::string>(file.header, "client") == client;
}

bool IsWhole(const KeptFile& file, const char* key, ByteSpan bytes) {
  return Field<std::string>(file.header, key) == Hex(Sha256Of(bytes));
}

}  // namespace

std::optional<KeptUpdate> UpdateStore::Find(const std::string& run_id, const std::string& client, std::uint32_t round,
                                            const Digest& base) const {
  const Result<KeptFile> file = ReadKept(PathOf(client));
  if (!file.ok() || !IsOf(*file, run_id, client)) return std::nullopt;
  const nlohmann::json& header = file->header;
  if (Field<std::uint32_t>(header, "round") != round || Field<std::string>(header, "base") != Hex(base)) {
    return std::nullopt;
  }
  const std::optional<Digest> layout = DigestFromHex(Field<std::string>(header, "layout"));
  if (!layout || !IsWhole(*file, "payload", file->payload()) || !IsWhole(*file, "personal", file->personal())) {
    return std::nullopt;
  }
  KeptUpdate update{round,
                    base,
                    *layout,
                    {},
                    Bytes(file->payload().begin(), file->payload().end()),
                    Bytes(file->personal().begin(), file->personal().end())};
  update.stats.examples = Field<std::int64_t>(header, "examples");
  update.stats.steps = Field<std::int64_t>(header, "steps");
  update.stats.tokens = Field<std::int64_t>(header, "tokens");
  update.stats.loss = Field<double>(header, "loss");
  update.stats.seconds = Field<double>(header, "seconds");
  return update;
}

Result<Bytes> UpdateStore::Personal(const std::string& run_id, const std::string& client) const {
  const std::string path = PathOf(client);
  const Result<KeptFile> file = ReadKept(path);
  if (file.status().code() == Code::kNotFound) return Bytes();
  if (!file.ok()) return file.status();
  if (!IsOf(*file, run_id, client)) return Bytes();
  if (!IsWhole(*file, "personal", file->personal()))
    return DataLoss(path + ": its own tensors are not those of its hash");
  return Bytes(file->personal().begin(), file->personal().end());
}

std::string UpdateStore::RecordPathOf(const std::string& what, const std::string& client) const {
  return JoinPath(folder_, what + "-" + FileNameOf(client));
}

namespace {

/// By run, the last round in which the client did what the file records. Errors: UpdateStore::IsUnmasked's.
Result<nlohmann::json> ReadRecord(const std::string& path) {
  const Result<std::string> text = ReadFile(path, kMaxRecordBytes);
  if (text.status().code() == Code::kNotFound) return nlohmann::json::object();
  if (!text.ok()) return text.status();
  nlohmann::json rounds = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!rounds.is_object()) return DataLoss(path + ": is not what this program writes");
  return rounds;
}

Result<std::uint32_t> LastRound(const std::string& path, const std::string& run_id) {
  ASSIGN_OR_RETURN(const nlohmann::json rounds, ReadRecord(path));
  return Field<std::uint32_t>(rounds, run_id.c_str());
}

Status MarkRound(const std::string& path, const std::string& run_id, std::uint32_t round) {
  ASSIGN_OR_RETURN(nlohmann::json rounds, ReadRecord(path));
  rounds[run_id] = std::max(round, Field<std::uint32_t>(rounds, run_id.c_str()));
  return WriteFileAtomically(path, AsBytes(rounds.dump()));
}

}  // namespace

Status UpdateStore::MarkUnmasked(const std::string& run_id, const std::string& client, std::uint32_t round) {
  return MarkRound(RecordPathOf("unmasked", client), run_id, round);
}

Result<bool> UpdateStore::IsUnmasked(const std::string& run_id, const std::string& client, std::uint32_t round) const {
  ASSIGN_OR_RETURN(const std::uint32_t last, LastRound(RecordPathOf("unmasked", client), run_id));
  return round <= last;
}

Status UpdateStore::MarkSent(const std::string& run_id, const std::string& client, std::uint32_t round) {
  return MarkRound(RecordPathOf("sent", client), run_id, round);
}

Result<std::uint32_t> UpdateStore::LastSent(const std::string& run_id, const std::string& client) const {
  return LastRound(RecordPathOf("sent", client), run_id);
}

std::string UpdateStore::LedgerPath(const std::string& client) const {
  return LedgerPathIn(folder_, FileNameOf(client));
}

void UpdateStore::Clear() {
  const Result<std::vector<std::string>> names = ListFolder(folder_);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    std::error_code ignored;
    if (name.starts_with(kUpdatePrefix)) std::filesystem::remove(JoinPath(folder_, name), ignored);
  }
}

}  // namespace fedpeft::client
