// What every computing verb does first: choose the threads, load the run's base.
#pragma once

#include <memory>

#include "client/base.h"
#include "client/trainer.h"
#include "configs/run.h"
#include "peft/model/load.h"

namespace fedpeft::client {

/// 0: one a core.
void UseThreads(int threads);

/// The base's weights in that number format.
Result<std::shared_ptr<const BaseModel>> LoadBaseAs(const BaseInfo& base, BaseDtype dtype);

/// The base in the run's number format. Where the run leaves that open, the one that is fastest with the threads that
/// there are, measured now, becomes the run's. Errors: LoadBaseModel's.
Result<std::shared_ptr<const BaseModel>> LoadRunBase(const BaseInfo& base, RunSpec& run);

/// The number format of a run whose base is loaded.
BaseDtype DtypeOf(const RunSpec& run);

}  // namespace fedpeft::client
