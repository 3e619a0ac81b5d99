#include "client/compute.h"

#include <algorithm>
#include <thread>

#include "peft/core/clock.h"
#include "peft/core/log.h"

namespace fedpeft::client {

void UseThreads(int threads) {
  const int chosen = threads > 0 ? threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  SetTrainingThreads(chosen);
  LogInfo("training.threads", {{"threads", chosen}});
}

Result<std::shared_ptr<const BaseModel>> LoadBaseAs(const BaseInfo& base, BaseDtype dtype) {
  const Instant start = Clock::System().Now();
  ASSIGN_OR_RETURN(auto model, LoadBaseModel(base.folder, dtype));
  LogInfo("base.loaded", {{"folder", base.folder},
                          {"dtype", dtype == BaseDtype::kBfloat16 ? "bfloat16" : "float32"},
                          {"seconds", ToSeconds(Clock::System().Now() - start)}});
  return model;
}

Result<std::shared_ptr<const BaseModel>> LoadRunBase(const BaseInfo& base, const RunSpec& run) {
  const bool half = run.train.base_dtype == TrainSpec::BaseDtype::kBfloat16;
  return LoadBaseAs(base, half ? BaseDtype::kBfloat16 : BaseDtype::kFloat32);
}

}  // namespace fedpeft::client
