// D10: gradients of single examples, from one pass of a batch, are those of a pass for each example.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>

#include "peft/method/bound_params.h"
#include "peft/method/classifier.h"
#include "peft/method/hook.h"
#include "peft/method/language_model.h"
#include "peft/method/optimizer.h"
#include "peft/model/load.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft {
namespace {

using Ids = std::vector<std::int32_t>;
using torch::Tensor;

/// An example is some texts. Lengths of which some stand side by side in attention, and one does not.
using Examples = std::vector<std::vector<Ids>>;
const Examples kSingle = {
    {{2, 7, 9, 3}}, {{2, 5, 3, 8, 8, 3}}, {{2}}, {{4, 1, 9, 20, 4, 4, 8, 3, 2, 9, 17, 3, 30, 40}}};
const Examples kPacked = {{{2, 7, 9, 3}, {5, 3, 8}}, {{9, 9, 2, 31, 8, 3}}, {{2, 30}, {7, 7, 7, 1, 9}, {4, 8}}};

struct Supported {
  const char* name;
  MethodConfig config;
};

std::vector<Supported> SupportedMethods(bool has_biases) {
  using Kind = BottleneckConfig::Kind;
  std::vector<Supported> methods = {
      {"lora", LoraConfig{.rank = 4, .target_modules = {"all-linear"}}},
      {"dora", LoraConfig{.rank = 4, .target_modules = {"all-linear"}, .use_dora = true}},
      {"adalora", AdaLoraConfig{.lora = {.rank = 4, .alpha = 8, .target_modules = {"all-linear"}}, .target_rank = 2}},
      {"ia3", Ia3Config{}},
      {"houlsby", BottleneckConfig{.size = 5}},
      {"pfeiffer", BottleneckConfig{.kind = Kind::kPfeiffer, .size = 5}},
      {"parallel", BottleneckConfig{.kind = Kind::kParallel, .size = 5, .scale = 4}},
      {"prefix", PrefixConfig{3}},
      {"prompt", PromptConfig{3}},
      {"prompt from a text", PromptConfig{.length = 3, .start = PromptConfig::Start::kText, .ids = {4, 8, 15}}},
      {"norms", OffsetConfig{OffsetConfig::What::kNorms}}};
  if (has_biases) methods.push_back({"bitfit", OffsetConfig{OffsetConfig::What::kBiases}});
  return methods;
}

class ExampleGradientsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string tied = R"(, "tie_word_embeddings": true, "sliding_window": null)";
    const testing::TempFolder bert;
    ASSERT_TRUE(testing::WriteTinyBert(bert.path()).ok());
    bases_.push_back(LoadBaseModel(bert.path(), BaseDtype::kFloat32).value());
    for (const char* family : {"mistral", "qwen3"}) {  // qwen3 has norms of heads
      const testing::TempFolder folder;
      ASSERT_TRUE(testing::WriteTinyDecoder(folder.path(), testing::TinyDecoderConfig(family, 2, tied)).ok());
      bases_.push_back(LoadBaseModel(folder.path(), BaseDtype::kFloat32).value());
    }
  }

  static void FillRandomly(ParamVector& params) {
    RandomStream stream(3, "params");
    for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
      const Role role = params.layout()->tensors()[i].role;
      const double mean = role == Role::kScale ? 1 : 0;
      for (float& value : params.tensor(i)) value = static_cast<float>(mean + 0.2 * stream.NextNormal());
    }
  }

  struct Case {
    const BaseModel& base;
    PeftPlan plan;
    std::shared_ptr<const ParamLayout> layout;
    ViewSpec view;
  };
  /// The sum of the examples' losses: of a classifier's class i mod 3, of a language model the mean over its tokens.
  static Tensor Loss(const Case& c, const BoundParams& bound, const Examples& examples, std::size_t first) {
    std::vector<TokenSequence> sequences;
    std::vector<float> weights;
    for (const std::vector<Ids>& texts : examples) {
      std::size_t targets = 0;
      for (const Ids& text : texts) {
        sequences.push_back({text, {}});
        targets += text.size() - (LeadOf(c.plan.method).prompt > 0 ? 0 : 1);
      }
      weights.insert(weights.end(), targets, 1 / static_cast<float>(targets));
    }
    const PackedBatch batch = Pack(sequences, c.base.limits(), LeadOf(c.plan.method)).value();
    if (c.plan.labels > 0) {
      const Tensor labels = (torch::arange(static_cast<std::int64_t>(examples.size())) + static_cast<int>(first)) % 3;
      const Tensor logits = PeftClassifier(c.base, c.plan, *c.layout, bound).Logits(batch);
      return torch::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum);
    }
    const PeftLanguageModel model(c.base, c.plan, *c.layout, bound);
    const NextTokens next = NextTokensOf(batch, std::vector<std::int64_t>(sequences.size(), 0));
    return model.WeightedLoss(model.Hidden(batch, next.rows), next.ids, torch::tensor(weights));
  }
  static std::shared_ptr<const ExampleRows> RowsOf(const Case& c, const Examples& examples) {
    std::vector<TokenSequence> sequences;
    std::vector<std::int64_t> owners;
    for (std::size_t i = 0; i < examples.size(); ++i) {
      for (const Ids& text : examples[i]) {
        sequences.push_back({text, {}});
        owners.push_back(static_cast<std::int64_t>(i));
      }
    }
    const PackedBatch batch = Pack(sequences, c.base.limits(), LeadOf(c.plan.method)).value();
    return std::make_shared<const ExampleRows>(ExampleRows::Of(batch, owners));
  }

  static void ExpectGradientsOfExamples(const BaseModel& base, const PeftPlan& plan, const Examples& examples,
                                        const std::string& name,
                                        const std::function<void(const ParamLayout&, ViewSpec&)>& edit = {}) {
    const auto layout = PlanLayout(plan).value();
    Case c{base, plan, layout, PlanView(plan, *layout)};
    if (edit) edit(*layout, c.view);
    ParamVector params(layout);
    FillRandomly(params);
    std::int64_t size = 0;
    for (const FlatRange& range : TrainedRanges(*layout, c.view)) {
      size += static_cast<std::int64_t>(range.end - range.begin);
    }
    const BoundParams copies(params, c.view, RowsOf(c, examples));
    const Tensor together = GradientsOfExamples(Loss(c, copies, examples, 0), copies);
    ASSERT_EQ(together.sizes(), (std::vector<std::int64_t>{static_cast<std::int64_t>(examples.size()), size}));
    for (std::size_t i = 0; i < examples.size(); ++i) {
      ParamVector grads(layout);
      Loss(c, BoundParams(params, grads, c.view), {examples[i]}, i).backward();
      const BoundParams alone(grads);
      const std::vector<FlatRange> all = {{0, grads.values().size()}};
      const double whole = ClipGradients(grads.values(), all, /*max_norm=*/0);
      std::int64_t column = 0;
      for (std::size_t t = 0; t < layout->tensors().size(); ++t) {
        if (!c.view.train[t]) continue;
        const Tensor want = alone.tensors()[t].flatten();
        const Tensor got = together[static_cast<std::int64_t>(i)].narrow(0, column, want.numel());
        column += want.numel();
        const double norm = want.norm().item<double>();
        // What is zero but for rounding (of a query and a key where there is one token) against the whole gradient.
        EXPECT_LE((got - want).norm().item<double>(), 1e-5 * (norm < 1e-4 * whole ? whole : norm))
            << name << " of " << base.shape().model_type << ", example " << i << ", " << layout->tensors()[t].name;
      }
      EXPECT_EQ(column, size);
      EXPECT_GT(together[static_cast<std::int64_t>(i)].norm().item<double>(), 1e-3) << name;
    }
  }

  std::vector<std::shared_ptr<const BaseModel>> bases_;
};

TEST_F(ExampleGradientsTest, D10OfClassifiersAreThoseOfEachAlone) {
  for (const auto& base : bases_) {
    for (const Supported& method : SupportedMethods(!base->causal())) {
      ASSERT_TRUE(CheckExampleGradients(method.config).ok()) << method.name;
      const PeftPlan plan{.base = base->shape(), .method = method.config, .labels = 3};
      ExpectGradientsOfExamples(*base, plan, kSingle, method.name);
    }
  }
}

TEST_F(ExampleGradientsTest, D10OfLanguageModelsAreThoseOfEachRowOfDocuments) {
  for (const auto& base : bases_) {
    if (!base->causal()) continue;
    for (const Supported& method : SupportedMethods(/*has_biases=*/false)) {
      const PeftPlan plan{.base = base->shape(), .method = method.config, .labels = 0};
      ExpectGradientsOfExamples(*base, plan, kPacked, method.name);
    }
  }
}

/// FFA-LoRA: what is frozen has no copies.
TEST_F(ExampleGradientsTest, D10WhereAViewFreezesTensors) {
  const PeftPlan plan{
      .base = bases_[0]->shape(), .method = LoraConfig{.rank = 4, .target_modules = {"query"}}, .labels = 3};
  ExpectGradientsOfExamples(*bases_[0], plan, kSingle, "FFA-LoRA", [](const ParamLayout& layout, ViewSpec& view) {
    for (std::size_t i = 0; i < view.train.size(); ++i) {
      if (layout.tensors()[i].role == Role::kLoraA) view.train[i] = false;
    }
  });
}

TEST_F(ExampleGradientsTest, OneTokenTextsAreTheirOwnRows) {
  const PeftPlan plan{
      .base = bases_[0]->shape(), .method = LoraConfig{.rank = 4, .target_modules = {"all-linear"}}, .labels = 3};
  ExpectGradientsOfExamples(*bases_[0], plan, {{{2}}, {{7}}, {{9}}}, "lora");
}

TEST(CheckExampleGradientsTest, OtherMethodsAreRefused) {
  for (const MethodConfig& config : std::initializer_list<MethodConfig>{
           BottleneckConfig{.size = 8, .phm_dim = 4}, PrefixConfig{.length = 3, .encoder = TokenEncoder::kMlp},
           PromptConfig{.length = 3, .encoder = TokenEncoder::kMlp}, OffsetConfig{OffsetConfig::What::kAll},
           SparseConfig{}, LlamaAdapterConfig{}}) {
    const Status status = CheckExampleGradients(config);
    EXPECT_EQ(status.code(), Code::kUnimplemented) << DescribeMethod(config);
    EXPECT_NE(status.message().find(DescribeMethod(config)), std::string::npos) << status.message();
  }
}

}  // namespace
}  // namespace fedpeft
