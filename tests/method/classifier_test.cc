#include "peft/method/classifier.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "peft/model/load.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"

namespace fedpeft {
namespace {

class ClassifierTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::WriteTinyBert(folder_.path()).ok());
    auto base = LoadBaseModel(folder_.path(), BaseDtype::kFloat32);
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_ = *base;
    auto layout = PlanLayout(plan_);
    ASSERT_TRUE(layout.ok()) << layout.status().ToString();
    layout_ = *layout;
    auto batch = Pack(std::vector<TokenSequence>{{a_, {}}, {b_, types_}, {c_, {}}}, base_->limits());
    ASSERT_TRUE(batch.ok()) << batch.status().ToString();
    batch_ = *batch;
  }

  /// All tensors random, none zero.
  ParamVector RandomParams() const {
    ParamVector params(layout_);
    RandomStream stream(3, "params");
    for (float& value : params.values()) value = static_cast<float>(0.3 * stream.NextNormal());
    return params;
  }

  double Loss(const ParamVector& params) const {
    const torch::NoGradGuard no_grad;
    const BoundParams bound(params);
    return Loss(bound).item<float>();
  }
  torch::Tensor Loss(const BoundParams& bound) const {
    const torch::Tensor logits = PeftClassifier(*base_, plan_, *layout_, bound).Logits(batch_);
    return torch::cross_entropy_loss(logits, torch::tensor({2, 0, 1}, torch::kInt64));
  }

  testing::TempFolder folder_;
  PeftPlan plan_ = testing::TinyPlan();
  std::shared_ptr<const BaseModel> base_;
  std::shared_ptr<const ParamLayout> layout_;
  const std::vector<std::int32_t> a_ = {2, 7, 9, 3}, b_ = {2, 5, 3, 8, 8, 3}, c_ = {2}, types_ = {0, 0, 0, 1, 1, 1};
  PackedBatch batch_;
};

TEST_F(ClassifierTest, ZeroBGivesTheBaseExactly) {
  ParamVector params = RandomParams();
  for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
    if (layout_->tensors()[i].role == Role::kLoraB) std::ranges::fill(params.tensor(i), 0.0f);
  }
  const torch::NoGradGuard no_grad;
  const BoundParams bound(params);
  const std::size_t head = layout_->tensors().size() - 2;
  const torch::Tensor logits = PeftClassifier(*base_, plan_, *layout_, bound).Logits(batch_);
  const torch::Tensor pooled = base_->Pool(batch_, SiteHook(), {});
  EXPECT_TRUE(torch::equal(logits, torch::linear(pooled, bound.tensors()[head], bound.tensors()[head + 1])));
}

TEST_F(ClassifierTest, GradientsEqualFiniteDifferences) {
  ParamVector params = RandomParams(), grads(layout_);
  const BoundParams bound(params, grads, PlanView(plan_, *layout_));
  Loss(bound).backward();
  for (std::size_t i = 0; i < layout_->tensors().size(); ++i) {
    // Along the gradient itself, where the difference is largest: (f(x + hg) − f(x − hg)) / 2h = |g|².
    const std::span<const float> g = grads.tensor(i);
    double square = 0;
    for (const float value : g) square += static_cast<double>(value) * value;
    ASSERT_GT(square, 0) << layout_->tensors()[i].name;
    const double h = 1e-3 / std::sqrt(square);
    const auto moved = [&](double by) {
      ParamVector other = params.Clone();
      for (std::size_t k = 0; k < g.size(); ++k) other.tensor(i)[k] += static_cast<float>(by * g[k]);
      return Loss(other);
    };
    // A step of length 0.001 changes the loss by 1e3 to 1e4 of its float32 roundings; curvature is the rest.
    EXPECT_NEAR((moved(h) - moved(-h)) / (2 * h), square, 0.02 * square + 1e-6) << layout_->tensors()[i].name;
  }
}

TEST_F(ClassifierTest, AFrozenHeadGetsNoGradient) {
  plan_.head = HeadPolicy::kFrozen;
  ParamVector params = RandomParams(), grads(layout_);
  const BoundParams bound(params, grads, PlanView(plan_, *layout_));
  Loss(bound).backward();
  for (const float value : grads.tensor(layout_->tensors().size() - 2)) EXPECT_EQ(value, 0);
  EXPECT_NE(grads.tensor(1)[0], 0);
}

TEST_F(ClassifierTest, GradientsLandInTheirVectorAndTheBaseHasNone) {
  ParamVector params = RandomParams(), grads(layout_);
  const BoundParams bound(params, grads, PlanView(plan_, *layout_));
  Loss(bound).backward();
  EXPECT_EQ(bound.tensors()[0].grad().data_ptr(), grads.tensor(0).data());
  EXPECT_EQ(bound.tensors()[0].data_ptr(), params.tensor(0).data());
}

}  // namespace
}  // namespace fedpeft
