#include "peft/method/language_model.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "peft/model/load.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft {
namespace {

class LanguageModelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string config = testing::TinyDecoderConfig("llama", 2, R"(, "tie_word_embeddings": true)");
    ASSERT_TRUE(testing::WriteTinyDecoder(folder_.path(), config).ok());
    auto base = LoadBaseModel(folder_.path(), BaseDtype::kFloat32);
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_ = *base;
    plan_.base = base_->shape();
    layout_ = PlanLayout(plan_).value();
    batch_ = Pack(std::vector<TokenSequence>{{a_, {}}, {b_, {}}, {c_, {}}}, base_->limits()).value();
  }
  /// All tensors random, none zero.
  ParamVector RandomParams() const {
    ParamVector params(layout_);
    RandomStream stream(3, "params");
    for (float& value : params.values()) value = static_cast<float>(0.3 * stream.NextNormal());
    return params;
  }
  static std::vector<std::int64_t> Values(const torch::Tensor& tensor) {
    const auto* data = tensor.const_data_ptr<std::int64_t>();
    return {data, data + tensor.numel()};
  }

  testing::TempFolder folder_;
  PeftPlan plan_;
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
  const std::vector<std::int32_t> a_ = {2, 7, 9, 3}, b_ = {2, 5, 3, 8, 8, 3}, c_ = {2};
  PackedBatch batch_;
};

TEST_F(LanguageModelTest, EveryTokenButPromptsAndFirstOnesIsPredictedByTheOneBefore) {
  const NextTokens next = NextTokensOf(batch_, std::vector<std::int64_t>{0, 4, 0});
  EXPECT_EQ(Values(next.ids), (std::vector<std::int64_t>{7, 9, 3, 8, 3}));
  EXPECT_EQ(Values(batch_.ids.index_select(0, next.rows)), (std::vector<std::int64_t>{2, 7, 9, 8, 8}));
  EXPECT_TRUE(Values(NextTokensOf(batch_, std::vector<std::int64_t>{4, 9, 0}).ids).empty());
}

TEST_F(LanguageModelTest, LossByPiecesIsTheLossWithItsGradients) {
  const NextTokens next = NextTokensOf(batch_, std::vector<std::int64_t>{0, 0, 0});
  const ParamVector params = RandomParams();
  const auto gradients = [&](std::int64_t scores_at_once, double& loss) {
    ParamVector grads(layout_), values = params.Clone();
    const BoundParams bound(values, grads, PlanView(plan_, *layout_));
    const PeftLanguageModel model(*base_, plan_, *layout_, bound);
    const torch::Tensor hidden = model.Hidden(batch_, next.rows);
    const torch::Tensor mean = scores_at_once == 0 ? torch::cross_entropy_loss(model.Scores(hidden), next.ids)
                                                   : model.MeanLoss(hidden, next.ids, scores_at_once);
    loss = mean.item<float>();
    mean.backward();
    return grads;
  };
  double whole_loss = 0;
  const ParamVector whole = gradients(0, whole_loss);
  for (const std::int64_t scores_at_once : {1, 150, 1000}) {  // one row, three rows, all rows
    double loss = 0;
    const ParamVector pieces = gradients(scores_at_once, loss);
    EXPECT_NEAR(loss, whole_loss, 1e-5);
    for (std::size_t i = 0; i < layout_->size(); ++i) {
      ASSERT_NEAR(pieces.values()[i], whole.values()[i], 1e-5 * (1 + std::abs(whole.values()[i])));
    }
    const torch::NoGradGuard no_grad;
    const BoundParams bound(params);
    const PeftLanguageModel model(*base_, plan_, *layout_, bound);
    const torch::Tensor hidden = model.Hidden(batch_, next.rows);
    const PeftLanguageModel::Answers answers = model.Judge(hidden, next.ids, scores_at_once);
    EXPECT_NEAR(answers.loss, whole_loss * static_cast<double>(next.ids.numel()), 1e-4);
    EXPECT_EQ(answers.correct, model.Scores(hidden).argmax(1).eq(next.ids).sum().item<std::int64_t>());
  }
}

TEST_F(LanguageModelTest, LossOfAHalfPreciseBaseIsNotRounded) {
  base_ = LoadBaseModel(folder_.path(), BaseDtype::kBfloat16).value();
  const NextTokens next = NextTokensOf(batch_, std::vector<std::int64_t>{0, 0, 0});
  const ParamVector params = RandomParams();
  const torch::NoGradGuard no_grad;
  const BoundParams bound(params);
  const PeftLanguageModel model(*base_, plan_, *layout_, bound);
  const torch::Tensor hidden = model.Hidden(batch_, next.rows);
  const double sum = model.Judge(hidden, next.ids).loss;
  const torch::AutoGradMode with_gradients(true);
  EXPECT_NEAR(model.MeanLoss(hidden, next.ids).item<float>(), sum / static_cast<double>(next.ids.numel()), 1e-5);
}

}  // namespace
}  // namespace fedpeft
