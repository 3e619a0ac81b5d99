// The families of bases as functions from an opened folder to a model; load.cc chooses by model_type. Each is a file of
// its own, mostly names; what they share is encoder.h and decoder.h.
#pragma once

#include <memory>

#include "peft/core/status.h"
#include "peft/model/decoder.h"
#include "peft/model/encoder.h"

namespace fedpeft {

/// Devlin et al. 2018.
Result<std::shared_ptr<const BaseModel>> MakeBert(const BaseConfig& config, WeightReader& weights);
/// Liu et al. 2019.
Result<std::shared_ptr<const BaseModel>> MakeRoberta(const BaseConfig& config, WeightReader& weights);
/// Sanh et al. 2019.
Result<std::shared_ptr<const BaseModel>> MakeDistilBert(const BaseConfig& config, WeightReader& weights);
/// Radford et al. 2019.
Result<std::shared_ptr<const BaseModel>> MakeGpt2(const BaseConfig& config, WeightReader& weights);
/// Touvron et al. 2023; and Mistral, Qwen2 and Qwen3, whose differences are in the settings.
Result<std::shared_ptr<const BaseModel>> MakeLlama(const BaseConfig& config, WeightReader& weights);

}  // namespace fedpeft
