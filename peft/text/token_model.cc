#include "peft/text/token_model.h"

#include <nlohmann/json.hpp>

#include "peft/text/bpe.h"
#include "peft/text/json_object.h"
#include "peft/text/unigram.h"
#include "peft/text/wordpiece.h"

namespace fedpeft::text {

Result<std::unique_ptr<TokenModel>> MakeTokenModel(const nlohmann::json& config) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, "model"));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "WordPiece") return WordPiece::FromJson(object);
  if (type == "BPE") return Bpe::FromJson(object);
  if (type == "Unigram") return Unigram::FromJson(object);
  return UnknownType("model", type, "BPE, Unigram or WordPiece");
}

}  // namespace fedpeft::text
