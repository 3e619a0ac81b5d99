#include "peft/io/adapter_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "peft/core/files.h"
#include "peft/io/adapter_config.h"
#include "tests/support/temp_folder.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<float> kValues(64, 0.5f);
const std::string kQuery = "base_model.model.bert.encoder.layer.0.attention.self.query";
const std::string kValue = "base_model.model.bert.encoder.layer.0.attention.self.value";

TensorView Tensor(const std::string& name, const Shape& shape) {
  return FloatView(name, shape, std::span(kValues).first(*DenseBytes(Dtype::kU8, shape)));
}

/// A classifier's adapter with two modules, rank 2, hidden size 4.
std::vector<TensorView> SampleTensors() {
  return {Tensor(kQuery + ".lora_A.weight", {2, 4}),       Tensor(kQuery + ".lora_B.weight", {4, 2}),
          Tensor(kValue + ".lora_A.weight", {2, 4}),       Tensor(kValue + ".lora_B.weight", {4, 2}),
          Tensor("base_model.model.classifier.bias", {3}), Tensor("base_model.model.classifier.weight", {3, 4})};
}

AdapterConfig SampleConfig() {
  AdapterConfig config;
  config.base_model_name_or_path = "some/base";
  config.task_type = "SEQ_CLS";
  config.r = 2;
  config.lora_alpha = 8;
  config.target_modules = {"value", "query"};
  config.modules_to_save = {"classifier"};
  return config;
}

class AdapterFolderTest : public ::testing::Test {
 protected:
  Status Write(const AdapterConfig& config, const std::vector<TensorView>& tensors, const StringMap& metadata = {}) {
    return WriteAdapterFolder(folder_.path(), config, tensors, metadata);
  }
  Result<AdapterFolder> Read() { return ReadAdapterFolder(folder_.path()); }
  void PutConfig(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_.File("adapter_config.json"), AsBytes(text)).ok());
  }
  testing::TempFolder folder_;
};

TEST_F(AdapterFolderTest, WhatIsWrittenIsReadBack) {
  AdapterConfig config = SampleConfig();
  config.alpha_pattern = {{"bert.encoder.layer.0.attention.self.value", 3}};
  ASSERT_TRUE(Write(config, SampleTensors(), {{std::string(adapter_metadata::kRound), "12"}}).ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->config.base_model_name_or_path, "some/base");
  EXPECT_EQ(read->config.task_type, "SEQ_CLS");
  EXPECT_EQ(read->config.r, 2);
  EXPECT_THAT(read->config.modules_to_save, ElementsAre("classifier"));
  EXPECT_THAT(read->config.target_modules,
              ElementsAre("bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.0.attention.self.value"));
  EXPECT_EQ(read->file.metadata().at("fedpeft.round"), "12");
  EXPECT_EQ(read->file.tensors().size(), 6u);
  ASSERT_EQ(read->modules.size(), 2u);
  EXPECT_EQ(read->modules[0].path, "bert.encoder.layer.0.attention.self.query");
  EXPECT_EQ(read->modules[0].rank, 2);
  EXPECT_EQ(read->modules[0].scale, 4);
  EXPECT_EQ(read->modules[1].scale, 1.5);
}

TEST_F(AdapterFolderTest, ConfigIsWrittenWithSortedKeysAndLists) {
  ASSERT_TRUE(Write(SampleConfig(), SampleTensors()).ok());
  EXPECT_EQ(*ReadFile(folder_.File("adapter_config.json"), 1 << 20), R"({
  "alpha_pattern": {},
  "base_model_name_or_path": "some/base",
  "bias": "none",
  "exclude_modules": null,
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "layers_pattern": null,
  "layers_to_transform": null,
  "lora_alpha": 8,
  "lora_dropout": 0.0,
  "modules_to_save": [
    "classifier"
  ],
  "peft_type": "LORA",
  "r": 2,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "query",
    "value"
  ],
  "task_type": "SEQ_CLS",
  "use_dora": false,
  "use_rslora": false
}
)");
}

// rslora's 8/√2 with r 4 and a rank pattern of 2 is what peft 0.21 computes.
TEST_F(AdapterFolderTest, ScaleFollowsRsloraAndPatterns) {
  AdapterConfig config = SampleConfig();
  config.r = 4;
  config.use_rslora = true;
  config.rank_pattern = {{"layer.0.attention.self.query", 2}};
  std::vector<TensorView> tensors = SampleTensors();
  tensors[2] = Tensor(kValue + ".lora_A.weight", {4, 4});
  tensors[3] = Tensor(kValue + ".lora_B.weight", {4, 4});
  ASSERT_TRUE(Write(config, tensors).ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_DOUBLE_EQ(read->modules[0].scale, 8 / std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(read->modules[1].scale, 4);
}

TEST_F(AdapterFolderTest, EmbeddingsAndBareBasesAreTaken) {
  AdapterConfig config = SampleConfig();
  config.task_type = "";
  config.target_modules = {"word_embeddings"};
  config.modules_to_save = {};
  ASSERT_TRUE(Write(config, {Tensor("base_model.model.embeddings.word_embeddings.lora_embedding_A", {2, 9}),
                             Tensor("base_model.model.embeddings.word_embeddings.lora_embedding_B", {4, 2})})
                  .ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_TRUE(read->modules[0].embedding);
  EXPECT_EQ(read->modules[0].path, "embeddings.word_embeddings");
  EXPECT_EQ(read->config.task_type, "");
}

TEST_F(AdapterFolderTest, TensorsThatDoNotFitAreNotWritten) {
  struct Case {
    void (*spoil)(AdapterConfig&, std::vector<TensorView>&);
    std::string error;
  };
  const std::vector<Case> cases = {
      {[](auto&, auto& t) { t.erase(t.begin()); }, "query\" lacks its tensor lora_A"},
      {[](auto&, auto& t) { t.erase(t.begin() + 1); }, "query\" lacks its tensor lora_B"},
      {[](auto&, auto& t) {
         t[0].shape = {4, 2};
       },
       "has shape [4,2], want two dimensions, number 1 of them 2"},
      {[](auto&, auto& t) { t[1].shape = {8}; }, "has shape [8]"},
      {[](auto& c, auto&) { c.r = 3; }, "number 1 of them 3"},
      {[](auto& c, auto&) { c.r = 0; }, "want at least 1"},
      {[](auto& c, auto&) {
         c.rank_pattern = {{"query", 3}};
       },
       "number 1 of them 3"},
      {[](auto& c, auto&) {
         c.alpha_pattern = {{"query", 3}, {"self.query", 4}};
       },
       "different values"},
      {[](auto& c, auto&) {
         c.alpha_pattern = {{".*query", 3}};
       },
       "regular expression"},
      {[](auto& c, auto&) { c.lora_alpha = INFINITY; }, "not finite"},
      {[](auto& c, auto&) { c.target_modules = {"query"}; }, "self.value\" is in none of target_modules"},
      {[](auto& c, auto&) {
         c.target_modules = {"query", "value", "key"};
       },
       "no tensor belongs to \"key\""},
      {[](auto& c, auto&) {
         c.target_modules = {"uery", "value"};
       },
       "in none of target_modules"},
      {[](auto& c, auto&) { c.modules_to_save = {}; }, "belongs neither to LoRA nor to modules_to_save"},
      {[](auto& c, auto&) {
         c.modules_to_save = {"classifier", "pooler"};
       },
       "no tensor belongs to \"pooler\""},
      {[](auto& c, auto& t) {
         c.modules_to_save = {};
         t.resize(4);
       },
       "neither classifier nor score"},
      {[](auto&, auto& t) { t[5].name = "classifier.weight"; }, "does not begin with base_model.model."},
      {[](auto&, auto& t) { t.push_back(t[0]); }, "is given twice"},
      {[](auto&, auto& t) { t.erase(t.begin(), t.begin() + 4); }, "has no lora_A"},
      {[](auto&, auto& t) { t[1].name = kQuery + ".lora_embedding_B"; }, "has both"},
  };
  for (const Case& c : cases) {
    AdapterConfig config = SampleConfig();
    std::vector<TensorView> tensors = SampleTensors();
    c.spoil(config, tensors);
    EXPECT_THAT(Write(config, tensors).message(), HasSubstr(c.error));
    EXPECT_FALSE(PathExists(folder_.File("adapter_config.json"))) << c.error;
  }
}

// The configuration that peft 0.21.2 writes for r 2, target_modules ["query", "value"] and task SEQ_CLS.
TEST_F(AdapterFolderTest, ReadsTheConfigurationOfPeft) {
  ASSERT_TRUE(Write(SampleConfig(), SampleTensors()).ok());
  PutConfig(R"({"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
"base_model_name_or_path": null, "bias": "none", "corda_config": null, "ensure_weight_tying": false,
"eva_config": null, "exclude_modules": null, "fan_in_fan_out": false, "inference_mode": false,
"init_lora_weights": true, "kasa_config": null, "layer_replication": null, "layers_pattern": null,
"layers_to_transform": null, "loftq_config": {}, "lora_alpha": 8, "lora_bias": false,
"lora_dropout": 0.0, "lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core",
"modules_to_save": ["classifier", "score"], "monteclora_config": null, "peft_type": "LORA",
"peft_version": "0.21.2", "qalora_group_size": 16, "r": 2, "rank_pattern": {}, "revision": null,
"target_modules": ["value", "query"], "target_parameters": null, "task_type": "SEQ_CLS",
"trainable_token_indices": null, "use_bdlora": null, "use_dora": false, "use_qalora": false,
"use_rslora": false, "velora_config": null})");
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_THAT(read->config.modules_to_save, ElementsAre("classifier"));  // the model has no `score`
  EXPECT_EQ(read->modules.size(), 2u);
  EXPECT_EQ(read->modules[0].scale, 4);
}

TEST_F(AdapterFolderTest, MinimalConfigurationAndAllLinearAreRead) {
  ASSERT_TRUE(Write(SampleConfig(), SampleTensors()).ok());
  PutConfig(
      R"({"peft_type":"LORA","target_modules":"all-linear","r":2,"lora_alpha":4,"modules_to_save":["classifier"]})");
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->config.target_modules.size(), 2u);
  EXPECT_EQ(read->modules[0].scale, 2);
}

TEST(AdapterConfigTest, VariantsThatChangeTheArithmeticAreUnimplemented) {
  for (const char* key :
       {R"("lora_bias":true)", R"("bias":"all")", R"("layer_replication":[[0,4]])", R"("trainable_token_indices":[1])",
        R"("target_parameters":["w"])", R"("loftq_config":{"bits":4})", R"("eva_config":{"rho":2})",
        R"("some_new_config":{"x":1})", R"("alora_invocation_tokens":[1])", R"("use_qalora":true)",
        R"("use_bdlora":{"x":1})", R"("ensure_weight_tying":true)", R"("init_lora_weights":"pissa_niter_4")",
        R"("init_lora_weights":["pissa"])", R"("peft_type":"VERA")"}) {
    const std::string head = std::string(key).find("peft_type") == std::string::npos ? R"({"peft_type":"LORA",)" : "{";
    const Status status = AdapterConfigFromJson(head + key + "}").status();
    EXPECT_EQ(status.code(), Code::kUnimplemented) << key << ": " << status.ToString();
  }
  EXPECT_EQ(AdapterConfigFromJson("{}").status().code(), Code::kUnimplemented);
}

TEST_F(AdapterFolderTest, DorasLengthsAreCalledForByItsConfiguration) {
  AdapterConfig config = SampleConfig();
  config.use_dora = true;
  EXPECT_THAT(Write(config, SampleTensors()).message(), HasSubstr("lacks a tensor lora_magnitude_vector"));
}

TEST_F(AdapterFolderTest, VirtualTokensHaveTheShapeOfTheirConfiguration) {
  AdapterConfig config;
  config.peft_type = PeftType::kPrefixTuning;
  config.task_type = "CAUSAL_LM";
  config.num_virtual_tokens = 3;
  config.token_dim = 4;
  config.num_layers = 2;
  config.num_attention_heads = 2;
  const std::vector<float> values(3 * 16);
  const std::vector<TensorView> right = {FloatView("prompt_embeddings", {3, 16}, values)};
  ASSERT_TRUE(Write(config, right).ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->config.peft_type, PeftType::kPrefixTuning);
  EXPECT_EQ(read->config.num_virtual_tokens, 3);
  EXPECT_THAT(read->config.target_modules, ::testing::IsEmpty());
  const std::vector<TensorView> turned = {FloatView("prompt_embeddings", {16, 3}, values)};
  EXPECT_THAT(Write(config, turned).message(), HasSubstr("has shape [16,3], want [3,16]"));
  EXPECT_THAT(Write(config, {}).message(), HasSubstr("has no tensor \"prompt_embeddings\""));
  config.peft_type = PeftType::kPromptTuning;
  EXPECT_THAT(Write(config, right).message(), HasSubstr("want [3,4]"));
}

TEST_F(AdapterFolderTest, Ia3SaysByItsShapesWhatItScales) {
  AdapterConfig config;
  config.peft_type = PeftType::kIa3;
  config.target_modules = {"key", "dense"};
  config.feedforward_modules = {"dense"};
  const std::vector<float> values(4);
  const std::vector<TensorView> tensors = {FloatView("base_model.model.l.0.key.ia3_l", {4, 1}, values),
                                           FloatView("base_model.model.l.0.dense.ia3_l", {1, 4}, values)};
  ASSERT_TRUE(Write(config, tensors).ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_THAT(read->config.target_modules, ElementsAre("l.0.dense", "l.0.key"));
  EXPECT_THAT(read->config.feedforward_modules, ElementsAre("l.0.dense"));
  config.target_modules = {"key"};
  EXPECT_THAT(Write(config, tensors).message(), HasSubstr("\"l.0.dense\" is in none of target_modules"));
}

TEST_F(AdapterFolderTest, SparseValuesComeWithWhatChoseTheirPlaces) {
  AdapterConfig config;
  config.peft_type = PeftType::kSparse;
  config.density = 0.25;
  config.seed = std::uint64_t{1} << 63;
  config.target_modules = {"key"};
  const std::vector<float> values(4);
  const std::vector<TensorView> tensors = {FloatView("base_model.model.l.0.key.sparse_values", {4}, values)};
  ASSERT_TRUE(Write(config, tensors).ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_THAT(read->config.target_modules, ElementsAre("l.0.key"));
  EXPECT_EQ(read->config.density, 0.25);
  EXPECT_EQ(read->config.seed, std::uint64_t{1} << 63);
  config.target_modules = {"query"};
  EXPECT_THAT(Write(config, tensors).message(), HasSubstr("\"l.0.key\" is in none of target_modules"));
  EXPECT_THAT(Write(config, {}).message(), HasSubstr("has no tensors of its method"));
  const auto refusal = [](const std::string& keys) {
    return AdapterConfigFromJson(R"({"peft_type":"FEDPEFT_SPARSE")" + keys + "}").status().message();
  };
  EXPECT_THAT(refusal(R"(,"density":0.1)"), HasSubstr("seed: is missing"));
  EXPECT_THAT(refusal(R"(,"seed":1)"), HasSubstr("density: is missing"));
  EXPECT_THAT(refusal(R"(,"density":0.1,"seed":-1)"), HasSubstr("seed: has a value of the wrong type"));
}

TEST_F(AdapterFolderTest, PTuningIsAPrompt) {
  const std::vector<float> values(2 * 4);
  AdapterConfig config;
  config.peft_type = PeftType::kPromptTuning;
  config.task_type = "CAUSAL_LM";
  config.num_virtual_tokens = 2;
  config.token_dim = 4;
  config.num_layers = 1;
  ASSERT_TRUE(Write(config, {{FloatView("prompt_embeddings", {2, 4}, values)}}).ok());
  EXPECT_THAT(*ReadFile(folder_.File("adapter_config.json"), 1 << 20), HasSubstr("\"PROMPT_TUNING\""));
  PutConfig(R"({"peft_type":"P_TUNING","encoder_reparameterization_type":"LSTM","num_virtual_tokens":2,"token_dim":4,)"
            R"("num_layers":1,"task_type":"CAUSAL_LM"})");
  ASSERT_TRUE(Read().ok());
  EXPECT_EQ(Read()->config.peft_type, PeftType::kPromptTuning);
}

TEST_F(AdapterFolderTest, LlamaAdaptersSayHowManyLayersTheyHave) {
  AdapterConfig config;
  config.peft_type = PeftType::kAdaptionPrompt;
  config.task_type = "CAUSAL_LM";
  config.target_modules = {"self_attn"};
  config.adapter_len = 2;
  config.adapter_layers = 1;
  const std::string layer = "base_model.model.model.layers.1.self_attn.";
  const std::vector<TensorView> tensors = {Tensor(layer + "adaption_prompt", {1, 2, 4}),
                                           Tensor(layer + "adaption_gate", {1})};
  ASSERT_TRUE(Write(config, tensors).ok());
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->config.adapter_len, 2);
  EXPECT_EQ(read->config.adapter_layers, 1);
  EXPECT_THAT(read->config.target_modules, ElementsAre("model.layers.1.self_attn"));
  for (const char* value : {"0", "-1", "9223372036854775807"}) {
    const std::string json = std::string(R"({"peft_type":"ADAPTION_PROMPT","adapter_layers":1,"adapter_len":)") + value;
    EXPECT_THAT(AdapterConfigFromJson(json + "}").status().message(), HasSubstr("want 1 to 1048576")) << value;
  }
  EXPECT_THAT(Write(config, {}).message(), HasSubstr("has no tensors of its method"));
}

TEST(AdapterConfigTest, VirtualTokensAreBoundedBeforeTheirShapeIsMade) {
  for (const char* value : {"0", "-1", "9223372036854775807"}) {
    const std::string json = std::string(R"({"peft_type":"PREFIX_TUNING","num_layers":2,"token_dim":8,)") +
                             R"("num_virtual_tokens":)" + value + "}";
    EXPECT_THAT(AdapterConfigFromJson(json).status().message(), HasSubstr("want 1 to 1048576")) << value;
  }
  EXPECT_EQ(AdapterConfigFromJson(R"({"peft_type":"PROMPT_TUNING","num_virtual_tokens":2,"token_dim":8,"num_layers":2,)"
                                  R"("num_transformer_submodules":2})")
                .status()
                .code(),
            Code::kUnimplemented);
}

TEST(AdapterConfigTest, MistypedValuesAreRefusedByName) {
  for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{{"r", "2.5"},
                                                                                   {"r", "18446744073709551615"},
                                                                                   {"lora_alpha", "\"8\""},
                                                                                   {"use_rslora", "1"},
                                                                                   {"task_type", "7"},
                                                                                   {"target_modules", "{}"},
                                                                                   {"modules_to_save", "[1]"},
                                                                                   {"modules_to_save", "\"x\""},
                                                                                   {"rank_pattern", "[]"},
                                                                                   {"rank_pattern", R"({"a":1.5})"},
                                                                                   {"alpha_pattern", R"({"a":"x"})"}}) {
    const Status status = AdapterConfigFromJson(R"({"peft_type":"LORA",")" + key + "\":" + value + "}").status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << key << " " << value;
    EXPECT_THAT(status.message(), HasSubstr(key));
  }
}

TEST_F(AdapterFolderTest, DamagedFoldersAreRefusedByFile) {
  EXPECT_EQ(Read().status().code(), Code::kNotFound);
  ASSERT_TRUE(Write(SampleConfig(), SampleTensors()).ok());
  EXPECT_EQ(ReadAdapterFolder(folder_.path(), 100).status().code(), Code::kResourceExhausted);
  const std::string config = *ReadFile(folder_.File("adapter_config.json"), 1 << 20);
  for (std::size_t size = 0; size + 2 < config.size(); ++size) {
    EXPECT_FALSE(AdapterConfigFromJson(std::string_view(config).substr(0, size)).ok()) << size;
  }
  PutConfig("{");
  EXPECT_THAT(Read().status().message(), HasSubstr("adapter_config.json: is not"));
  PutConfig(R"({"peft_type":"LORA","r":3})");
  EXPECT_THAT(Read().status().message(), HasSubstr("adapter_model.safetensors: tensor"));
}

TEST(AdapterLabelsTest, RoundTripAndReject) {
  const std::vector<std::string> labels = {"noun.animal", "a \"quoted\", label", "é"};
  EXPECT_EQ(*DecodeLabels(*EncodeLabels(labels)), labels);
  EXPECT_EQ(*EncodeLabels({}), "[]");
  EXPECT_FALSE(EncodeLabels(std::vector<std::string>{"\xff"}).ok());
  for (const char* text : {"", "{}", "[1]", "[\"a\"", "[],\"x\":[]", "[]}{"})
    EXPECT_FALSE(DecodeLabels(text).ok()) << text;
}

}  // namespace
}  // namespace fedpeft
