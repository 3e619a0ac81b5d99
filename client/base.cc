#include "client/base.h"

#include "configs/print.h"
#include "peft/core/files.h"
#include "peft/io/model_folder.h"
#include "peft/plan/base_config.h"
#include "proto/run_config.pb.h"

namespace fedpeft::client {

namespace {

const char* Said(bool value) {
  return value ? "true" : "false";
}

std::string ShapeLine(const BaseShape& shape) {
  return shape.model_type + ", hidden_size " + std::to_string(shape.hidden_size) + ", " +
         std::to_string(shape.num_hidden_layers) + " layers, " + std::to_string(shape.num_attention_heads) +
         " heads, intermediate_size " + std::to_string(shape.intermediate_size) + ", vocab_size " +
         std::to_string(shape.vocab_size) + ", max_position_embeddings " +
         std::to_string(shape.max_position_embeddings) + ", num_key_value_heads " + std::to_string(shape.kv_heads()) +
         ", head_dim " + std::to_string(shape.head_width()) + ", position_offset " +
         std::to_string(shape.position_offset) + ", type_vocab_size " + std::to_string(shape.type_vocab_size) +
         ", attention_bias " + Said(shape.attention_bias) + ", mlp_bias " + Said(shape.mlp_bias) +
         ", tie_word_embeddings " + Said(shape.tie_word_embeddings);
}

void CountParameters(const ModelFolder& model, BaseInfo& base) {
  const bool has_language_head = PredictsNextToken(base.shape);
  for (const auto& [name, tensor] : model.tensors()) {
    if (IsTaskHead(name) && !(has_language_head && name == "lm_head.weight")) continue;
    base.parameters += static_cast<std::int64_t>(tensor.data.size() * 8 / DtypeBits(tensor.dtype));
    base.stored_bytes += tensor.data.size();
  }
}

}  // namespace

Result<BaseInfo> OpenBase(const std::string& folder) {
  ASSIGN_OR_RETURN(const ModelFolder model, ModelFolder::Open(folder));
  const Result<BaseConfig> config = ReadBaseConfig(model.config_json());
  if (!config.ok()) return config.status().Annotate(folder);
  const BaseShape& shape = config->shape;
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::FromFile(model.TokenizerPath()));
  if (tokenizer.vocab_size() > static_cast<std::size_t>(shape.vocab_size)) {
    return InvalidArgument(folder + ": tokenizer.json has ids up to " + std::to_string(tokenizer.vocab_size() - 1) +
                           ", want below vocab_size " + std::to_string(shape.vocab_size) + " of config.json");
  }
  BaseInfo base{folder, shape, model.BaseHash(), std::move(tokenizer)};
  CountParameters(model, base);
  return base;
}

Status CheckBaseIsRuns(const BaseInfo& base, const RunSpec& run) {
  if (!(base.shape == run.plan.base)) {
    return FailedPrecondition(base.folder + ": is " + ShapeLine(base.shape) + "; the run wants " +
                              ShapeLine(run.plan.base));
  }
  if (base.weights != run.weights) {
    return FailedPrecondition(base.folder + ": weights and configuration hash to " + Hex(base.weights) +
                              ", the run wants " + Hex(run.weights) + " (use the run's copy of the base)");
  }
  if (base.tokenizer.hash() != run.tokenizer) {
    return FailedPrecondition(base.folder + ": the tokenizer hashes to " + Hex(base.tokenizer.hash()) +
                              ", the run wants " + Hex(run.tokenizer) + " (use the run's tokenizer.json)");
  }
  return OkStatus();
}

Status CheckBaseIsAdapters(const BaseInfo& base, RunSpec& run) {
  if (run.weights == Digest{}) run.weights = base.weights;
  if (run.tokenizer == Digest{}) run.tokenizer = base.tokenizer.hash();
  return CheckBaseIsRuns(base, run);
}

std::string RunBlocks(const BaseInfo& base, const ProblemSpec& problem) {
  v1::RunConfig config;
  v1::Base& block = *config.mutable_base();
  block.set_name(std::string(BaseName(base.folder)));
  block.set_model_type(base.shape.model_type);
  block.set_weights_sha256(Hex(base.weights));
  block.set_tokenizer_sha256(Hex(base.tokenizer.hash()));
  block.set_hidden_size(base.shape.hidden_size);
  block.set_num_hidden_layers(base.shape.num_hidden_layers);
  block.set_num_attention_heads(base.shape.num_attention_heads);
  block.set_intermediate_size(base.shape.intermediate_size);
  block.set_vocab_size(base.shape.vocab_size);
  block.set_max_position_embeddings(base.shape.max_position_embeddings);
  if (base.shape.num_key_value_heads > 0) block.set_num_key_value_heads(base.shape.num_key_value_heads);
  if (base.shape.head_dim > 0) block.set_head_dim(base.shape.head_dim);
  if (base.shape.position_offset > 0) block.set_position_offset(base.shape.position_offset);
  if (base.shape.type_vocab_size > 0) block.set_type_vocab_size(base.shape.type_vocab_size);
  if (base.shape.attention_bias) block.set_attention_bias(true);
  if (base.shape.mlp_bias) block.set_mlp_bias(true);
  if (base.shape.tie_word_embeddings) block.set_tie_word_embeddings(true);
  if (!problem.labels.empty()) {
    v1::Problem& what = *config.mutable_problem();
    what.set_type(v1::Problem::SEQUENCE_CLASSIFICATION);
    what.set_text_column(problem.text_column);
    if (!problem.text_pair_column.empty()) what.set_text_pair_column(problem.text_pair_column);
    what.set_label_column(problem.label_column);
    what.set_max_length(static_cast<std::uint32_t>(problem.max_length));
    for (const std::string& label : problem.labels) what.add_labels(label);
  }
  return configs::ToYaml(config);
}

}  // namespace fedpeft::client
