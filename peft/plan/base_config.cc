#include "peft/plan/base_config.h"

#include "peft/plan/architecture.h"
#include "peft/plan/config_reader.h"

namespace fedpeft {

Result<Activation> ActivationOf(const std::string& name) {
  if (name == "gelu" || name == "gelu_python") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::kGeluNew;
  if (name == "relu") return Activation::kRelu;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  return Unimplemented("activation: got \"" + name + "\", want gelu, gelu_new, gelu_pytorch_tanh, relu or silu");
}

const char* ActivationName(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluNew:
      return "gelu_new";
    case Activation::kRelu:
      return "relu";
    case Activation::kSilu:
      return "silu";
  }
  return "";
}

Result<BaseConfig> ReadBaseConfig(std::string_view json) {
  Result<ConfigReader> reader = ConfigReader::Parse(json);
  if (!reader.ok()) return reader.status().Annotate("config.json");
  BaseConfig config;
  config.shape.model_type = reader->Text("model_type", "");
  const Result<const Architecture*> architecture = FindArchitecture(config.shape.model_type);
  if (!architecture.ok()) return architecture.status().Annotate("config.json");
  (*architecture)->read(*reader, config);
  RETURN_IF_ERROR(reader->Finish().Annotate("config.json"));
  RETURN_IF_ERROR(CheckBaseShape(config.shape).Annotate("config.json"));
  return config;
}

}  // namespace fedpeft
