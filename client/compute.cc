#include "client/compute.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "peft/core/check.h"
#include "peft/core/clock.h"
#include "peft/core/log.h"
#include "peft/kernels/attention.h"
#include "peft/model/fastest.h"

namespace fedpeft::client {

static_assert(static_cast<int>(TrainSpec::BaseDtype::kFloat32) == static_cast<int>(BaseDtype::kFloat32));
static_assert(static_cast<int>(TrainSpec::BaseDtype::kBfloat16) == static_cast<int>(BaseDtype::kBfloat16));
static_assert(static_cast<int>(TrainSpec::BaseDtype::kInt8) == static_cast<int>(BaseDtype::kInt8));

namespace {

void LogLoaded(const BaseInfo& base, BaseDtype dtype, Instant start) {
  LogInfo("base.loaded",
          {{"folder", base.folder}, {"dtype", NameOf(dtype)}, {"seconds", ToSeconds(Clock::System().Now() - start)}});
}

}  // namespace

void UseThreads(int threads) {
  const int chosen = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SetTrainingThreads(chosen);
  LogInfo("training.threads", {{"threads", chosen}, {"instructions", AttentionKernelsOfProcessor().front().name}});
}

Result<std::shared_ptr<const BaseModel>> LoadBaseAs(const BaseInfo& base, BaseDtype dtype) {
  const Instant start = Clock::System().Now();
  ASSIGN_OR_RETURN(auto model, LoadBaseModel(base.folder, dtype));
  LogLoaded(base, dtype, start);
  return model;
}

Result<std::shared_ptr<const BaseModel>> LoadRunBase(const BaseInfo& base, RunSpec& run) {
  TrainSpec::BaseDtype& dtype = run.train.base_dtype;
  if (dtype != TrainSpec::BaseDtype::kAuto) return LoadBaseAs(base, static_cast<BaseDtype>(dtype));
  const Instant start = Clock::System().Now();
  ASSIGN_OR_RETURN(FastestBase fastest, LoadFastestBase(base.folder));
  dtype = static_cast<TrainSpec::BaseDtype>(fastest.dtype);
  LogInfo("base_dtype.measured", {{"float32_ms", fastest.times.float32 * 1e3},
                                  {"bfloat16_ms", fastest.times.bfloat16 * 1e3},
                                  {"int8_ms", fastest.times.int8 * 1e3},
                                  {"int8_error", fastest.times.int8_error}});
  LogLoaded(base, fastest.dtype, start);
  return std::move(fastest.model);
}

BaseDtype DtypeOf(const RunSpec& run) {
  FEDPEFT_CHECK(run.train.base_dtype != TrainSpec::BaseDtype::kAuto);
  return static_cast<BaseDtype>(run.train.base_dtype);
}

}  // namespace fedpeft::client
