#include "peft/model/load.h"

#include <torch/torch.h>

#include <array>
#include <exception>
#include <utility>

#include "peft/io/model_folder.h"
#include "peft/model/families.h"
#include "peft/model/weights.h"

namespace fedpeft {

namespace {

struct Family {
  std::string_view model_type;
  Result<std::shared_ptr<const BaseModel>> (*make)(const BaseConfig& config, WeightReader& weights);
};

constexpr std::array<Family, 8> kFamilies = {{{"bert", MakeBert},
                                              {"roberta", MakeRoberta},
                                              {"distilbert", MakeDistilBert},
                                              {"gpt2", MakeGpt2},
                                              {"llama", MakeLlama},
                                              {"mistral", MakeLlama},
                                              {"qwen2", MakeLlama},
                                              {"qwen3", MakeLlama}}};

Result<std::shared_ptr<const BaseModel>> Load(const std::string& path, BaseDtype dtype) {
  if (dtype == BaseDtype::kInt8 && !Int8IsExact()) {
    return FailedPrecondition(
        "train.base_dtype: this processor's products of int8 are not exact (want float32 or bfloat16)");
  }
  ASSIGN_OR_RETURN(ModelFolder opened, ModelFolder::Open(path));
  const auto folder = std::make_shared<const ModelFolder>(std::move(opened));
  const Result<BaseConfig> config = ReadBaseConfig(folder->config_json());
  if (!config.ok()) return config.status().Annotate(path);
  WeightReader weights(folder, config->shape, dtype);
  for (const Family& family : kFamilies) {
    if (family.model_type == config->shape.model_type) return family.make(*config, weights);
  }
  return Internal(path + ": " + config->shape.model_type + " can be planned and not computed");
}

}  // namespace

const char* NameOf(BaseDtype dtype) {
  switch (dtype) {
    case BaseDtype::kFloat32:
      return "float32";
    case BaseDtype::kBfloat16:
      return "bfloat16";
    case BaseDtype::kInt8:
      return "int8";
  }
  FEDPEFT_CHECK(false);
}

Result<std::shared_ptr<const BaseModel>> LoadBaseModel(const std::string& folder, BaseDtype dtype) {
  const torch::NoGradGuard no_grad;
  try {
    return Load(folder, dtype);
  } catch (const std::exception& error) {
    return Internal(folder + ": loading failed: " + error.what());
  }
}

const BaseShape& ShapeOf(const BaseModel& base) {
  return base.shape();
}

}  // namespace fedpeft
