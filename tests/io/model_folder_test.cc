#include "peft/io/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "peft/core/files.h"
#include "tests/support/temp_folder.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Key;

const std::vector<float> kWeights = {1, 2, 3, 4};

TensorView Tensor(const std::string& name, float first = 1) {
  return FloatView(name, {2}, std::span(kWeights).subspan(static_cast<std::size_t>(first) - 1, 2));
}

/// A model folder in the making.
class ModelFolderTest : public ::testing::Test {
 protected:
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(folder_.File(name), AsBytes(text)).ok());
  }
  void PutTensors(const std::string& name, const std::vector<TensorView>& tensors, const StringMap& metadata = {}) {
    ASSERT_TRUE(WriteSafetensors(folder_.File(name), tensors, metadata).ok());
  }
  void PutConfig(const std::string& more = "") { Put("config.json", R"({"model_type":"bert")" + more + "}"); }
  void PutIndex(const std::string& weight_map) {
    Put("model.safetensors.index.json", R"({"metadata":{"total_size":16},"weight_map":)" + weight_map + "}");
  }
  void PutShards() {
    PutIndex(R"({"bert.a":"1.safetensors","bert.b":"2.safetensors"})");
    PutTensors("1.safetensors", {Tensor("bert.a", 1)});
    PutTensors("2.safetensors", {Tensor("bert.b", 2)});
  }
  void Remove(const std::string& name) { std::filesystem::remove(folder_.File(name)); }

  Result<ModelFolder> Open() { return ModelFolder::Open(folder_.path()); }
  std::string Error() { return Open().status().ToString(); }
  std::string Hash() {
    const Result<ModelFolder> model = Open();
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return Hex(model->BaseHash());
  }

  testing::TempFolder folder_;
};

TEST_F(ModelFolderTest, OpensASingleFile) {
  PutConfig();
  PutTensors("model.safetensors", {Tensor("bert.b", 2), Tensor("bert.a", 1), Tensor("classifier.bias", 3)});
  const Result<ModelFolder> model = Open();
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_THAT(model->tensors(), ElementsAre(Key("bert.a"), Key("bert.b"), Key("classifier.bias")));
  EXPECT_EQ(model->model_type(), "bert");
  EXPECT_EQ(model->config_json(), R"({"model_type":"bert"})");
  EXPECT_EQ(model->TokenizerPath(), folder_.File("tokenizer.json"));
  std::vector<float> values(2);
  ASSERT_TRUE(CopyFloats(*model->Find("bert.b", {2}), values).ok());
  EXPECT_THAT(values, ElementsAre(2, 3));
  EXPECT_THAT(model->Find("bert.c", {2}).status().message(), HasSubstr("has no tensor \"bert.c\""));
  EXPECT_THAT(model->Find("bert.b", {3}).status().message(), HasSubstr("has shape [2], want [3]"));
}

TEST_F(ModelFolderTest, NamesArePrefixedModernisedAndRidOfBuffers) {
  PutConfig();
  PutTensors("model.safetensors", {Tensor("embeddings.LayerNorm.gamma"), Tensor("embeddings.LayerNorm.beta"),
                                   Tensor("embeddings.position_ids"), Tensor("h.0.attn.bias"), Tensor("my_attn.bias")});
  const Result<ModelFolder> model = Open();
  ASSERT_TRUE(model.ok()) << model.status().ToString();
  EXPECT_THAT(model->tensors(), ElementsAre(Key("bert.embeddings.LayerNorm.bias"),
                                            Key("bert.embeddings.LayerNorm.weight"), Key("bert.my_attn.bias")));
  EXPECT_EQ(model->tensors().at("bert.embeddings.LayerNorm.weight").name, "embeddings.LayerNorm.gamma");
}

TEST_F(ModelFolderTest, TwoSpellingsOfOneTensorAreRefused) {
  PutConfig();
  PutTensors("model.safetensors", {Tensor("LayerNorm.gamma"), Tensor("LayerNorm.weight")});
  EXPECT_THAT(Error(), HasSubstr("are both \"bert.LayerNorm.weight\""));
}

TEST_F(ModelFolderTest, HashIsThatOfTheContentNotOfItsPackaging) {
  PutConfig();
  PutTensors("model.safetensors", {Tensor("bert.a", 1), Tensor("bert.b", 2)});
  const std::string hash = Hash();
  PutTensors("model.safetensors", {Tensor("a", 1), Tensor("b", 2)}, {{"made", "by somebody else entirely"}});
  EXPECT_EQ(Hash(), hash);
  PutConfig(R"(,  "transformers_version":"4.8.2","id2label":{"0":"no"})");
  EXPECT_EQ(Hash(), hash);
  Remove("model.safetensors");
  PutShards();
  EXPECT_EQ(Hash(), hash);
}

TEST_F(ModelFolderTest, HashChangesWithNameShapeDtypeValueAndArithmetic) {
  PutConfig();
  std::vector<std::string> hashes;
  const auto add = [&](const TensorView& tensor) {
    PutTensors("model.safetensors", {tensor});
    hashes.push_back(Hash());
  };
  TensorView x = Tensor("bert.a", 1);
  add(x);
  add(Tensor("bert.b", 1));
  add(Tensor("bert.a", 2));
  x.shape = {2, 1};
  add(x);
  x.dtype = Dtype::kI32;
  add(x);
  PutConfig(R"(,"layer_norm_eps":1e-5)");
  add(x);
  std::sort(hashes.begin(), hashes.end());
  EXPECT_EQ(std::unique(hashes.begin(), hashes.end()), hashes.end());
}

// The definition in the header, computed by an independent Python program, so that other programs can make the hash.
TEST_F(ModelFolderTest, HashIsTheDocumentedOne) {
  PutConfig(R"(,"use_cache":true,"hidden_size":2)");
  PutTensors("model.safetensors", {Tensor("a", 1), Tensor("b", 2)});
  EXPECT_EQ(Hash(), "646405c92861ec527442b0d6b86e8d662198d0bb9f80350e634ecc6ff1954c86");
}

TEST_F(ModelFolderTest, ShardsThatDisagreeWithTheIndexAreRefused) {
  PutConfig();
  PutShards();
  ASSERT_TRUE(Open().ok()) << Error();
  PutTensors("2.safetensors", {Tensor("bert.b"), Tensor("bert.a")});
  EXPECT_THAT(Error(), HasSubstr("2.safetensors: holds tensor \"bert.a\", which the index does not place there"));
  PutTensors("2.safetensors", {Tensor("bert.b"), Tensor("bert.c")});
  EXPECT_THAT(Error(), HasSubstr("holds tensor \"bert.c\""));
  PutTensors("2.safetensors", {});
  EXPECT_THAT(Error(), HasSubstr("has 0 tensors, want the 1"));
  Remove("2.safetensors");
  EXPECT_THAT(Error(), HasSubstr("NOT_FOUND"));
}

TEST_F(ModelFolderTest, MalformedIndexIsRefused) {
  PutConfig();
  for (const char* name : {"../x", "a/b", "a\\\\b", "..", "", "/etc/passwd"}) {
    PutIndex(R"({"bert.a":")" + std::string(name) + "\"}");
    EXPECT_THAT(Error(), HasSubstr("want a plain file name")) << name;
  }
  PutIndex(R"({"bert.a":1})");
  EXPECT_THAT(Error(), HasSubstr("want a plain file name"));
  PutIndex("[]");
  EXPECT_THAT(Error(), HasSubstr("no weight_map"));
  PutIndex(R"({"bert.a":"1.safetensors","bert.a":"1.safetensors"})");
  EXPECT_THAT(Error(), HasSubstr("occurs twice"));
}

TEST_F(ModelFolderTest, MalformedConfigIsRefused) {
  PutTensors("model.safetensors", {Tensor("a")});
  EXPECT_THAT(Error(), HasSubstr("NOT_FOUND"));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not a JSON object"},
      {"[]", "not a JSON object"},
      {"{}", "no model_type"},
      {R"({"model_type":1})", "no model_type"},
      {R"({"model_type":"bert","model_type":"bert"})", "occurs twice"},
      {R"({"model_type":"bert","x":)" + std::string(10'000, '[') + std::string(10'000, ']') + "}", "nests deeper"},
      {R"({"model_type":"bert"}x)", "not a JSON object"},
      {std::string("{\"model_type\":\"bert\"}\0", 22), "NUL"},
      {std::string((1 << 20) + 1, ' '), "RESOURCE_EXHAUSTED"},
  };
  for (const auto& [config, error] : cases) {
    Put("config.json", config);
    EXPECT_THAT(Error(), HasSubstr(error)) << config.substr(0, 80);
  }
}

TEST_F(ModelFolderTest, PickledWeightsAreRefusedWithTheWayOut) {
  PutConfig();
  EXPECT_THAT(Error(), HasSubstr("NOT_FOUND"));
  Put("pytorch_model.bin", "anything");
  EXPECT_THAT(Error(), HasSubstr("UNIMPLEMENTED"));
  EXPECT_THAT(Error(), HasSubstr("save_pretrained"));
}

}  // namespace
}  // namespace fedpeft
