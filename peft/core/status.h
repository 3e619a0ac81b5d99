// Status and Result<T>: how every failure that the outside can cause is reported. Errors of our own logic are not
// Statuses: they CHECK-fail (check.h). Nothing of ours throws.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "peft/core/check.h"

namespace fedpeft {

/// Numbered as gRPC's codes, so that a Status crosses the wire without a table.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

/// The code's gRPC name, `INVALID_ARGUMENT`.
std::string_view CodeName(Code code);

/// A code and, unless it is kOk, a message of the form `thing: got X, want Y (what to do)`.
class [[nodiscard]] Status {
 public:
  Status() = default;
  /// Pre: `code` is not kOk and `message` is not empty.
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {
    FEDPEFT_CHECK(code_ != Code::kOk && !message_.empty());
  }

  bool ok() const { return code_ == Code::kOk; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }
  /// `INVALID_ARGUMENT: message`, or `OK`.
  std::string ToString() const;
  /// The same failure with `prefix: ` before its message; names the file, tensor or client on the way up.
  Status Annotate(std::string_view prefix) const;

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

inline Status OkStatus() {
  return {};
}
Status InvalidArgument(std::string message);
Status NotFound(std::string message);
Status FailedPrecondition(std::string message);
Status ResourceExhausted(std::string message);
Status OutOfRange(std::string message);
Status Unimplemented(std::string message);
Status Internal(std::string message);
Status Unavailable(std::string message);
Status DataLoss(std::string message);
Status PermissionDenied(std::string message);
Status DeadlineExceeded(std::string message);
Status Cancelled(std::string message);
/// From errno: `path: what: strerror`; ENOENT is kNotFound, EACCES kPermissionDenied, the rest kUnavailable.
Status FromErrno(std::string_view what, int error);

/// A value, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  using Value = T;
  Result(T value) : value_(std::move(value)) {}         // NOLINT: conversion is the point
  Result(Status status) : status_(std::move(status)) {  // NOLINT
    FEDPEFT_CHECK(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const& { return status_; }
  Status status() && { return std::move(status_); }

  /// Pre: ok().
  T& operator*() & { return Get(); }
  const T& operator*() const& { return const_cast<Result*>(this)->Get(); }
  T&& operator*() && { return std::move(Get()); }
  T* operator->() { return &Get(); }
  const T* operator->() const { return &const_cast<Result*>(this)->Get(); }
  T&& value() && { return std::move(Get()); }
  T& value() & { return Get(); }
  const T& value() const& { return const_cast<Result*>(this)->Get(); }

 private:
  T& Get() {
    FEDPEFT_CHECK(value_.has_value());
    return *value_;
  }
  Status status_;
  std::optional<T> value_;
};

namespace internal {
inline Status AsStatus(Status status) {
  return status;
}
template <typename T>
Status AsStatus(Result<T>&& result) {
  return std::move(result).status();
}
}  // namespace internal

}  // namespace fedpeft

#define FEDPEFT_CONCAT_(a, b) a##b
#define FEDPEFT_CONCAT(a, b) FEDPEFT_CONCAT_(a, b)

/// Returns from the function with the failure, if any, of a Status expression.
#define RETURN_IF_ERROR(expr)                                \
  do {                                                       \
    if (::fedpeft::Status status_ = (expr); !status_.ok()) { \
      return status_;                                        \
    }                                                        \
  } while (false)

/// `ASSIGN_OR_RETURN(auto x, MakeX());` unwraps a Result or returns its Status.
#define ASSIGN_OR_RETURN(lhs, expr) ASSIGN_OR_RETURN_(FEDPEFT_CONCAT(result_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_(result, lhs, expr)           \
  auto result = (expr);                                \
  if (!result.ok()) return std::move(result).status(); \
  lhs = std::move(result).value()
