#include "client/compute.h"

#include <algorithm>
#include <thread>

#include "peft/core/clock.h"
#include "peft/core/log.h"
#include "peft/model/fastest.h"

namespace fedpeft::client {

void UseThreads(int threads) {
  const int chosen = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SetTrainingThreads(chosen);
  LogInfo("training.threads", {{"threads", chosen}});
}

Result<std::shared_ptr<const BaseModel>> LoadBaseAs(const BaseInfo& base, BaseDtype dtype) {
  const Instant start = Clock::System().Now();
  ASSIGN_OR_RETURN(auto model, LoadBaseModel(base.folder, dtype));
  LogInfo("base.loaded",
          {{"folder", base.folder}, {"dtype", NameOf(dtype)}, {"seconds", ToSeconds(Clock::System().Now() - start)}});
  return model;
}

BaseDtype DtypeOf(const RunSpec& run) {
  switch (run.train.base_dtype) {
    case TrainSpec::BaseDtype::kFloat32:
      return BaseDtype::kFloat32;
    case TrainSpec::BaseDtype::kBfloat16:
      return BaseDtype::kBfloat16;
    case TrainSpec::BaseDtype::kInt8:
      return BaseDtype::kInt8;
    case TrainSpec::BaseDtype::kAuto:
      break;
  }
  const DtypeTimes times = MeasureDtypes(run.plan.base);
  const BaseDtype fastest = times.Fastest();
  LogInfo("base_dtype.measured", {{"fastest", NameOf(fastest)},
                                  {"float32_ms", times.float32 * 1e3},
                                  {"bfloat16_ms", times.bfloat16 * 1e3},
                                  {"int8_ms", times.int8 * 1e3}});
  return fastest;
}

Result<std::shared_ptr<const BaseModel>> LoadRunBase(const BaseInfo& base, const RunSpec& run) {
  return LoadBaseAs(base, DtypeOf(run));
}

}  // namespace fedpeft::client
