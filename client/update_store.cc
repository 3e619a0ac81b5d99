#include "client/update_store.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

namespace fedpeft::client {

namespace {

constexpr std::string_view kUpdatePrefix = "update-";
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
  std::string name = wanted;
  if (name.empty()) {
    Result<std::string> kept = ReadFile(path, 256);
    if (kept.ok() && !kept->empty()) return kept;
    ASSIGN_OR_RETURN(const std::string suffix, RandomSuffix());
    name = "client-" + suffix;
  }
  RETURN_IF_ERROR(WriteFileAtomically(path, AsBytes(std::string_view(name))));
  return name;
}

std::string UpdateStore::PathOf(const std::string& client) const {
  std::string name = client;
  std::replace(name.begin(), name.end(), '/', '+');  // '+' cannot be in a client's name
  return JoinPath(folder_, std::string(kUpdatePrefix) + name);
}

Status UpdateStore::Keep(const std::string& run_id, const std::string& client, const KeptUpdate& update) {
  const std::string header = HeaderLine(run_id, client, update);
  const std::array<ByteSpan, 3> pieces = {AsBytes(std::string_view(header)), ByteSpan(update.payload),
                                          ByteSpan(update.personal)};
  return ReplaceFile(PathOf(client), pieces);
}

std::optional<KeptUpdate> UpdateStore::Last(const std::string& run_id, const std::string& client) const {
  const Result<std::string> content = ReadFile(PathOf(client), kMaxUpdateBytes);
  if (!content.ok()) return std::nullopt;
  const std::size_t line = content->find('\n');
  if (line == std::string::npos) return std::nullopt;
  const auto header = nlohmann::json::parse(content->substr(0, line), nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) return std::nullopt;
  const ByteSpan rest = AsBytes(std::string_view(*content).substr(line + 1));
  const auto length = Field<std::uint64_t>(header, "payload_bytes");
  if (length > rest.size()) return std::nullopt;
  const ByteSpan payload = rest.first(length), personal = rest.subspan(length);
  const std::optional<Digest> base = DigestFromHex(Field<std::string>(header, "base"));
  const std::optional<Digest> layout = DigestFromHex(Field<std::string>(header, "layout"));
  const bool whole = base && layout && Field<std::string>(header, "run") == run_id &&
                     Field<std::string>(header, "client") == client &&
                     Field<std::string>(header, "payload") == Hex(Sha256Of(payload)) &&
                     Field<std::string>(header, "personal") == Hex(Sha256Of(personal));
  if (!whole) return std::nullopt;
  KeptUpdate update{Field<std::uint32_t>(header, "round"),  *base, *layout, {}, Bytes(payload.begin(), payload.end()),
                    Bytes(personal.begin(), personal.end())};
  update.stats.examples = Field<std::int64_t>(header, "examples");
  update.stats.steps = Field<std::int64_t>(header, "steps");
  update.stats.tokens = Field<std::int64_t>(header, "tokens");
  update.stats.loss = Field<double>(header, "loss");
  update.stats.seconds = Field<double>(header, "seconds");
  return update;
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
