#include "proto/status.h"

namespace fedpeft {

grpc::Status ToGrpc(const Status& status) {
  return status.ok() ? grpc::Status::OK : grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message());
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return OkStatus();
  const int code = static_cast<int>(status.error_code());
  const bool known = code >= 1 && code <= 16;
  std::string message = status.error_message();
  if (message.empty()) message = "no message";
  return {known ? static_cast<Code>(code) : Code::kUnknown, std::move(message)};
}

}  // namespace fedpeft
