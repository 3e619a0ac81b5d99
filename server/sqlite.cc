#include "server/sqlite.h"

#include <sqlite3.h>

#include "peft/core/files.h"

namespace fedpeft::server {
namespace {

/// A reader's checkpoint or a backup may hold the file for a moment.
constexpr int kBusyTimeoutMs = 5000;

Status FromSqlite(std::string_view what, int code, const char* message) {
  std::string text = std::string(what) + ": " + message;
  switch (code & 0xff) {
    case SQLITE_FULL:
      return ResourceExhausted(std::move(text));
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return DataLoss(std::move(text));
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return PermissionDenied(std::move(text));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
      return Unavailable(std::move(text));
    default:
      return Internal(std::move(text));
  }
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}
void Database::Close::operator()(sqlite3* connection) const {
  sqlite3_close_v2(connection);
}

Statement& Statement::Bind(std::int64_t value) {
  error_ |= sqlite3_bind_int64(statement_.get(), next_++, value);
  return *this;
}
Statement& Statement::Bind(double value) {
  error_ |= sqlite3_bind_double(statement_.get(), next_++, value);
  return *this;
}
Statement& Statement::Bind(std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.empty() ? "" : text.data();
  error_ |= sqlite3_bind_text64(statement_.get(), next_++, data, text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}
Statement& Statement::Bind(ByteSpan blob) {
  error_ |= sqlite3_bind_blob64(statement_.get(), next_++, blob.data(), blob.size(), SQLITE_TRANSIENT);
  return *this;
}
Statement& Statement::BindNull() {
  error_ |= sqlite3_bind_null(statement_.get(), next_++);
  return *this;
}

Result<bool> Statement::Step() {
  if (error_ != SQLITE_OK) return Failure();
  next_ = 1;
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement_.get());
    return false;
  }
  Status failure = Failure();
  sqlite3_reset(statement_.get());
  return failure;
}

Status Statement::Run() {
  ASSIGN_OR_RETURN(const bool row, Step());
  FEDPEFT_CHECK(!row);
  return OkStatus();
}

Status Statement::Failure() const {
  sqlite3* connection = sqlite3_db_handle(statement_.get());
  const int code = sqlite3_extended_errcode(connection);
  return FromSqlite(sqlite3_sql(statement_.get()), code, sqlite3_errmsg(connection));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}
std::int64_t Statement::Int(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}
double Statement::Real(int column) const {
  return sqlite3_column_double(statement_.get(), column);
}
std::string Statement::Text(int column) const {
  return std::string(AsText(Blob(column)));
}
ByteSpan Statement::Blob(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  return {static_cast<const std::uint8_t*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<Database> Database::Open(const std::string& path, int flags) {
  Database database;
  database.path_ = path;
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  database.connection_.reset(connection);
  if (code != SQLITE_OK) return FromSqlite(path, code, sqlite3_errstr(code));
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, kBusyTimeoutMs);
  return database;
}

Result<Database> Database::OpenForWriting(const std::string& path) {
  ASSIGN_OR_RETURN(Database database, Open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
  ASSIGN_OR_RETURN(Statement wal, database.Prepare("PRAGMA journal_mode=WAL"));
  ASSIGN_OR_RETURN(const bool row, wal.Step());
  if (!row || wal.Text(0) != "wal") {
    return FailedPrecondition(path + ": write-ahead logging is not possible here (use a local file system)");
  }
  RETURN_IF_ERROR(database.Execute("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"));
  return database;
}

Result<Database> Database::OpenForReading(const std::string& path) {
  if (!PathExists(path)) return NotFound(path + ": no such file (is this a coordinator's state folder?)");
  return Open(path, SQLITE_OPEN_READONLY);
}

Status Database::Execute(const char* sql) {
  if (sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return OkStatus();
  return Failure(sql);
}

Result<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(connection_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return Failure(sql);
  return Statement(statement);
}

Status Database::Failure(std::string_view what) const {
  return FromSqlite(path_ + ": " + std::string(what), sqlite3_extended_errcode(connection_.get()),
                    sqlite3_errmsg(connection_.get()));
}

Result<Transaction> Transaction::Begin(Database& database) {
  RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  // The failure that led here has been reported; a rollback that fails too leaves nothing to do but close.
  static_cast<void>(database_->Execute("ROLLBACK"));
}

Status Transaction::Commit() {
  RETURN_IF_ERROR(database_->Execute("COMMIT"));
  database_ = nullptr;
  return OkStatus();
}

}  // namespace fedpeft::server
