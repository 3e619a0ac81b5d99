#include "configs/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "configs/adapters_library.h"
#include "configs/gguf_adapter.h"
#include "peft/core/files.h"
#include "peft/io/adapter_folder.h"
#include "peft/plan/base_values.h"
#include "peft/plan/prompt_start.h"
#include "peft/plan/ranks.h"
#include "peft/plan/token_encoder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_base.h"

namespace fedpeft {
namespace {

using ::testing::HasSubstr;

RunSpec RunOf(MethodConfig method) {
  RunSpec run;
  run.base_name = "tiny";
  run.problem.labels = {"a", "b", "c"};
  run.problem.text_column = "text";
  run.problem.label_column = "label";
  run.problem.max_length = 20;
  run.plan = testing::TinyPlan();
  run.plan.method = std::move(method);
  return run;
}

ParamVector Random(const RunSpec& run) {
  ParamVector params(PlanLayout(run.plan).value());
  RandomStream stream(4, "params");
  for (float& value : params.values()) value = static_cast<float>(stream.NextNormal());
  for (std::size_t i = 0; i < params.layout()->tensors().size(); ++i) {
    const Role role = params.layout()->tensors()[i].role;
    if (IsTrained(role)) continue;
    // Of every site other ranks are in use, of the first none.
    for (std::size_t k = 0; k < params.tensor(i).size(); ++k) {
      params.tensor(i)[k] = role == Role::kRankMask && (i + k) % 3 == 0 && i > 3 ? 1.0f : 0.0f;
    }
  }
  ZeroUnusedRanks(params);
  return params;
}

class AdapterTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(testing::WriteTinyBert(base_.path()).ok()); }
  Status Export(const RunSpec& run, const std::string& base) {
    return ExportAdapter(run, Random(run), folder_.File("adapter"), base);
  }
  Result<ImportedAdapter> Import() {
    return ImportAdapter(folder_.File("adapter"), testing::TinyShape(), base_.path());
  }
  testing::TempFolder base_, folder_;
};

TEST_F(AdapterTest, EveryMethodComesBackAsItWent) {
  for (const MethodConfig& method : std::initializer_list<MethodConfig>{
           LoraConfig{
               .rank = 3, .alpha = 6, .target_modules = {"query", "output.dense"}, .patterns = {{"query", 2, 0}}},
           LoraConfig{.rank = 2, .target_modules = {"query", "key"}, .layers = {1}, .use_rslora = true},
           LoraConfig{.rank = 2, .target_modules = {"all-linear"}, .use_dora = true},
           AdaLoraConfig{.lora = {.rank = 4, .alpha = 8, .target_modules = {"query", "value"}}, .target_rank = 2},
           Ia3Config{},
           BottleneckConfig{.kind = BottleneckConfig::Kind::kPfeiffer, .size = 4, .activation = Activation::kSilu},
           BottleneckConfig{.size = 4, .phm_dim = 2, .phm_rank = 3}, PrefixConfig{3}, PromptConfig{2},
           OffsetConfig{OffsetConfig::What::kBiases}, OffsetConfig{OffsetConfig::What::kNorms},
           SparseConfig{0.05, {}, 7}, SparseConfig{0.1, {"query", "output.dense"}, std::uint64_t{1} << 63}}) {
    const RunSpec run = RunOf(method);
    const Status wrote = Export(run, base_.path());
    ASSERT_TRUE(wrote.ok()) << wrote.ToString();
    const Result<ImportedAdapter> read = Import();
    ASSERT_TRUE(read.ok()) << DescribeMethod(method) << ": " << read.status().ToString();
    const ParamVector want = Random(run);
    ASSERT_EQ(read->params.layout()->digest(), want.layout()->digest()) << DescribeMethod(method);
    for (std::size_t i = 0; i < want.values().size(); ++i) {
      ASSERT_NEAR(read->params.values()[i], want.values()[i], 1e-6) << DescribeMethod(method) << " " << i;
    }
    EXPECT_EQ(read->run.problem.labels, run.problem.labels);
    EXPECT_EQ(read->run.problem.max_length, 20);
  }
}

/// What an import has, in the export's order.
void ExpectNear(std::span<const float> got, std::span<const float> want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 1e-5) << i;
}

TEST_F(AdapterTest, AnEncoderIsExportedAsWhatItMakes) {
  for (const MethodConfig& method :
       std::initializer_list<MethodConfig>{PrefixConfig{.length = 3, .encoder = TokenEncoder::kMlp, .encoder_size = 7},
                                           PromptConfig{.length = 2, .encoder = TokenEncoder::kMlp}}) {
    const RunSpec run = RunOf(method);
    ASSERT_TRUE(Export(run, "").ok());
    const Result<ImportedAdapter> read = Import();
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(read->params.layout()->digest(), PlanLayout(PlanOfTokens(run.plan)).value()->digest());
    ExpectNear(read->params.values(), EncodeTokens(run.plan, Random(run)).values());
    const Status start = StartFromAdapter(folder_.File("adapter"), run, "").status();
    EXPECT_EQ(start.code(), Code::kFailedPrecondition);
    EXPECT_THAT(start.message(), HasSubstr("encoder: got mlp with an adapter to start from"));
  }
}

TEST_F(AdapterTest, APromptFromTokensIsExportedWithTheirVectors) {
  ASSERT_TRUE(testing::WriteTinyBase(base_.path()).ok());
  using Start = PromptConfig::Start;
  for (const PromptConfig& prompt : {PromptConfig{.length = 4, .start = Start::kText, .text = "food1 noise2"},
                                     PromptConfig{.length = 4, .start = Start::kVocabulary, .seed = 9}}) {
    const RunSpec run = RunOf(prompt);
    EXPECT_THAT(Export(run, "").message(), HasSubstr("want the base too (--base)"));
    ASSERT_TRUE(Export(run, base_.path()).ok());
    const Result<ImportedAdapter> read = Import();
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(std::get<PromptConfig>(read->run.plan.method).start, Start::kRandom);
    PeftPlan resolved = run.plan;
    const ModelFolder base = ModelFolder::Open(base_.path()).value();
    ASSERT_TRUE(ResolvePrompt(base, {}, resolved).ok());
    ParamVector want = Random(run);
    ASSERT_TRUE(AddBaseValues(base, resolved, 1, want).ok());
    ExpectNear(read->params.values(), want.values());

    // And a run that starts from it has its own offsets again.
    const auto start = StartFromAdapter(folder_.File("adapter"), run, base_.path());
    ASSERT_TRUE(start.ok()) << start.status().ToString();
    EXPECT_EQ(start->layout()->digest(), want.layout()->digest());
    ExpectNear(start->values(), Random(run).values());
    EXPECT_THAT(StartFromAdapter(folder_.File("adapter"), run, "").status().message(), HasSubstr("(--base)"));
  }
  RunSpec other = RunOf(PromptConfig{.length = 4, .start = Start::kText, .text = "food1"});
  other.tokenizer[0] = 1;
  EXPECT_THAT(Export(other, base_.path()).message(), HasSubstr("use the run's tokenizer.json"));
}

TEST_F(AdapterTest, ALlamaAdapterIsPeftsWhereItComputesTheSame) {
  const auto run_on = [](const std::string& family, std::int64_t head_dim) {
    RunSpec run = RunOf(LlamaAdapterConfig{.length = 3, .layers = 1});
    run.problem.type = ProblemType::kLanguageModelling;
    run.problem.labels = {};
    run.plan.labels = 0;
    run.plan.base.model_type = family;
    run.plan.base.head_dim = head_dim;
    return run;
  };
  const auto json_of = [&](const RunSpec& run) {
    EXPECT_TRUE(Export(run, "").ok());
    const Result<ImportedAdapter> read = ImportAdapter(folder_.File("adapter"), run.plan.base, "");
    EXPECT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_EQ(read->params.layout()->digest(), PlanLayout(run.plan).value()->digest());
    EXPECT_EQ(read->params.values()[5], Random(run).values()[5]);
    EXPECT_TRUE(StartFromAdapter(folder_.File("adapter"), run, "").ok());
    return *ReadFile(folder_.File("adapter/adapter_config.json"), 1 << 20);
  };
  for (const char* family : {"llama", "mistral"}) {
    const std::string json = json_of(run_on(family, 0));
    EXPECT_THAT(json, HasSubstr(R"("peft_type": "ADAPTION_PROMPT")"));
    EXPECT_THAT(json, HasSubstr(R"("target_modules": "self_attn")"));
    EXPECT_THAT(json, ::testing::Not(HasSubstr("modules_to_save")));
  }
  RunSpec biased = run_on("llama", 0);
  biased.plan.base.attention_bias = true;
  for (const RunSpec& run : {biased, run_on("llama", 10), run_on("gpt2", 0), run_on("qwen3", 8)}) {
    EXPECT_THAT(json_of(run), HasSubstr(R"("peft_type": "FEDPEFT_LLAMA_ADAPTER")"));
  }
  ASSERT_TRUE(Export(run_on("llama", 0), "").ok());
  const Status refused = ImportAdapter(folder_.File("adapter"), biased.plan.base, "").status();
  EXPECT_EQ(refused.code(), Code::kUnimplemented);
  EXPECT_THAT(refused.message(), HasSubstr("of which peft computes something else"));
}

TEST_F(AdapterTest, OffsetsFromTheBaseWantTheBase) {
  EXPECT_THAT(Export(RunOf(OffsetConfig{OffsetConfig::What::kNorms}), "").message(),
              HasSubstr("want the base too (--base)"));
  RunSpec other = RunOf(LoraConfig{.rank = 2, .target_modules = {"query"}, .use_dora = true});
  other.weights[0] = 1;
  EXPECT_THAT(Export(other, base_.path()).message(), HasSubstr("want the run's 01"));
  EXPECT_TRUE(Export(RunOf(OffsetConfig{OffsetConfig::What::kBiases}), "").ok());
}

/// The words of a run name its linears in every layer: of some layers their paths are written, and those alone.
TEST_F(AdapterTest, LinearsOfSomeLayersAreExportedByTheirPaths) {
  ASSERT_TRUE(Export(RunOf(LoraConfig{.rank = 2, .target_modules = {"query", "key"}, .layers = {0}}), "").ok());
  const std::string json = *ReadFile(folder_.File("adapter/adapter_config.json"), 1 << 20);
  EXPECT_THAT(json, HasSubstr("bert.encoder.layer.0.attention.self.key\""));
  EXPECT_THAT(json, ::testing::Not(HasSubstr("\"key\"")));
  ASSERT_TRUE(Export(RunOf(LoraConfig{.rank = 2, .target_modules = {"query", "key"}, .layers = {0, 1}}), "").ok());
  const std::string words = *ReadFile(folder_.File("adapter/adapter_config.json"), 1 << 20);
  EXPECT_THAT(words, HasSubstr("\"key\""));
  EXPECT_THAT(words, ::testing::Not(HasSubstr("value")));
}

TEST_F(AdapterTest, WhatCannotBeIsRefused) {
  ASSERT_TRUE(Export(RunOf(LoraConfig{.rank = 2, .alpha = 4, .target_modules = {"query"}}), "").ok());
  const std::string path = folder_.File("adapter/adapter_config.json");
  const std::string json = *ReadFile(path, 1 << 20);
  const auto refusal = [&](const std::string& from, const std::string& to) {
    std::string text = json;
    EXPECT_NE(text.find(from), std::string::npos);
    EXPECT_TRUE(WriteFileAtomically(path, AsBytes(text.replace(text.find(from), from.size(), to))).ok());
    return Import().status().message();
  };
  EXPECT_THAT(refusal("SEQ_CLS", "TOKEN_CLS"), HasSubstr("task_type: got TOKEN_CLS, want SEQ_CLS or CAUSAL_LM"));
  EXPECT_THAT(refusal(R"("lora_alpha": 4)", R"("lora_alpha": -4)"), HasSubstr("want a positive number"));
  EXPECT_THAT(refusal(R"("peft_type": "LORA")", R"("peft_type": "IA3")"), HasSubstr("has no tensors of its method"));
}

TEST_F(AdapterTest, MasksOfRanksThatDoNotFitAreRefused) {
  ASSERT_TRUE(
      Export(RunOf(AdaLoraConfig{.lora = {.rank = 4, .alpha = 8, .target_modules = {"query"}}, .target_rank = 2}), "")
          .ok());
  const std::string path = folder_.File("adapter/adapter_config.json");
  const std::string json = *ReadFile(path, 1 << 20);
  const auto refusal = [&](const std::string& from, const std::string& to) {
    std::string text = json;
    EXPECT_NE(text.find(from), std::string::npos) << text;
    EXPECT_TRUE(WriteFileAtomically(path, AsBytes(text.replace(text.find(from), from.size(), to))).ok());
    return Import().status().message();
  };
  EXPECT_THAT(refusal(R"("init_r": 4)", R"("init_r": 3)"), HasSubstr("is not a list of init_r flags"));
  EXPECT_THAT(refusal(R"("init_r": 4)", R"("init_r": 0)"), HasSubstr("init_r: got 0, want 1 to"));
  EXPECT_THAT(refusal("query.lora_E", "query.lora_X"), HasSubstr("is not a list of init_r flags"));
  EXPECT_THAT(refusal("\n      false", "\n      true"), HasSubstr("has shape"));
  EXPECT_THAT(refusal("\n      false", "\n      0"), HasSubstr("is not a list of init_r flags"));
}

TEST_F(AdapterTest, AFilesClaimsAreCheckedBeforeTheyAreBelieved) {
  AdapterConfig config;
  config.peft_type = PeftType::kFull;
  config.task_type = "SEQ_CLS";
  config.modules_to_save = {"classifier"};
  const std::vector<float> one(32);
  BaseShape shape = testing::TinyShape();
  shape.type_vocab_size = 2;
  const auto refusal = [&](const std::vector<TensorView>& tensors) {
    const Status wrote = WriteAdapterFolder(folder_.File("adapter"), config, tensors);
    EXPECT_TRUE(wrote.ok()) << wrote.ToString();
    return ImportAdapter(folder_.File("adapter"), shape, base_.path()).status().message();
  };
  const std::string head = "base_model.model.classifier.weight";
  EXPECT_THAT(refusal({FloatView(head, {std::int64_t{1} << 40, 0}, {})}), HasSubstr("want [1 to 65536,32]"));
  EXPECT_THAT(refusal({FloatView(head, {1, 32}, one)}), HasSubstr("has no tensor"));
  config = AdapterConfig();
  config.peft_type = PeftType::kPromptTuning;
  config.task_type = "SEQ_CLS";
  config.modules_to_save = {"classifier"};
  config.num_virtual_tokens = 38;
  config.token_dim = 32;
  config.num_layers = 2;
  const std::vector<float> prompt(38 * 32);
  EXPECT_THAT(refusal({FloatView("prompt_embeddings", {38, 32}, prompt),
                       FloatView("base_model.classifier.weight", {1, 32}, one)}),
              HasSubstr("leaves 2 positions of the base to a text"));
}

TEST_F(AdapterTest, ARunStartsFromAnAdapterOfItsOwnMethodAlone) {
  const RunSpec run = RunOf(LoraConfig{.rank = 2, .alpha = 4, .target_modules = {"query"}});
  ASSERT_TRUE(Export(run, "").ok());
  const auto start = [&](const RunSpec& other) { return StartFromAdapter(folder_.File("adapter"), other, ""); };
  const Result<ParamVector> params = start(run);
  ASSERT_TRUE(params.ok()) << params.status().ToString();
  EXPECT_EQ(params->values()[5], Random(run).values()[5]);

  RunSpec other = run;
  std::get<LoraConfig>(other.plan.method).alpha = 8;
  EXPECT_THAT(start(other).status().message(), HasSubstr("or of other targets, ranks, scales or masks"));
  other = run;
  other.plan.method = LoraConfig{.rank = 2, .alpha = 4, .target_modules = {"query", "key"}};
  EXPECT_THAT(start(other).status().message(), HasSubstr("or of other targets"));
  other.plan.method = Ia3Config{};
  EXPECT_THAT(start(other).status().message(),
              HasSubstr("is LoRA of rank 2, or of other targets, ranks, scales or masks, want (IA)³"));
  other = run;
  other.problem.labels = {"a", "c", "b"};
  EXPECT_THAT(start(other).status().message(), HasSubstr("has other labels"));
  other = run;
  other.problem.type = ProblemType::kLanguageModelling;
  EXPECT_THAT(start(other).status().message(), HasSubstr("another kind of problem"));
  other = run;
  other.plan.method = SparseConfig{0.1, {"query"}, 7};
  ASSERT_TRUE(Export(other, "").ok());
  EXPECT_TRUE(start(other).ok());
  std::get<SparseConfig>(other.plan.method).seed = 8;  // other elements, as many
  EXPECT_THAT(start(other).status().message(), HasSubstr("scales or masks"));
  ASSERT_TRUE(Export(run, "").ok());
  other = run;
  other.plan.head = HeadPolicy::kFrozen;
  EXPECT_THAT(start(other).status().message(), HasSubstr("unshared"));
}

TEST_F(AdapterTest, FoldersOfTheAdaptersLibraryComeBackAndAreStartedFrom) {
  using Kind = BottleneckConfig::Kind;
  const std::string folder = folder_.File("adapter");
  for (const BottleneckConfig& config : {BottleneckConfig{.kind = Kind::kHoulsby, .size = 5},
                                         BottleneckConfig{.kind = Kind::kPfeiffer, .size = 4, .phm_dim = 2},
                                         BottleneckConfig{.kind = Kind::kParallel,
                                         .size = 8,
                                         .activation = Activation::kGeluNew,
                                         .scale = 0.1,
                                         .phm_dim = 4,
                                         .phm_rank = 2}}) {
    const RunSpec run = RunOf(config);
    const Status wrote = ExportLibraryAdapter(run, Random(run), folder, {{"fedpeft.round", "4"}});
    ASSERT_TRUE(wrote.ok()) << wrote.ToString();
    const Result<ImportedAdapter> read = Import();
    ASSERT_TRUE(read.ok()) << read.status().ToString();
    EXPECT_TRUE(std::ranges::equal(read->params.values(), Random(run).values()));
    EXPECT_EQ(read->run.problem.labels, run.problem.labels);
    EXPECT_EQ(read->run.problem.max_length, 20);
    EXPECT_TRUE(StartFromAdapter(folder, run, "").ok());
    RunSpec other = run;
    std::get<BottleneckConfig>(other.plan.method).scale = 3;
    EXPECT_THAT(StartFromAdapter(folder, other, "").status().message(), HasSubstr("other targets, ranks, scales"));
  }
  const std::string names = *ReadFile(JoinPath(folder, "adapter.safetensors"), 1 << 20);
  for (const char* name :
       {"bert.encoder.layer.1.output.adapters.fedpeft.adapter_down.0.W_left",
        "bert.encoder.layer.1.output.adapters.fedpeft.adapter_up.b", "bert.shared_parameters.fedpeft.phm_rule"}) {
    EXPECT_THAT(names, HasSubstr("\"" + std::string(name) + "\""));
  }
}

TEST_F(AdapterTest, WhatTheAdaptersLibraryLacksIsNoFolderOfIts) {
  const std::string folder = folder_.File("adapter");
  RunSpec run = RunOf(BottleneckConfig{.size = 5});
  ASSERT_TRUE(ExportLibraryAdapter(run, Random(run), folder).ok());
  BaseShape roberta = testing::TinyShape();
  roberta.model_type = "roberta";
  EXPECT_THAT(ImportAdapter(folder, roberta, "").status().message(),
              HasSubstr("is an adapter of bert, want one of the base's roberta"));
  run.plan.base.model_type = "qwen2";
  EXPECT_THAT(ExportLibraryAdapter(run, Random(run), folder).message(),
              HasSubstr("the base is qwen2, want one of bert"));
  run = RunOf(PromptConfig{2});
  EXPECT_THAT(ExportLibraryAdapter(run, Random(run), folder).message(),
              HasSubstr("the method is a prompt of 2 vectors"));
}

TEST_F(AdapterTest, WhatLlamaCppCannotHoldIsNoGguf) {
  const std::string path = folder_.File("adapter.gguf");
  RunSpec run = RunOf(LoraConfig{.rank = 2, .target_modules = {"query"}});
  EXPECT_THAT(ExportGgufAdapter(run, Random(run), path).message(), HasSubstr("the base is an encoder (bert)"));
  run.plan.base.model_type = "llama";
  run.plan.method = LoraConfig{.rank = 2, .target_modules = {"q_proj"}};
  EXPECT_THAT(ExportGgufAdapter(run, Random(run), path).message(), HasSubstr("has a classification head"));
  run.problem.type = ProblemType::kLanguageModelling;
  run.plan.labels = 0;
  EXPECT_TRUE(ExportGgufAdapter(run, Random(run), path).ok());
  EXPECT_TRUE(ReadFile(path, 1 << 20)->starts_with("GGUF"));
  run.plan.method = LoraConfig{.rank = 2, .target_modules = {"q_proj"}, .use_dora = true};
  EXPECT_THAT(ExportGgufAdapter(run, Random(run), path).message(), HasSubstr("DoRA of rank 2"));
  run.plan.method = PromptConfig{2};
  EXPECT_THAT(ExportGgufAdapter(run, Random(run), path).message(), HasSubstr("a prompt of 2 vectors"));
}

}  // namespace
}  // namespace fedpeft
