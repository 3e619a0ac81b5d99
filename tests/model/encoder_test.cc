#include "peft/model/encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "peft/model/base_model.h"
#include "peft/model/fastest.h"
#include "peft/model/load.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"

namespace fedpeft {
namespace {

using ::testing::HasSubstr;
using Texts = std::vector<std::vector<std::int32_t>>;

std::shared_ptr<const BaseModel> LoadTiny(BaseDtype dtype = BaseDtype::kFloat32) {
  const testing::TempFolder folder;
  EXPECT_TRUE(testing::WriteTinyBert(folder.path()).ok());
  auto base = LoadBaseModel(folder.path(), dtype);
  EXPECT_TRUE(base.ok()) << base.status().ToString();
  return std::move(base).value();
}

Status LoadStatus(const std::string& extra, const std::string& left_out = "") {
  const testing::TempFolder folder;
  EXPECT_TRUE(testing::WriteTinyBert(folder.path(), extra, left_out).ok());
  return LoadBaseModel(folder.path(), BaseDtype::kFloat32).status();
}

torch::Tensor Pool(const BaseModel& base, const Texts& texts, const ForwardMode& mode = {}) {
  const torch::NoGradGuard no_grad;
  std::vector<TokenSequence> sequences;
  for (const auto& text : texts) sequences.push_back({text, {}});
  const auto batch = Pack(sequences, base.limits());
  EXPECT_TRUE(batch.ok()) << batch.status().ToString();
  return base.Pool(*batch, SiteHook(), mode);
}

/// Lengths 1 to 40, in no order, several alike.
Texts MixedTexts() {
  Texts texts;
  for (const int length : {7, 1, 40, 7, 12, 13, 2, 30, 7, 33}) {
    texts.emplace_back();
    for (int t = 0; t < length; ++t) texts.back().push_back((length * 7 + t * 3) % 50);
  }
  return texts;
}

TEST(EncoderTest, PackedEqualsOneByOne) {
  const auto base = LoadTiny();
  const Texts texts = MixedTexts();
  const torch::Tensor together = Pool(*base, texts);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const torch::Tensor alone = Pool(*base, {texts[i]});
    // Sums of 32 to 64 float32 terms in another order.
    EXPECT_TRUE(torch::allclose(together[static_cast<std::int64_t>(i)], alone[0], 1e-5, 1e-5)) << i;
  }
}

TEST(EncoderTest, Bfloat16IsNearFloat32) {
  const torch::Tensor exact = Pool(*LoadTiny(), MixedTexts());
  const torch::Tensor narrow = Pool(*LoadTiny(BaseDtype::kBfloat16), MixedTexts());
  EXPECT_EQ(narrow.scalar_type(), torch::kBFloat16);
  // tanh outputs; 8 bits of mantissa through two layers.
  EXPECT_LT((exact - narrow.to(torch::kFloat32)).abs().mean().item<float>(), 0.03);
}

TEST(EncoderTest, Int8IsNearFloat32) {
  if (!Int8IsExact()) GTEST_SKIP() << "this processor's products of bytes are not exact";
  const torch::Tensor exact = Pool(*LoadTiny(), MixedTexts());
  const torch::Tensor bytes = Pool(*LoadTiny(BaseDtype::kInt8), MixedTexts());
  EXPECT_EQ(bytes.scalar_type(), torch::kFloat32);
  EXPECT_FALSE(torch::equal(exact, bytes));
  EXPECT_LT((exact - bytes).abs().mean().item<float>(), 0.015);
  const double error = Int8Error(*LoadTiny(), *LoadTiny(BaseDtype::kInt8));
  EXPECT_GT(error, 0);
  EXPECT_LT(error, 0.03);
}

TEST(EncoderTest, TheFastestBaseIsTheBaseInAFormat) {
  const testing::TempFolder folder;
  ASSERT_TRUE(testing::WriteTinyBert(folder.path()).ok());
  const auto fastest = LoadFastestBase(folder.path());
  ASSERT_TRUE(fastest.ok()) << fastest.status().ToString();
  EXPECT_EQ(fastest->dtype, fastest->times.Fastest());
  EXPECT_TRUE(torch::equal(Pool(*fastest->model, MixedTexts()), Pool(*LoadTiny(fastest->dtype), MixedTexts())));
  EXPECT_EQ(LoadFastestBase(folder.path() + "/none").status().code(),
            LoadBaseModel(folder.path() + "/none", BaseDtype::kFloat32).status().code());
}

TEST(EncoderTest, DropoutDrawsFromTheGivenGenerator) {
  const auto base = LoadTiny();
  const auto run = [&](std::uint64_t seed) {
    return Pool(*base, MixedTexts(), {0.2, 0, at::detail::createCPUGenerator(seed)});
  };
  EXPECT_TRUE(torch::equal(run(1), run(1)));
  EXPECT_FALSE(torch::equal(run(1), run(2)));
}

TEST(EncoderTest, RefusesSettingsThatAreNotBuiltIn) {
  EXPECT_THAT(LoadStatus(R"(, "hidden_act": "mish")").message(), HasSubstr("hidden_act: activation: got \"mish\""));
  EXPECT_THAT(LoadStatus(R"(, "position_embedding_type": "relative_key")").message(), HasSubstr("relative_key"));
  EXPECT_THAT(LoadStatus(R"(, "layer_norm_eps": "small")").message(), HasSubstr("layer_norm_eps"));
  EXPECT_TRUE(LoadStatus(R"(, "layer_norm_eps": 1e-5, "hidden_act": "gelu_new")").ok());
}

TEST(EncoderTest, RefusesATensorOfAnotherShapeBeforeMakingOne) {
  const testing::TempFolder folder;
  ASSERT_TRUE(testing::WriteTinyBert(folder.path()).ok());
  const auto config = ReadFile(folder.File("config.json"), 1 << 20);
  ASSERT_TRUE(config.ok());
  std::string larger = *config;
  larger.replace(larger.find("\"vocab_size\": 50"), 16, "\"vocab_size\": 4000000");
  ASSERT_TRUE(WriteFileAtomically(folder.File("config.json"), AsBytes(larger)).ok());
  EXPECT_THAT(LoadBaseModel(folder.path(), BaseDtype::kBfloat16).status().message(),
              HasSubstr("has shape [50,32], want [4000000,32]"));
}

TEST(EncoderTest, NamesAMissingTensor) {
  const Status status = LoadStatus("", "encoder.layer.1.attention.self.key.bias");
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("encoder.layer.1.attention.self.key.bias"));
}

}  // namespace
}  // namespace fedpeft
