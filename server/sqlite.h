// SQLite behind two small owners: a connection and a prepared statement. What the store needs and no more; sqlite3.h
// stays in the source file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "peft/core/bytes.h"
#include "peft/core/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace fedpeft::server {

/// A prepared statement. Parameters are bound in order from 1, columns read in order from 0.
class Statement {
 public:
  Statement& Bind(std::int64_t value);
  Statement& Bind(std::uint64_t value) { return Bind(static_cast<std::int64_t>(value)); }
  Statement& Bind(std::uint32_t value) { return Bind(static_cast<std::int64_t>(value)); }
  Statement& Bind(bool value) { return Bind(std::int64_t{value}); }
  Statement& Bind(double value);
  Statement& Bind(std::string_view text);
  Statement& Bind(const std::string& text) { return Bind(std::string_view(text)); }
  Statement& Bind(const char* text) { return Bind(std::string_view(text)); }
  Statement& Bind(ByteSpan blob);
  Statement& BindNull();
  template <typename T>
  Statement& Bind(const std::optional<T>& value) {
    return value ? Bind(*value) : BindNull();
  }

  /// True: a row is there to be read. False: done, and the statement is ready to be bound again.
  Result<bool> Step();
  /// For a statement without rows.
  Status Run();

  bool IsNull(int column) const;
  std::int64_t Int(int column) const;
  std::uint64_t Uint(int column) const { return static_cast<std::uint64_t>(Int(column)); }
  std::uint32_t Uint32(int column) const { return static_cast<std::uint32_t>(Int(column)); }
  double Real(int column) const;
  std::string Text(int column) const;
  /// Valid until the next Step.
  ByteSpan Blob(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Status Failure() const;

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int next_ = 1;
  int error_ = 0;
};

/// One connection, for one thread at a time.
class Database {
 public:
  /// Creates the file when it is missing; WAL, synchronous=FULL, foreign keys.
  static Result<Database> OpenForWriting(const std::string& path);
  /// Errors: kNotFound when there is no such file.
  static Result<Database> OpenForReading(const std::string& path);

  /// One or more statements without parameters or rows.
  Status Execute(const char* sql);
  Result<Statement> Prepare(std::string_view sql);

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  static Result<Database> Open(const std::string& path, int flags);
  Status Failure(std::string_view what) const;

  std::string path_;
  std::unique_ptr<sqlite3, Close> connection_;
};

/// A transaction that is rolled back unless it was committed.
class Transaction {
 public:
  static Result<Transaction> Begin(Database& database);
  ~Transaction();
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  Status Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace fedpeft::server
