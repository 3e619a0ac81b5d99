#include "peft/plan/config_reader.h"

#include <array>
#include <cmath>

#include "peft/io/json.h"
#include "peft/io/quote.h"

namespace fedpeft {

namespace {

/// Keys of every configuration of transformers that say nothing of the forward pass: where the file came from, heads on
/// top of it, what is returned, how text is generated, dropout (which the run sets), the tokens' roles.
// clang-format off
constexpr std::array kDescriptive = {
    "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_name_or_path", "architectures",
    "attn_implementation", "auto_map", "bad_words_ids", "begin_suppress_tokens", "bos_token_id",
    "chunk_size_feed_forward", "classifier_dropout", "cls_token_id", "decoder_start_token_id", "diversity_penalty",
    "do_sample", "dtype", "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id",
    "exponential_decay_length_penalty", "finetuning_task", "forced_bos_token_id", "forced_eos_token_id",
    "gradient_checkpointing", "id2label", "initializer_factor", "initializer_range", "keys_to_ignore_at_inference",
    "label2id", "language", "length_penalty", "max_length", "min_length", "model_type", "no_repeat_ngram_size",
    "num_beam_groups", "num_beams", "num_labels", "num_return_sequences", "output_attentions", "output_hidden_states",
    "output_past", "output_scores", "pad_token_id", "prefix", "problem_type", "remove_invalid_values",
    "repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
    "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tokenizer_class", "top_k", "top_p",
    "torch_dtype", "torchscript", "transformers_version", "typical_p", "use_bfloat16", "use_cache"};
// clang-format on

bool AsksForNothing(const nlohmann::json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

}  // namespace

Result<ConfigReader> ConfigReader::Parse(std::string_view json) {
  ASSIGN_OR_RETURN(nlohmann::json object, ParseJsonObject(json));
  ConfigReader reader(std::move(object));
  reader.known_.insert(kDescriptive.begin(), kDescriptive.end());
  return reader;
}

ConfigReader::ConfigReader(nlohmann::json object) : object_(std::make_unique<nlohmann::json>(std::move(object))) {}
ConfigReader::ConfigReader(ConfigReader&&) noexcept = default;
ConfigReader::~ConfigReader() = default;

const nlohmann::json* ConfigReader::Find(const std::string& key) {
  known_.insert(key);
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

void ConfigReader::Mistyped(const std::string& key, const std::string& want) {
  Fail(InvalidArgument(key + ": got " + Quoted((*object_)[key].dump()) + ", want " + want));
}

std::int64_t ConfigReader::Integer(const std::string& key, std::int64_t otherwise, std::int64_t min, std::int64_t max) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return otherwise;
  // A number from 2^63 on would wrap around in get().
  const bool fits = value->is_number_integer() && !(value->is_number_unsigned() && value->get<std::uint64_t>() >> 63);
  const std::int64_t number = fits ? value->get<std::int64_t>() : min - 1;
  if (number >= min && number <= max) return number;
  Mistyped(key, "an integer from " + std::to_string(min) + " to " + std::to_string(max));
  return otherwise;
}

double ConfigReader::Positive(const std::string& key, double otherwise) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return otherwise;
  const double number = value->is_number() ? value->get<double>() : 0;
  if (std::isfinite(number) && number > 0) return number;
  Mistyped(key, "a positive number");
  return otherwise;
}

bool ConfigReader::Flag(const std::string& key, bool otherwise) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return otherwise;
  if (value->is_boolean()) return value->get<bool>();
  Mistyped(key, "true or false");
  return otherwise;
}

std::string ConfigReader::Text(const std::string& key, const std::string& otherwise) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return otherwise;
  if (value->is_string()) return value->get<std::string>();
  Mistyped(key, "a string");
  return otherwise;
}

std::vector<std::string> ConfigReader::Texts(const std::string& key) {
  const nlohmann::json* value = Find(key);
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  if (!value->is_array()) Mistyped(key, "a list of strings");
  for (const nlohmann::json& text : *value) {
    if (text.is_string()) {
      texts.push_back(text.get<std::string>());
    } else {
      Mistyped(key, "a list of strings");
    }
  }
  return texts;
}

ConfigReader ConfigReader::Object(const std::string& key) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return ConfigReader(nlohmann::json::object());
  if (value->is_object()) return ConfigReader(*value);
  Mistyped(key, "an object");
  return ConfigReader(nlohmann::json::object());
}

bool ConfigReader::Left(const std::string& key) const {
  return !object_->contains(key);
}

bool ConfigReader::Has(const std::string& key) const {
  const auto found = object_->find(key);
  return found != object_->end() && !found->is_null() && !(found->is_object() && found->empty());
}

void ConfigReader::Ignore(std::initializer_list<const char*> keys) {
  known_.insert(keys.begin(), keys.end());
}

void ConfigReader::Fail(Status error) {
  if (error_.ok()) error_ = std::move(error);
}

Status ConfigReader::Finish() const {
  RETURN_IF_ERROR(error_);
  for (const auto& [key, value] : object_->items()) {
    if (known_.contains(key) || AsksForNothing(value)) continue;
    return Unimplemented(Quoted(key) + ": got " + Quoted(value.dump()) +
                         ", which is not known here and may change the result (if it does not, remove the key)");
  }
  return OkStatus();
}

}  // namespace fedpeft
