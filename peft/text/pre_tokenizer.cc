#include "peft/text/pre_tokenizer.h"

#include <nlohmann/json.hpp>

#include "peft/text/bert_pre_tokenizer.h"
#include "peft/text/byte_level.h"
#include "peft/text/json_object.h"
#include "peft/text/metaspace.h"
#include "peft/text/property_split.h"
#include "peft/text/split_pre_tokenizer.h"
#include "peft/text/stages.h"

namespace fedpeft::text {

namespace {

class PreTokenizerSequence final : public PreTokenizer {
 public:
  static Result<std::unique_ptr<PreTokenizer>> FromJson(JsonObject& object) {
    auto out = std::make_unique<PreTokenizerSequence>();
    ASSIGN_OR_RETURN(out->stages_, ReadStages<PreTokenizer>(object, "pretokenizers", MakePreTokenizer));
    return std::unique_ptr<PreTokenizer>(std::move(out));
  }

  Status Split(Words& words) const override {
    for (const auto& stage : stages_) RETURN_IF_ERROR(stage->Split(words));
    return OkStatus();
  }
  void AddTo(Fingerprint& fingerprint) const override { AddStages(stages_, fingerprint); }

 private:
  Stages<PreTokenizer> stages_;
};

}  // namespace

Result<std::unique_ptr<PreTokenizer>> MakePreTokenizer(const nlohmann::json& config, const std::string& where) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, where));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "BertPreTokenizer") {
    RETURN_IF_ERROR(object.RefuseOtherKeys());
    return std::unique_ptr<PreTokenizer>(std::make_unique<BertPreTokenizer>());
  }
  if (type == "ByteLevel") return ByteLevelPreTokenizer::FromJson(object);
  if (type == "Metaspace") return MetaspacePreTokenizer::FromJson(object);
  if (type == "Split") return SplitPreTokenizer::FromJson(object);
  if (type == "Digits" || type == "Punctuation" || type == "WhitespaceSplit") {
    return PropertySplit::FromJson(type, object);
  }
  if (type == "Whitespace") return WhitespacePreTokenizer::FromJson(object);
  if (type == "Sequence") return PreTokenizerSequence::FromJson(object);
  return UnknownType(where, type,
                     "BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split, Whitespace or "
                     "WhitespaceSplit");
}

}  // namespace fedpeft::text
