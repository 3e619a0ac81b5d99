#include "peft/io/adapters_library.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/core/files.h"
#include "tests/support/temp_folder.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// What adapters 1.3.0 writes of a BERT of width 36 for CompacterConfig(reduction_factor=9).
constexpr const char* kTheirs = R"({
  "config": {
    "adapter_residual_before_ln": false,
    "cross_adapter": false,
    "dropout": 0.0,
    "factorized_phm_W": true,
    "factorized_phm_rule": false,
    "hypercomplex_nonlinearity": "glorot-uniform",
    "init_weights": "bert",
    "init_weights_seed": null,
    "inv_adapter": null,
    "inv_adapter_reduction_factor": null,
    "is_parallel": false,
    "learn_phm": true,
    "leave_out": [],
    "ln_after": false,
    "ln_before": false,
    "mh_adapter": true,
    "non_linearity": "gelu",
    "original_ln_after": true,
    "original_ln_before": false,
    "output_adapter": true,
    "phm_bias": true,
    "phm_c_init": "normal",
    "phm_dim": 4,
    "phm_init_range": 0.0001,
    "phm_layer": true,
    "phm_rank": 1,
    "reduction_factor": 9,
    "residual_before_ln": true,
    "scaling": 1.0,
    "shared_W_phm": false,
    "shared_phm_rule": true,
    "stochastic_depth": 0.0,
    "use_gating": false
  },
  "hidden_size": 36,
  "model_class": "BertForSequenceClassification",
  "model_name": "some/base",
  "model_type": "bert",
  "name": "theirs",
  "version": "adapters.1.3.0"
})";
const LibraryModel kBert{"bert", "BertForSequenceClassification", 36, 3};

/// kTheirs with `from` replaced.
std::string With(const std::string& from, const std::string& to) {
  std::string text = kTheirs;
  EXPECT_NE(text.find(from), std::string::npos) << from;
  return text.replace(text.find(from), from.size(), to);
}

AdapterConfig Sample() {
  AdapterConfig config;
  config.peft_type = PeftType::kBottleneck;
  config.base_model_name_or_path = "some/base";
  config.adapter_name = "theirs";
  config.kind = "houlsby";
  config.size = 4;
  config.activation = "gelu";
  config.phm_dim = 4;
  return config;
}

TEST(LibraryConfigTest, IsThatOfTheLibraryByteForByte) {
  EXPECT_EQ(*LibraryConfigToJson(Sample(), kBert), kTheirs);
  const Result<AdapterConfig> read = LibraryConfigFromJson(kTheirs);
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->peft_type, PeftType::kBottleneck);
  EXPECT_EQ(read->adapter_name, "theirs");
  EXPECT_EQ(read->base_model_name_or_path, "some/base");
  EXPECT_EQ(read->model_type, "bert");
  EXPECT_EQ(read->task_type, "SEQ_CLS");
  EXPECT_EQ(read->kind, "houlsby");
  EXPECT_EQ(read->size, 4);
  EXPECT_EQ(read->activation, "gelu");
  EXPECT_EQ(read->scale, 1);
  EXPECT_EQ(read->phm_dim, 4);
  EXPECT_EQ(read->phm_rank, 1);
}

TEST(LibraryConfigTest, EverySizeComesBackAsItWent) {
  AdapterConfig config = Sample();
  config.phm_dim = 0;
  for (const char* kind : {"houlsby", "pfeiffer", "parallel"}) {
    config.kind = kind;
    for (const std::int64_t width : {36, 100, 768}) {
      for (config.size = 1; config.size <= width; ++config.size) {
        const std::string text = *LibraryConfigToJson(config, {"bert", "BertForCausalLM", width, 0});
        const Result<AdapterConfig> read = LibraryConfigFromJson(text);
        ASSERT_TRUE(read.ok()) << read.status().ToString();
        ASSERT_EQ(read->size, config.size) << width;
        EXPECT_EQ(read->kind, kind);
        EXPECT_EQ(read->task_type, "CAUSAL_LM");
        EXPECT_EQ(read->phm_dim, 0);
      }
    }
  }
}

// 36 // 7.2 is 4 in Python, since the float is a little above.
TEST(LibraryConfigTest, SizesAreRoundedAsInPython) {
  const auto size = [](const std::string& factor) {
    return LibraryConfigFromJson(With("\"reduction_factor\": 9", "\"reduction_factor\": " + factor))->size;
  };
  EXPECT_EQ(size("7.2"), 4);
  EXPECT_EQ(size("16"), 2);
  EXPECT_EQ(size("16.0"), 2);
  EXPECT_EQ(size("0.5"), 72);
  EXPECT_EQ(size("1000"), 1);
}

TEST(LibraryConfigTest, WhatIsLeftOutHasTheLibrarysDefaults) {
  const Result<AdapterConfig> read = LibraryConfigFromJson(
      R"({"config":{"mh_adapter":false,"output_adapter":true,"reduction_factor":2,"non_linearity":"Swish",)"
      R"("is_parallel":true,"scaling":4},"hidden_size":8,"model_class":"LlamaForCausalLM","model_type":"llama",)"
      R"("name":"a","version":"3.2.1"})");
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->kind, "parallel");
  EXPECT_EQ(read->activation, "swish");
  EXPECT_EQ(read->scale, 4);
  EXPECT_EQ(read->phm_dim, 0);
  EXPECT_EQ(read->base_model_name_or_path, "");
}

TEST(LibraryConfigTest, WhatMeansSomethingElseIsRefusedByTheSetting) {
  struct Case {
    const char *from, *to, *says;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"\"output_adapter\": true", "\"output_adapter\": false", "config.output_adapter: got false, want true"},
           {"\"mh_adapter\": true", "\"mh_adapter\": false", "config.original_ln_before: got false, want the contrary"},
           {"\"original_ln_before\": false", "\"original_ln_before\": true", "config.original_ln_before: got true"},
           {"\"original_ln_after\": true", "\"original_ln_after\": false", "config.original_ln_after"},
           {"\"is_parallel\": false", "\"is_parallel\": true", "config.mh_adapter: got true, want false"},
           {"\"is_parallel\": false", "\"is_parallel\": 1", "config.is_parallel: got 1, want true or false"},
           {"\"residual_before_ln\": true", "\"residual_before_ln\": \"post_add\"", "config.residual_before_ln"},
           {"\"ln_before\": false", "\"ln_before\": true", "config.ln_before: got true, want false"},
           {"\"ln_after\": false", "\"ln_after\": true", "config.ln_after"},
           {"\"use_gating\": false", "\"use_gating\": true", "config.use_gating"},
           {"\"inv_adapter\": null", "\"inv_adapter\": \"nice\"", "config.inv_adapter: got \"nice\""},
           {"\"cross_adapter\": false", "\"cross_adapter\": true", "config.cross_adapter"},
           {"\"leave_out\": []", "\"leave_out\": [3]", "config.leave_out: got [3]"},
           {"\"reduction_factor\": 9", "\"reduction_factor\": {\"default\": 9}", "one positive number for all layers"},
           {"\"reduction_factor\": 9", "\"reduction_factor\": 0", "config.reduction_factor: got 0"},
           {"\"reduction_factor\": 9", "\"reduction_factor\": 1e-300", "want a larger one"},
           {"\"scaling\": 1.0", "\"scaling\": \"learned\"", "config.scaling: got \"learned\", want a number"},
           {"\"non_linearity\": \"gelu\"", "\"non_linearity\": null", "config.non_linearity"},
           {"\"phm_layer\": true", "\"phm_layer\": \"yes\"", "config.phm_layer"},
           {"\"phm_bias\": true", "\"phm_bias\": false", "config.phm_bias: got false, want true"},
           {"\"shared_W_phm\": false", "\"shared_W_phm\": true", "config.shared_W_phm"},
           {"\"shared_phm_rule\": true", "\"shared_phm_rule\": false", "config.shared_phm_rule"},
           {"\"factorized_phm_W\": true", "\"factorized_phm_W\": false", "config.factorized_phm_W"},
           {"\"factorized_phm_rule\": false", "\"factorized_phm_rule\": true", "config.factorized_phm_rule"},
           {"\"use_gating\": false", "\"use_new_thing\": 3", "has a setting \"use_new_thing\""},
           {"\"use_gating\": false", "\"architecture\": \"lora\"", "config.architecture: got \"lora\""},
           {"BertForSequenceClassification", "BertAdapterModel", "model_class: got \"BertAdapterModel\""},
           {"\"version\"", "\"verse\"", "version: is missing"}}) {
    const Status status = LibraryConfigFromJson(With(c.from, c.to)).status();
    EXPECT_EQ(status.code(), Code::kUnimplemented) << c.to << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(c.says));
  }
}

TEST(LibraryConfigTest, MalformedOnesAreRefused) {
  struct Case {
    const char *from, *to, *says;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"\"phm_dim\": 4", "\"phm_dim\": 0", "config.phm_dim: want a whole number from 1"},
           {"\"phm_dim\": 4", "\"phm_dim\": 18446744073709551615", "config.phm_dim"},
           {"\"phm_rank\": 1", "\"phm_rank\": 1.5", "config.phm_rank"},
           {"\"hidden_size\": 36", "\"hidden_size\": null", "hidden_size: want a whole number"},
           {"\"hidden_size\": 36", "\"hidden_size\": 1152921504606846976", "hidden_size"},
           {"\"model_type\": \"bert\"", "\"model_type\": 7", "model_type: is missing, or no text"},
           {"\"name\": \"theirs\"", "\"name\": \"\"", "name: is empty"},
           {"\"name\": \"theirs\"", "\"nome\": \"x\"", "name: is missing"}}) {
    const Status status = LibraryConfigFromJson(With(c.from, c.to)).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << c.to << ": " << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr(c.says));
  }
  for (std::size_t size = 0; size + 1 < std::string_view(kTheirs).size(); ++size) {
    EXPECT_FALSE(LibraryConfigFromJson(std::string_view(kTheirs).substr(0, size)).ok()) << size;
  }
  EXPECT_THAT(LibraryConfigFromJson(R"({"config":[],"name":"a","version":"1","model_type":"bert",)"
                                    R"("model_class":"BertForCausalLM"})")
                  .status()
                  .message(),
              HasSubstr("config: is not an object"));
}

class LibraryFolderTest : public ::testing::Test {
 protected:
  Status Write(const AdapterConfig& config) {
    const std::vector<TensorView> adapter = {FloatView("a.adapters.theirs.adapter_up.b", {4}, values_)};
    const std::vector<TensorView> head = {FloatView("classifier.weight", {2, 2}, values_)};
    return WriteLibraryFolder(folder_.path(), config, kBert, adapter, head, {{"fedpeft.round", "3"}});
  }
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_.File(name), AsBytes(text)).ok());
  }
  Result<AdapterFolder> Read() { return ReadAdapterFolder(folder_.path()); }
  const std::vector<float> values_ = {1, 2, 3, 4};
  testing::TempFolder folder_;
};

TEST_F(LibraryFolderTest, AdapterAndHeadComeBackAsOne) {
  AdapterConfig config = Sample();
  config.labels = {"no", "yes", "a \"third\""};
  ASSERT_TRUE(Write(config).ok());
  EXPECT_EQ(*ReadFile(folder_.File("head_config.json"), 1 << 20), R"({
  "config": null,
  "hidden_size": 36,
  "label2id": {
    "a \"third\"": 2,
    "no": 0,
    "yes": 1
  },
  "model_class": "BertForSequenceClassification",
  "model_name": "some/base",
  "model_type": "bert",
  "name": null,
  "num_labels": 3,
  "version": "adapters.1.3.0"
})");
  const Result<AdapterFolder> read = Read();
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->config.labels, config.labels);
  EXPECT_EQ(read->file.tensors().size(), 2u);
  EXPECT_EQ(read->file.metadata().at("fedpeft.round"), "3");
  std::vector<float> again(4);
  ASSERT_TRUE(CopyFloats(read->file.tensors().at("classifier.weight"), again).ok());
  EXPECT_EQ(again, values_);
}

TEST_F(LibraryFolderTest, LabelsOfTransformersOwnAreNoNames) {
  ASSERT_TRUE(Write(Sample()).ok());
  EXPECT_THAT(Read()->config.labels, IsEmpty());
  Put("head_config.json", R"({"label2id":{"x":0}})");  // a regression's
  EXPECT_THAT(Read()->config.labels, IsEmpty());
  Put("head_config.json", R"({"label2id":{"x":1,"y":0}})");
  EXPECT_THAT(Read()->config.labels, ElementsAre("y", "x"));
  for (const char* text : {"{", R"({"label2id":{"x":0,"y":0}})", R"({"label2id":{"x":0,"y":2}})",
                           R"({"label2id":{"x":-1,"y":0}})", R"({"label2id":{"x":"0"}})", R"({"label2id":["x"]})"}) {
    Put("head_config.json", text);
    EXPECT_EQ(Read().status().code(), Code::kInvalidArgument) << text;
    EXPECT_THAT(Read().status().message(), HasSubstr("head_config.json"));
  }
}

TEST_F(LibraryFolderTest, PicklesAndDamageAreRefusedByFile) {
  ASSERT_TRUE(Write(Sample()).ok());
  const std::string weights = *ReadFile(folder_.File("adapter.safetensors"), 1 << 20);
  Put("model_head.safetensors", weights);
  EXPECT_THAT(Read().status().message(), HasSubstr("model_head.safetensors: tensor \"a.adapters.theirs.adapter_up.b\" "
                                                   "is in another file too"));
  Put("model_head.safetensors", weights.substr(0, weights.size() - 1));
  EXPECT_THAT(Read().status().message(), HasSubstr("model_head.safetensors"));
  EXPECT_EQ(ReadAdapterFolder(folder_.path(), 100).status().code(), Code::kResourceExhausted);
  testing::TempFolder other;
  ASSERT_TRUE(WriteFileAtomically(other.File("adapter_config.json"), AsBytes(std::string_view(kTheirs))).ok());
  EXPECT_EQ(ReadAdapterFolder(other.path()).status().code(), Code::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(other.File("pytorch_adapter.bin"), AsBytes(weights)).ok());
  const Status pickle = ReadAdapterFolder(other.path()).status();
  EXPECT_EQ(pickle.code(), Code::kUnimplemented);
  EXPECT_THAT(pickle.message(), HasSubstr("pytorch_adapter.bin: is a pickle"));
  EXPECT_THAT(pickle.message(), HasSubstr("use_safetensors=True"));
  ASSERT_TRUE(WriteFileAtomically(other.File("adapter.safetensors"), AsBytes(weights)).ok());
  ASSERT_TRUE(WriteFileAtomically(other.File("pytorch_model_head.bin"), AsBytes(weights)).ok());
  EXPECT_THAT(ReadAdapterFolder(other.path()).status().message(), HasSubstr("pytorch_model_head.bin: is a pickle"));
}

}  // namespace
}  // namespace fedpeft
