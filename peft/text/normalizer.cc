#include "peft/text/normalizer.h"

#include <nlohmann/json.hpp>

#include "peft/text/bert_normalizer.h"
#include "peft/text/json_object.h"

namespace fedpeft::text {

Result<std::unique_ptr<Normalizer>> MakeNormalizer(const nlohmann::json& config) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, "normalizer"));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "BertNormalizer") return BertNormalizer::FromJson(object);
  return UnknownType("normalizer", type, "BertNormalizer");
}

}  // namespace fedpeft::text
