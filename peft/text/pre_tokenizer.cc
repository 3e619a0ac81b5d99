#include "peft/text/pre_tokenizer.h"

#include <nlohmann/json.hpp>

#include "peft/text/bert_pre_tokenizer.h"
#include "peft/text/json_object.h"

namespace fedpeft::text {

Result<std::unique_ptr<PreTokenizer>> MakePreTokenizer(const nlohmann::json& config) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, "pre_tokenizer"));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "BertPreTokenizer") {
    RETURN_IF_ERROR(object.RefuseOtherKeys());
    return std::unique_ptr<PreTokenizer>(std::make_unique<BertPreTokenizer>());
  }
  return UnknownType("pre_tokenizer", type, "BertPreTokenizer");
}

}  // namespace fedpeft::text
