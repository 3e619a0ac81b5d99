// Laws that hold of methods whatever their numbers; that the numbers are peft's is tests/parity/method_parity.py's.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "peft/method/bound_params.h"
#include "peft/method/classifier.h"
#include "peft/method/hook.h"
#include "peft/method/optimizer.h"
#include "peft/method/phm.h"
#include "peft/method/virtual_tokens.h"
#include "peft/model/load.h"
#include "peft/plan/merge.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_bert.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft {
namespace {

using Ids = std::vector<std::int32_t>;
using torch::Tensor;

const std::vector<Ids> kTexts = {{2, 7, 9, 3}, {2, 5, 3, 8, 8, 3}, {2}};

struct Named {
  const char* name;
  MethodConfig config;
};

std::vector<Named> MethodsOn(const BaseModel& base) {
  std::vector<Named> methods = {
      {"lora", LoraConfig{.rank = 4, .target_modules = {"all-linear"}}},
      {"dora", LoraConfig{.rank = 4, .target_modules = {"all-linear"}, .use_dora = true}},
      {"ia3", Ia3Config{}},
      {"houlsby", BottleneckConfig{.size = 5}},
      {"pfeiffer", BottleneckConfig{.kind = BottleneckConfig::Kind::kPfeiffer, .size = 5}},
      {"parallel", BottleneckConfig{.kind = BottleneckConfig::Kind::kParallel, .size = 5, .scale = 4}},
      {"compacter", BottleneckConfig{.size = 8, .phm_dim = 4}},
      {"compacter of rank 2",
       BottleneckConfig{.kind = BottleneckConfig::Kind::kParallel, .size = 8, .phm_dim = 2, .phm_rank = 2}},
      {"prefix", PrefixConfig{3}},
      {"prompt", PromptConfig{3}},
      {"prefix of an MLP", PrefixConfig{.length = 3, .encoder = TokenEncoder::kMlp, .encoder_size = 5}},
      {"prompt of an MLP", PromptConfig{.length = 3, .encoder = TokenEncoder::kMlp}},
      {"prompt from a text", PromptConfig{.length = 3, .start = PromptConfig::Start::kText, .ids = {4, 8, 15}}},
      {"norms", OffsetConfig{OffsetConfig::What::kNorms}},
      {"full", OffsetConfig{OffsetConfig::What::kAll}},
      {"sparse", SparseConfig{.density = 0.1, .seed = 3}},
      {"adalora", AdaLoraConfig{.lora = {.rank = 4, .alpha = 8, .target_modules = {"all-linear"}}, .target_rank = 2}}};
  if (base.causal()) methods.push_back({"llama adapter", LlamaAdapterConfig{.length = 3, .layers = 2}});
  return methods;
}

class MethodsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const testing::TempFolder bert, decoder;
    ASSERT_TRUE(testing::WriteTinyBert(bert.path()).ok());
    ASSERT_TRUE(testing::WriteTinyDecoder(decoder.path(), testing::TinyDecoderConfig("mistral", 2, kTied)).ok());
    for (const std::string& folder : {bert.path(), decoder.path()}) {
      auto base = LoadBaseModel(folder, BaseDtype::kFloat32);
      ASSERT_TRUE(base.ok()) << base.status().ToString();
      bases_.push_back(*base);
    }
  }

  static PeftPlan PlanOf(const BaseModel& base, const MethodConfig& method) {
    return {.base = base.shape(), .method = method, .labels = 3};
  }
  static PackedBatch BatchOf(const BaseModel& base, const MethodConfig& method) {
    std::vector<TokenSequence> sequences;
    for (const Ids& text : kTexts) sequences.push_back({text, {}});
    return Pack(sequences, base.limits(), LeadOf(method)).value();
  }
  /// All random; factors around one.
  static void FillRandomly(ParamVector& params) {
    RandomStream stream(3, "params");
    for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
      const double mean = params.layout()->tensors()[i].role == Role::kScale ? 1 : 0;
      for (float& value : params.tensor(i)) value = static_cast<float>(mean + 0.2 * stream.NextNormal());
    }
  }
  static Tensor Loss(const BaseModel& base, const PeftPlan& plan, const BoundParams& bound, const ParamLayout& layout) {
    const Tensor logits = PeftClassifier(base, plan, layout, bound).Logits(BatchOf(base, plan.method));
    return torch::cross_entropy_loss(logits, torch::tensor({2, 0, 1}, torch::kInt64));
  }
  static double LossAt(const BaseModel& base, const PeftPlan& plan, const ParamVector& params) {
    const torch::NoGradGuard no_grad;
    return Loss(base, plan, BoundParams(params), *params.layout()).item<float>();
  }
  Tensor HiddenWith(const BaseModel& base, const MethodConfig& method, const ParamVector& params) {
    const torch::NoGradGuard no_grad;
    const PeftPlan plan = PlanOf(base, method);
    const auto hook = MakeHook(plan, *params.layout(), BoundParams(params).tensors());
    return base.Hidden(BatchOf(base, method), *hook, {});
  }

  static constexpr const char* kTied = R"(, "tie_word_embeddings": true, "sliding_window": null)";
  std::vector<std::shared_ptr<const BaseModel>> bases_;
};

TEST_F(MethodsTest, TheStartIsTheBaseExactly) {
  for (const auto& base : bases_) {
    for (const Named& method : MethodsOn(*base)) {
      if (LeadOf(method.config).positions() > 0) continue;  // what stands before a text changes it
      const auto layout = PlanLayout(PlanOf(*base, method.config)).value();
      const Tensor hidden = HiddenWith(*base, method.config, ParamVector::Initial(layout, 5));
      EXPECT_TRUE(torch::equal(hidden, base->Hidden(BatchOf(*base, method.config), SiteHook(), {}))) << method.name;
    }
  }
}

TEST_F(MethodsTest, GradientsEqualFiniteDifferences) {
  for (const auto& base : bases_) {
    for (const Named& method : MethodsOn(*base)) {
      if (std::string(method.name) == "dora") continue;  // its gradient takes a norm for a constant
      const PeftPlan plan = PlanOf(*base, method.config);
      const auto layout = PlanLayout(plan).value();
      ParamVector params(layout), grads(layout);
      FillRandomly(params);
      const BoundParams bound(params, grads, PlanView(plan, *layout));
      Loss(*base, plan, bound, *layout).backward();
      // Along the gradient itself, where the difference is largest: (f(x + hg) − f(x − hg)) / 2h = |g|².
      double square = 0;
      for (const float value : grads.values()) square += static_cast<double>(value) * value;
      ASSERT_GT(square, 0) << method.name;
      const double h = 1e-3 / std::sqrt(square);
      const auto moved = [&](double by) {
        ParamVector other = params.Clone();
        for (std::size_t k = 0; k < other.values().size(); ++k) {
          other.values()[k] += static_cast<float>(by * grads.values()[k]);
        }
        return LossAt(*base, plan, other);
      };
      EXPECT_NEAR((moved(h) - moved(-h)) / (2 * h), square, 0.02 * square + 1e-6) << method.name;
    }
  }
}

/// From the start on, where linears that are zero keep the gradient from those before them for one step.
TEST_F(MethodsTest, EveryTensorOfAnAdapterIsTrained) {
  for (const auto& base : bases_) {
    for (const Named& method : MethodsOn(*base)) {
      PeftPlan plan = PlanOf(*base, method.config);
      plan.head = HeadPolicy::kFrozen;
      const auto layout = PlanLayout(plan).value();
      const ParamVector start = ParamVector::Initial(layout, 5);
      ParamVector params = start.Clone(), grads(layout);
      const ViewSpec view = PlanView(plan, *layout);
      const BoundParams bound(params, grads, view);
      const auto optimizer = MakeAdamW({}, layout->size(), TrainedRanges(*layout, view));
      for (int step = 0; step < 3; ++step) {
        std::ranges::fill(grads.values(), 0.0f);
        Loss(*base, plan, bound, *layout).backward();
        optimizer->Step(params.values(), grads.values(), 0.01);
      }
      for (std::size_t i = 0; i < layout->tensors().size(); ++i) {
        const Role role = layout->tensors()[i].role;
        if (role != Role::kAdapter && role != Role::kSparse) continue;
        double most = 0;
        for (std::size_t k = 0; k < params.tensor(i).size(); ++k) {
          most = std::max(most, std::abs(static_cast<double>(params.tensor(i)[k]) - start.tensor(i)[k]));
        }
        // AdamW moves by the learning rate wherever the gradient is far above epsilon.
        EXPECT_GT(most, 0.009) << method.name << " " << layout->tensors()[i].name;
      }
      EXPECT_LE(LossAt(*base, plan, params), LossAt(*base, plan, start)) << method.name;
    }
  }
}

/// Wide enough for rounding to show; values of about one.
TEST(PhmLinearTest, EqualsTheExplicitKroneckerProducts) {
  torch::manual_seed(1);
  for (const std::int64_t n : {1, 2, 4}) {
    for (const std::int64_t rank : {1, 3}) {
      const Tensor x = torch::randn({7, 24}, torch::kFloat64), rule = torch::randn({n, n, n}, torch::kFloat64);
      const Tensor left = torch::randn({n, 24 / n, rank}, torch::kFloat64),
                   right = torch::randn({n, rank, 20 / n}, torch::kFloat64), bias = torch::randn({20}, torch::kFloat64);
      Tensor whole = torch::zeros({24, 20}, torch::kFloat64);
      for (std::int64_t i = 0; i < n; ++i) whole = whole + torch::kron(rule[i], left[i].mm(right[i]));
      const Tensor want = x.mm(whole) + bias;
      const auto error = [&](const Tensor& got) {
        return ((got - want).abs().max() / want.abs().max()).item<double>();
      };
      EXPECT_LT(error(PhmLinear(x, rule, left, right, bias)), 1e-14);
      const auto single = [](const Tensor& t) { return t.to(torch::kFloat32); };
      EXPECT_LT(error(PhmLinear(single(x), single(rule), single(left), single(right), single(bias))), 1e-6);
    }
  }
}

/// W + s·B·A in the place of W: merging is another method, training the whole base.
TEST_F(MethodsTest, MergedLoraEqualsLora) {
  const LoraConfig lora{.rank = 4, .alpha = 12, .target_modules = {"all-linear"}};
  const MethodConfig full = OffsetConfig{OffsetConfig::What::kAll};
  for (const auto& base : bases_) {
    const auto layout = PlanLayout(PlanOf(*base, lora)).value(),
               merged_layout = PlanLayout(PlanOf(*base, full)).value();
    ParamVector params(layout), merged(merged_layout);
    FillRandomly(params);
    const BoundParams bound(params);
    for (std::size_t i = 0; i < layout->tensors().size(); ++i) {
      if (layout->tensors()[i].role != Role::kLoraA) continue;
      const auto weight = merged_layout->Find(PeftName(layout->tensors()[i].site, "weight"));
      ASSERT_TRUE(weight.has_value());
      const Tensor delta = 3 * bound.tensors()[i + 1].mm(bound.tensors()[i]).contiguous();
      std::copy_n(delta.const_data_ptr<float>(), delta.numel(), merged.tensor(*weight).data());
    }
    EXPECT_TRUE(torch::allclose(HiddenWith(*base, lora, params), HiddenWith(*base, full, merged), 1e-5, 1e-5));
  }
}

/// The chosen elements' offsets among zeros are offsets of the whole base: the same sums, so the same bits.
TEST_F(MethodsTest, MergedSparseEqualsSparse) {
  const SparseConfig sparse{.density = 0.1, .target_modules = {"all-linear"}, .seed = 3};
  const MethodConfig full = OffsetConfig{OffsetConfig::What::kAll};
  for (const auto& base : bases_) {
    const auto layout = PlanLayout(PlanOf(*base, sparse)).value(),
               merged_layout = PlanLayout(PlanOf(*base, full)).value();
    ParamVector params(layout), merged(merged_layout);
    FillRandomly(params);
    const Merger merger = Merger::Make(PlanOf(*base, sparse), params).value();
    int changed = 0;
    for (std::size_t i = 0; i < merged_layout->tensors().size(); ++i) {
      const std::string name = merged_layout->tensors()[i].name.substr(PeftName("", "").size() - 1);
      if (!merger.Changes(name)) continue;
      merger.Apply(name, merged.tensor(i));
      ++changed;
    }
    EXPECT_EQ(changed, static_cast<int>(LinearSites(base->shape()).size()));
    EXPECT_TRUE(torch::equal(HiddenWith(*base, sparse, params), HiddenWith(*base, full, merged)));
  }
}

TEST_F(MethodsTest, PermutingAnAdaptersNeuronsChangesNothing) {
  const MethodConfig config = BottleneckConfig{.size = 5};
  for (const auto& base : bases_) {
    const auto layout = PlanLayout(PlanOf(*base, config)).value();
    ParamVector params(layout);
    FillRandomly(params);
    const Tensor before = HiddenWith(*base, config, params);
    const BoundParams bound(params);
    const Tensor order = torch::tensor({3, 1, 4, 0, 2}, torch::kInt64);
    for (std::size_t i = 0; i < layout->tensors().size(); ++i) {
      if (layout->tensors()[i].role != Role::kAdapter) continue;
      Tensor values = bound.tensors()[i];
      const bool up = layout->tensors()[i].name.ends_with("adapter_up.weight");
      if (layout->tensors()[i].name.ends_with("adapter_up.bias")) continue;
      values.copy_(values.index_select(up ? 1 : 0, order));
    }
    EXPECT_TRUE(torch::allclose(HiddenWith(*base, config, params), before, 1e-6, 1e-6));
  }
}

/// The decoder on `ids` as they are.
Tensor Plain(const BaseModel& base, const Ids& ids) {
  const std::vector<TokenSequence> one = {{ids, {}}};
  return base.Hidden(Pack(one, base.limits()).value(), SiteHook(), {});
}

TEST_F(MethodsTest, APromptOfLiteralTokensIsThoseTokens) {
  const torch::NoGradGuard no_grad;
  const Ids all = {4, 8, 15, 16, 23, 42}, text(all.begin() + 2, all.end());
  for (const auto& base : bases_) {
    struct Words : SiteHook {  // takes the embeddings of the first two
      Tensor Embedded(const Tensor& words, const PackedBatch&) const override {
        taken = words.narrow(0, 0, 2).clone();
        return words;
      }
      mutable Tensor taken;
    } words;
    const std::vector<TokenSequence> whole = {{all, {}}}, rest = {{text, {}}};
    base->Hidden(Pack(whole, base->limits()).value(), words, {});
    const PromptHook prompt(VirtualTokens(words.taken), /*offsets=*/false);
    const Tensor hidden = base->Hidden(Pack(rest, base->limits(), {.prompt = 2}).value(), prompt, {});
    EXPECT_TRUE(torch::allclose(hidden, Plain(*base, all), 1e-5, 1e-5));
  }
}

TEST_F(MethodsTest, APromptFromATextIsThatTextAtFirst) {
  const torch::NoGradGuard no_grad;
  const Ids all = {4, 8, 15, 16, 23, 42}, text(all.begin() + 2, all.end());
  for (const auto& base : bases_) {
    const PeftPlan plan =
        PlanOf(*base, PromptConfig{.length = 2, .start = PromptConfig::Start::kText, .ids = {all[0], all[1]}});
    const auto layout = PlanLayout(plan).value();
    const ParamVector start = ParamVector::Initial(layout, 1);
    const auto hook = MakeHook(plan, *layout, BoundParams(start).tensors());
    const std::vector<TokenSequence> rest = {{text, {}}};
    const PackedBatch batch = Pack(rest, base->limits(), LeadOf(plan.method)).value();
    EXPECT_TRUE(torch::equal(base->Hidden(batch, *hook, {}), Plain(*base, all)));
  }
}

TEST_F(MethodsTest, AnEncodersOutputIsTheVirtualTokensOfItsExport) {
  for (const auto& base : bases_) {
    for (const MethodConfig& config : std::initializer_list<MethodConfig>{
             PrefixConfig{.length = 3, .encoder = TokenEncoder::kMlp, .encoder_size = 5},
             PromptConfig{.length = 3, .encoder = TokenEncoder::kMlp, .encoder_size = 9}}) {
      const PeftPlan plan = PlanOf(*base, config), tokens = PlanOfTokens(plan);
      ParamVector params(PlanLayout(plan).value());
      FillRandomly(params);
      const ParamVector encoded = EncodeTokens(plan, params);
      EXPECT_EQ(encoded.layout()->digest(), PlanLayout(tokens).value()->digest());
      const Tensor want = HiddenWith(*base, config, params), got = HiddenWith(*base, tokens.method, encoded);
      EXPECT_TRUE(torch::allclose(got, want, 1e-5, 1e-5)) << DescribeMethod(config);  // float32 sums in another order
      EXPECT_FALSE(torch::allclose(got, HiddenWith(*base, tokens.method, ParamVector(encoded.layout())), 1e-2, 1e-2));
    }
  }
}

/// At the start the gate is zero, and alone has a gradient.
TEST_F(MethodsTest, OnlyTheGateLearnsFirst) {
  const BaseModel& base = *bases_[1];
  const PeftPlan plan = PlanOf(base, LlamaAdapterConfig{.length = 3, .layers = 2});
  const auto layout = PlanLayout(plan).value();
  ParamVector params = ParamVector::Initial(layout, 5), grads(layout);
  const BoundParams bound(params, grads, PlanView(plan, *layout));
  Loss(base, plan, bound, *layout).backward();
  for (std::size_t i = 0; i < layout->tensors().size(); ++i) {
    const auto is_zero = [](float value) { return value == 0; };
    const Role role = layout->tensors()[i].role;
    EXPECT_EQ(std::ranges::all_of(grads.tensor(i), is_zero), role == Role::kGatedPrompt) << layout->tensors()[i].name;
  }
}

TEST_F(MethodsTest, APrefixOfATextsKeysAndValuesIsThatText) {
  const torch::NoGradGuard no_grad;
  const BaseModel& base = *bases_[1];
  const Ids all = {4, 8, 15, 16, 23, 42}, first(all.begin(), all.begin() + 2), text(all.begin() + 2, all.end());
  KeyValueCache cache;
  base.Extend(PackNext(first, 0, base.limits()).value(), SiteHook(), cache);
  std::vector<Tensor> parts;
  for (std::size_t layer = 0; layer < 2; ++layer) {
    const Tensor none = torch::empty({0, 12});
    const KeyValues kept = cache.Append(layer, none, none, /*window=*/0);
    parts.push_back(kept.keys.clone());
    parts.push_back(kept.values.clone());
  }
  const PrefixHook prefix(base.shape(), VirtualTokens(torch::cat(parts, /*dim=*/1)));
  const std::vector<TokenSequence> rest = {{text, {}}};
  const Tensor hidden = base.Hidden(Pack(rest, base.limits(), {.prefix = 2}).value(), prefix, {});
  EXPECT_TRUE(torch::allclose(hidden, Plain(base, all).narrow(0, 2, 4), 1e-5, 1e-5));
}

TEST_F(MethodsTest, WhatStandsBeforeATextTakesPositions) {
  const Ids text(39, 1);
  const std::vector<TokenSequence> one = {{text, {}}};
  for (const auto& base : bases_) {
    EXPECT_TRUE(Pack(one, base->limits(), {.prompt = 1}).ok());
    EXPECT_FALSE(Pack(one, base->limits(), {.prompt = 1, .prefix = 1}).ok());
    EXPECT_FALSE(Pack(one, base->limits(), {.prefix = 2}).ok());
  }
}

}  // namespace
}  // namespace fedpeft
