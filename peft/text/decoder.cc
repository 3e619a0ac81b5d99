#include "peft/text/decoder.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "peft/text/json_object.h"

namespace fedpeft::text {

namespace {

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// The replacements of the `tokenizers` package, in its order.
void CleanUp(std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) ReplaceAll(text, from, to);
}

}  // namespace

void WordPieceDecoder::Decode(std::vector<std::string>& tokens) const {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string& token = tokens[i];
    if (i != 0) {
      if (token.starts_with(prefix_)) {
        token.erase(0, prefix_.size());
      } else {
        token.insert(0, 1, ' ');
      }
    }
    if (cleanup_) CleanUp(token);
  }
}

Result<std::unique_ptr<Decoder>> MakeDecoder(const nlohmann::json& config) {
  ASSIGN_OR_RETURN(JsonObject object, JsonObject::Of(config, "decoder"));
  ASSIGN_OR_RETURN(const std::string type, object.Type());
  if (type != "WordPiece") return UnknownType("decoder", type, "WordPiece");
  ASSIGN_OR_RETURN(std::string prefix, object.String("prefix"));
  ASSIGN_OR_RETURN(const bool cleanup, object.Bool("cleanup"));
  RETURN_IF_ERROR(object.RefuseOtherKeys());
  return std::unique_ptr<Decoder>(std::make_unique<WordPieceDecoder>(std::move(prefix), cleanup));
}

}  // namespace fedpeft::text
