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

/// Where the run leaves the base's number format open, the one that is fastest with the threads that there are,
/// measured now, becomes the run's; int8 only of a base that is near enough to what it is in float32 (Int8Error).
/// Errors: those of loading the base.
Status ResolveDtype(const BaseInfo& base, RunSpec& run);

/// The run's number format. Pre: ResolveDtype.
BaseDtype DtypeOf(const RunSpec& run);

/// The base in that format.
Result<std::shared_ptr<const BaseModel>> LoadRunBase(const BaseInfo& base, const RunSpec& run);

}  // namespace fedpeft::client
