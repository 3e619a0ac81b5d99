#include "client/compute.h"

#include <algorithm>
#include <limits>
#include <thread>

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

/// How far hidden states in int8 may be off, relative to their size. A base that is off by 0.09 learns as it does in
/// float32 (tests/bench/formats.py); one whose activations bytes cannot hold is off by far more than this.
constexpr double kNearEnough = 0.15;

}  // namespace

void UseThreads(int threads) {
  const int chosen = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SetTrainingThreads(chosen);
  LogInfo("training.threads", {{"threads", chosen}, {"instructions", AttentionKernelsOfProcessor().front().name}});
}

Result<std::shared_ptr<const BaseModel>> LoadBaseAs(const BaseInfo& base, BaseDtype dtype) {
  const Instant start = Clock::System().Now();
  ASSIGN_OR_RETURN(auto model, LoadBaseModel(base.folder, dtype));
  LogInfo("base.loaded",
          {{"folder", base.folder}, {"dtype", NameOf(dtype)}, {"seconds", ToSeconds(Clock::System().Now() - start)}});
  return model;
}

Status ResolveDtype(const BaseInfo& base, RunSpec& run) {
  if (run.train.base_dtype != TrainSpec::BaseDtype::kAuto) return OkStatus();
  DtypeTimes times = MeasureDtypes(run.plan.base);
  double int8_error = 0;
  if (times.Fastest() == BaseDtype::kInt8) {
    ASSIGN_OR_RETURN(const auto exact, LoadBaseModel(base.folder, BaseDtype::kFloat32));
    ASSIGN_OR_RETURN(const auto int8, LoadBaseModel(base.folder, BaseDtype::kInt8));
    int8_error = Int8Error(*exact, *int8);
    if (!(int8_error <= kNearEnough)) times.int8 = std::numeric_limits<double>::infinity();
  }
  run.train.base_dtype = static_cast<TrainSpec::BaseDtype>(times.Fastest());
  LogInfo("base_dtype.measured", {{"fastest", NameOf(times.Fastest())},
                                  {"float32_ms", times.float32 * 1e3},
                                  {"bfloat16_ms", times.bfloat16 * 1e3},
                                  {"int8_ms", times.int8 * 1e3},
                                  {"int8_error", int8_error}});
  return OkStatus();
}

BaseDtype DtypeOf(const RunSpec& run) {
  FEDPEFT_CHECK(run.train.base_dtype != TrainSpec::BaseDtype::kAuto);
  return static_cast<BaseDtype>(run.train.base_dtype);
}

Result<std::shared_ptr<const BaseModel>> LoadRunBase(const BaseInfo& base, const RunSpec& run) {
  return LoadBaseAs(base, DtypeOf(run));
}

}  // namespace fedpeft::client
