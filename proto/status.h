// Status ↔ grpc::Status, the one place where the two meet. Codes are numbered alike.
#pragma once

#include <grpcpp/support/status.h>

#include "peft/core/status.h"

namespace fedpeft {

grpc::Status ToGrpc(const Status& status);
Status FromGrpc(const grpc::Status& status);

}  // namespace fedpeft
