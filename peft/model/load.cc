#include "peft/model/load.h"

#include <exception>
#include <utility>

#include "peft/io/model_folder.h"
#include "peft/model/bert.h"

namespace fedpeft {

namespace {

torch::ScalarType ScalarTypeOf(BaseDtype dtype) {
  return dtype == BaseDtype::kFloat32 ? torch::kFloat32 : torch::kBFloat16;
}

Result<std::shared_ptr<const BaseModel>> Load(const std::string& path, BaseDtype dtype) {
  ASSIGN_OR_RETURN(ModelFolder opened, ModelFolder::Open(path));
  const auto folder = std::make_shared<const ModelFolder>(std::move(opened));
  Result<BaseShape> shape = BaseShapeFromConfigJson(folder->config_json());
  if (!shape.ok()) return shape.status().Annotate(path);
  const Result<BertSettings> settings = BertSettingsFromConfigJson(folder->config_json());
  if (!settings.ok()) return settings.status().Annotate(path);
  WeightReader weights(folder, "bert.", ScalarTypeOf(dtype));
  return MakeBert(*shape, *settings, weights);
}

}  // namespace

Result<std::shared_ptr<const BaseModel>> LoadBaseModel(const std::string& folder, BaseDtype dtype) {
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
