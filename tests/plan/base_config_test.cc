#include "peft/plan/base_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

BaseConfig Read(const std::string& json) {
  const Result<BaseConfig> config = ReadBaseConfig(json);
  EXPECT_TRUE(config.ok()) << config.status().ToString();
  return config.ok() ? *config : BaseConfig{};
}

std::string Config(const std::string& model_type, const std::string& more = "") {
  return R"({"model_type":")" + model_type + "\"" + (more.empty() ? "" : "," + more) + "}";
}

TEST(BaseConfigTest, WhatIsLeftOutHasTheDefaultsOfTransformers) {
  const BaseConfig bert = Read(Config("bert"));
  EXPECT_EQ(bert.shape, (BaseShape{"bert", 768, 12, 12, 3072, 30522, 512}));
  EXPECT_EQ(bert.settings.norm_epsilon, 1e-12);
  EXPECT_EQ(bert.shape.type_vocab_size, 2);
  const BaseConfig gpt2 = Read(Config("gpt2", R"("n_embd":96,"n_head":4)"));
  BaseShape small{"gpt2", 96, 12, 4, 384, 50257, 1024};
  small.tie_word_embeddings = true;
  EXPECT_EQ(gpt2.shape, small);
  EXPECT_EQ(gpt2.settings.activation, Activation::kGeluNew);
  const BaseConfig llama = Read(Config("llama"));
  EXPECT_EQ(llama.shape, (BaseShape{"llama", 4096, 32, 32, 11008, 32000, 2048}));
  EXPECT_FALSE(llama.shape.tie_word_embeddings || llama.shape.attention_bias || llama.shape.mlp_bias);
  const BaseConfig mistral = Read(Config("mistral"));
  EXPECT_EQ(mistral.shape.kv_heads(), 8);
  EXPECT_EQ(mistral.settings.windows.at(31), 4096);
  const BaseConfig qwen3 = Read(Config("qwen3"));
  EXPECT_EQ(qwen3.shape.head_width(), 128);
  EXPECT_TRUE(qwen3.settings.query_key_norms);
}

TEST(BaseConfigTest, RobertaBeginsAfterItsPadding) {
  const BaseShape shape = Read(Config("roberta", R"("max_position_embeddings":514)")).shape;
  EXPECT_EQ(shape.position_offset, 2);
  EXPECT_EQ(shape.longest(), 512);
  EXPECT_EQ(Read(Config("roberta", R"("pad_token_id":0)")).shape.position_offset, 1);
}

TEST(BaseConfigTest, NullIsNotLeftOut) {
  const BaseConfig mistral = Read(Config("mistral", R"("sliding_window":null,"num_key_value_heads":null)"));
  EXPECT_EQ(mistral.settings.windows.at(0), 0);
  EXPECT_EQ(mistral.shape.kv_heads(), 32);
}

TEST(BaseConfigTest, RopeIsReadInItsThreeSpellings) {
  using Kind = RopeSettings::Kind;
  const auto rope = [](const std::string& more) { return Read(Config("llama", more)).settings.rope; };
  EXPECT_EQ(rope(R"("rope_theta":5e5)").theta, 5e5);
  EXPECT_EQ(rope(R"("rope_parameters":{"rope_type":"default","rope_theta":77})").theta, 77);
  const RopeSettings linear = rope(R"("rope_theta":9.0,"rope_scaling":{"type":"linear","factor":4})");
  EXPECT_EQ(linear.kind, Kind::kLinear);
  EXPECT_EQ(linear.factor, 4);
  EXPECT_EQ(linear.theta, 9);
  const RopeSettings llama3 =
      rope(R"("rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0})");
  EXPECT_EQ(llama3.kind, Kind::kLlama3);
  EXPECT_EQ(llama3.original_length, 2048);
}

TEST(BaseConfigTest, WindowsFollowTheLayers) {
  const auto windows = [](const std::string& more) {
    return Read(Config("qwen2", R"("num_hidden_layers":3,)" + more)).settings.windows;
  };
  EXPECT_THAT(windows(R"("use_sliding_window":true,"sliding_window":9,"max_window_layers":2)"), ElementsAre(0, 0, 9));
  EXPECT_THAT(windows(R"("use_sliding_window":false,"sliding_window":9,"max_window_layers":0)"), ElementsAre(0, 0, 0));
  EXPECT_THAT(windows(R"("use_sliding_window":true,"sliding_window":9,)"
                      R"("layer_types":["sliding_attention","full_attention","full_attention"])"),
              ElementsAre(9, 0, 0));
}

TEST(BaseConfigTest, WhatAsksForNothingIsTaken) {
  Read(Config("bert", R"("is_decoder":false,"pruned_heads":{},"quantization_config":null,"id2label":{"0":"a"},)"
                      R"("torch_dtype":"float32","pooler_type":"first_token_transform")"));
}

TEST(BaseConfigTest, RefusesByName) {
  struct Case {
    const char* model_type;
    std::string more;
    Code code;
    std::string says;
  };
  const std::vector<Case> cases = {
      {"mamba", "", Code::kUnimplemented, "got \"mamba\", want one of bert, roberta, distilbert, gpt2, llama"},
      {"bert", R"("is_decoder":true)", Code::kUnimplemented, "\"is_decoder\": got \"true\""},
      {"bert", R"("position_embedding_type":"relative_key")", Code::kUnimplemented, "relative_key"},
      {"bert", R"("hidden_act":"mish")", Code::kUnimplemented, "mish"},
      {"bert", R"("hidden_size":10)", Code::kInvalidArgument, "want a multiple of base.num_attention_heads"},
      {"bert", R"("hidden_size":"768")", Code::kInvalidArgument, "hidden_size: got"},
      {"bert", R"("vocab_size":4611686018427387904)", Code::kInvalidArgument, "vocab_size"},
      {"bert", R"("vocab_size":18446744073709551615)", Code::kInvalidArgument, "vocab_size"},
      {"bert", R"("num_hidden_layers":1000000)", Code::kInvalidArgument, "base.num_hidden_layers: got 1000000"},
      {"bert", R"("layer_norm_eps":0)", Code::kInvalidArgument, "layer_norm_eps"},
      {"roberta", R"("pad_token_id":511)", Code::kInvalidArgument, "base.position_offset"},
      {"distilbert", R"("activation":"tanhshrink")", Code::kUnimplemented, "tanhshrink"},
      {"gpt2", R"("add_cross_attention":true)", Code::kUnimplemented, "add_cross_attention"},
      {"gpt2", R"("scale_attn_weights":1)", Code::kInvalidArgument, "scale_attn_weights"},
      {"llama", R"("rope_scaling":{"rope_type":"yarn","factor":2})", Code::kUnimplemented, "yarn"},
      {"llama", R"("rope_scaling":{"rope_type":"linear"})", Code::kInvalidArgument, "factor: is missing"},
      {"llama", R"("rope_parameters":{"rope_type":"default","scale":2})", Code::kUnimplemented, "\"scale\""},
      {"llama", R"("rope_scaling":[1])", Code::kInvalidArgument, "rope_scaling"},
      {"llama", R"("partial_rotary_factor":0.5)", Code::kUnimplemented, "partial_rotary_factor"},
      {"llama", R"("head_dim":5)", Code::kInvalidArgument, "base.head_dim: got 5, want an even number"},
      {"llama", R"("num_key_value_heads":5)", Code::kInvalidArgument,
       "base.num_key_value_heads: got 5, want a divisor"},
      {"llama", R"("quantization_config":{"bits":4})", Code::kUnimplemented, "quantization_config"},
      {"qwen2", R"("layer_types":["full_attention"])", Code::kInvalidArgument, "layer_types: has 1 entries"},
      {"qwen3", R"("num_hidden_layers":1,"layer_types":["sliding_attention"])", Code::kInvalidArgument,
       "sliding_window"},
      {"qwen3", R"("num_hidden_layers":1,"layer_types":["chunked"])", Code::kUnimplemented, "chunked"},
  };
  for (const Case& test : cases) {
    const Status status = ReadBaseConfig(Config(test.model_type, test.more)).status();
    EXPECT_EQ(status.code(), test.code) << test.more << ": " << status.message();
    EXPECT_THAT(status.message(), HasSubstr(test.says));
  }
}

TEST(BaseShapeTest, AZeroEqualsWhatItStandsFor) {
  const BaseShape given = {"llama", 32, 2, 4, 64, 50, 40, 4, 8}, left_out = {"llama", 32, 2, 4, 64, 50, 40};
  EXPECT_EQ(given, left_out);
  EXPECT_FALSE(given == (BaseShape{"llama", 32, 2, 4, 64, 50, 40, 2, 8}));
}

TEST(BaseShapeTest, EncodersHaveNoSharedHeads) {
  EXPECT_THAT(CheckBaseShape({"bert", 32, 2, 4, 64, 50, 40, 2}).message(), HasSubstr("num_key_value_heads: got 2"));
  EXPECT_THAT(CheckBaseShape({"gpt2", 32, 2, 4, 64, 50, 40, 0, 6}).message(), HasSubstr("head_dim: got 6"));
}

}  // namespace
}  // namespace fedpeft
