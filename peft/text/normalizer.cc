#include "peft/text/normalizer.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "peft/text/bert_normalizer.h"
#include "peft/text/character_normalizers.h"
#include "peft/text/json_object.h"
#include "peft/text/precompiled.h"
#include "peft/text/stages.h"
#include "peft/text/text_normalizers.h"

namespace fedpeft::text {

namespace {

class NormalizerSequence final : public Normalizer {
 public:
  static Result<std::unique_ptr<Normalizer>> FromJson(JsonObject& object) {
    auto out = std::make_unique<NormalizerSequence>();
    ASSIGN_OR_RETURN(out->stages_, ReadStages<Normalizer>(object, "normalizers", MakeNormalizer));
    return std::unique_ptr<Normalizer>(std::move(out));
  }

  Status Normalize(NormalText& normal) const override {
    for (const auto& stage : stages_) RETURN_IF_ERROR(stage->Normalize(normal));
    return OkStatus();
  }
  void AddTo(Fingerprint& fingerprint) const override { AddStages(stages_, fingerprint); }

 private:
  Stages<Normalizer> stages_;
};

}  // namespace

Result<std::unique_ptr<Normalizer>> MakeNormalizer(const nlohmann::json& config, const std::string& where) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, where));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "BertNormalizer") return BertNormalizer::FromJson(object);
  if (type == "Precompiled") return PrecompiledNormalizer::FromJson(object);
  if (type == "Prepend") return PrependNormalizer::FromJson(object);
  if (type == "Replace") return ReplaceNormalizer::FromJson(object);
  if (type == "Strip") return StripNormalizer::FromJson(object);
  if (type == "NFC") return MakePlain<Normalizer, UnicodeFormNormalizer>(object, false, true);
  if (type == "NFD") return MakePlain<Normalizer, UnicodeFormNormalizer>(object, false, false);
  if (type == "NFKC") return MakePlain<Normalizer, UnicodeFormNormalizer>(object, true, true);
  if (type == "NFKD") return MakePlain<Normalizer, UnicodeFormNormalizer>(object, true, false);
  if (type == "Lowercase") return MakePlain<Normalizer, LowercaseNormalizer>(object);
  if (type == "StripAccents") return MakePlain<Normalizer, StripAccentsNormalizer>(object);
  if (type == "Nmt") return MakePlain<Normalizer, NmtNormalizer>(object);
  if (type == "Sequence") return NormalizerSequence::FromJson(object);
  return UnknownType(
      where, type,
      "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, Replace, Sequence, Strip or "
      "StripAccents");
}

}  // namespace fedpeft::text
