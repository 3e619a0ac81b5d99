#include "peft/text/decoder.h"

#include <nlohmann/json.hpp>

#include "peft/text/byte_level.h"
#include "peft/text/json_object.h"
#include "peft/text/metaspace.h"
#include "peft/text/stages.h"
#include "peft/text/token_decoders.h"

namespace fedpeft::text {

namespace {

class DecoderSequence final : public Decoder {
 public:
  static Result<std::unique_ptr<Decoder>> FromJson(JsonObject& object) {
    auto out = std::make_unique<DecoderSequence>();
    ASSIGN_OR_RETURN(out->stages_, ReadStages<Decoder>(object, "decoders", MakeDecoder));
    return std::unique_ptr<Decoder>(std::move(out));
  }

  void Decode(std::vector<std::string>& tokens) const override {
    for (const auto& stage : stages_) stage->Decode(tokens);
  }

 private:
  Stages<Decoder> stages_;
};

}  // namespace

Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& config, const std::string& where) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, where));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type == "WordPiece") return WordPieceDecoder::FromJson(object);
  if (type == "ByteLevel") {
    RETURN_IF_ERROR(ReadByteLevelSettings(object).status());
    return std::unique_ptr<Decoder>(std::make_unique<ByteLevelDecoder>());
  }
  if (type == "ByteFallback") return MakePlain<Decoder, ByteFallbackDecoder>(object);
  if (type == "Fuse") return MakePlain<Decoder, FuseDecoder>(object);
  if (type == "Metaspace") return MetaspaceDecoder::FromJson(object);
  if (type == "Replace") return ReplaceDecoder::FromJson(object);
  if (type == "Strip") return StripDecoder::FromJson(object);
  if (type == "BPEDecoder") return SuffixDecoder::FromJson(object);
  if (type == "Sequence") return DecoderSequence::FromJson(object);
  return UnknownType(where, type,
                     "BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip or WordPiece");
}

}  // namespace fedpeft::text
