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

torch::ScalarType ScalarTypeOf(BaseDtype dtype) {
  return dtype == BaseDtype::kFloat32 ? torch::kFloat32 : torch::kBFloat16;
}

Result<std::shared_ptr<const BaseModel>> Load(const std::string& path, BaseDtype dtype) {
  ASSIGN_OR_RETURN(ModelFolder opened, ModelFolder::Open(path));
  const auto folder = std::make_shared<const ModelFolder>(std::move(opened));
  const Result<BaseConfig> config = ReadBaseConfig(folder->config_json());
  if (!config.ok()) return config.status().Annotate(path);
  WeightReader weights(folder, config->shape, ScalarTypeOf(dtype));
  for (const Family& family : kFamilies) {
    if (family.model_type == config->shape.model_type) return family.make(*config, weights);
  }
  return Internal(path + ": " + config->shape.model_type + " can be planned and not computed");
}

}  // namespace

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
