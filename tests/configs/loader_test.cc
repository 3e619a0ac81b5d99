#include "configs/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "tests/configs/sample_run.h"

namespace fedpeft::configs {
namespace {

using ::testing::HasSubstr;
using testing::kSampleRun;

/// The sample with `from` replaced by `to`.
std::string Sample(const std::string& from, const std::string& to) {
  std::string text = kSampleRun;
  const std::size_t at = text.find(from);
  FEDPEFT_CHECK(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string ErrorOf(const std::string& text, const std::vector<std::string>& overrides = {}) {
  const Result<LoadedRun> run = LoadRunText(text, "run.yaml", overrides);
  return run.ok() ? "" : run.status().message();
}

TEST(LoaderTest, FillsDefaultsInMessagesAndListItems) {
  const Result<LoadedRun> run = LoadRunText(kSampleRun, "run.yaml");
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(run->config.seed(), 1u);
  EXPECT_EQ(run->config.peft().lora().rank(), 8u);
  EXPECT_THAT(run->config.peft().lora().target_modules(), ::testing::IsEmpty());
  EXPECT_EQ(run->config.train().epsilon(), 1e-8);
  EXPECT_EQ(run->config.schedule(0).server_optimizer().kind(), v1::ServerOptimizer::FEDAVG);
  EXPECT_EQ(run->config.problem().labels(1), "yes");
  EXPECT_EQ(run->places.at("schedule.0.rounds").line, 15);
}

TEST(LoaderTest, AppliesOverridesInOrder) {
  const Result<LoadedRun> run = LoadRunText(
      kSampleRun, "run.yaml",
      {"schedule.0.rounds=7", "schedule.1.rounds=4", "peft.lora.rank=3", "peft.lora.rank=010", "problem.labels=[a, b]",
       "peft.lora.target_modules.0=key", "train.optimizer=sgd", "train.learning_rate=1e-3", "base.name="});
  ASSERT_TRUE(run.ok()) << run.status().message();
  ASSERT_EQ(run->config.schedule_size(), 2);
  EXPECT_EQ(run->config.schedule(0).rounds(), 7u);
  EXPECT_EQ(run->config.schedule(1).rounds(), 4u);
  EXPECT_EQ(run->config.peft().lora().rank(), 10u);
  EXPECT_EQ(run->config.problem().labels_size(), 2);
  EXPECT_THAT(run->config.peft().lora().target_modules(), ::testing::ElementsAre("key"));
  EXPECT_EQ(run->config.train().optimizer(), v1::Train::SGD);
  EXPECT_EQ(run->config.train().learning_rate(), 1e-3);
  EXPECT_TRUE(run->config.base().has_name());
}

struct Reject {
  std::string name;
  /// What of the sample is replaced by what.
  std::string from;
  std::string to;
  /// The whole first line of the error.
  std::string want;
};

class LoaderRejectTest : public ::testing::TestWithParam<Reject> {};

TEST_P(LoaderRejectTest, NamesPlaceKeyAndReason) {
  const std::string error = ErrorOf(Sample(GetParam().from, GetParam().to));
  EXPECT_EQ(error.substr(0, error.find('\n')), "run.yaml:" + GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Table, LoaderRejectTest,
    ::testing::Values(
        Reject{"UnknownKey", "  model_type: bert", "  model_type: bert\n  hiden_size: 1",
               "4:3: base.hiden_size: is not a key here, want one of name, model_type, weights_sha256, "
               "tokenizer_sha256, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, vocab_size, "
               "max_position_embeddings, num_key_value_heads, head_dim, position_offset, type_vocab_size, "
               "attention_bias, mlp_bias, "
               "tie_word_embeddings (did you mean \"hidden_size\"?)"},
        Reject{"MissingKey", "  hidden_size: 12\n", "",
               "2:1: base.hidden_size: is missing, want an integer: model width"},
        Reject{"MissingMap", "schedule:\n  - rounds: 3\n", "",
               "1:1: schedule: is missing or empty, want a list of maps: phases, in order; a run ends after the last"},
        Reject{"DuplicateKey", "name: sample", "name: sample\nname: again",
               "2:1: got the key \"name\" a second time, want it once"},
        Reject{"MergeKey", "name: sample", "name: sample\n<<: {seed: 1}",
               "2:1: got a merge key (<<), want the keys themselves"},
        Reject{"Anchor", "name: sample", "name: &x sample", "1:7: name: got an anchor (&), want a plain value"},
        Reject{"Alias", "labels: [no, yes, maybe]", "labels: [&a no, yes, *a]",
               "13:12: problem.labels.0: got an anchor (&), want a plain value"},
        Reject{"Tag", "name: sample", "name: !!str sample",
               "1:7: name: got the tag \"tag:yaml.org,2002:str\", want none"},
        Reject{"Null", "name: sample", "name:",
               "1:1: name: got null, want a value (leave the key out to have its default, quote it if it is text)"},
        Reject{
            "NullItem", "[no, yes, maybe]", "[no, ~, maybe]",
            "13:16: problem.labels.1: got null, want a value (leave the key out to have its default, quote it if it is "
            "text)"},
        Reject{"ListAsKey", "name: sample", "name: sample\n[a]: 1", "2:1: got a list or map as a key, want a name"},
        Reject{"MapForScalar", "name: sample", "name: {a: 1}", "1:7: name: got a map, want a string"},
        Reject{"ScalarForMap", "name: sample", "name: sample\ntrain: 5", "2:8: train: got \"5\", want a map"},
        Reject{"ScalarForList", "[no, yes, maybe]", "maybe",
               "13:11: problem.labels: got \"maybe\", want a list of strings"},
        Reject{"ScalarForItem", "  - rounds: 3", "  - 3", "15:5: schedule.0: got \"3\", want a map"},
        Reject{"ListForItem", "[no, yes, maybe]", "[no, [yes], maybe]",
               "13:16: problem.labels.1: got a list, want a string"},
        Reject{"Fraction", "rounds: 3", "rounds: 1.5",
               "15:13: schedule.0.rounds: got \"1.5\", want an integer, 1 to 1e+06"},
        Reject{"Exponent", "rounds: 3", "rounds: 1e3",
               "15:13: schedule.0.rounds: got \"1e3\", want an integer, 1 to 1e+06"},
        Reject{"Hexadecimal", "hidden_size: 12", "hidden_size: 0xc",
               "6:16: base.hidden_size: got \"0xc\", want an integer"},
        Reject{"Overflow", "rounds: 3", "rounds: 4294967296",
               "15:13: schedule.0.rounds: got \"4294967296\", want an integer, 1 to 1e+06"},
        Reject{"Negative", "rounds: 3", "rounds: -1",
               "15:13: schedule.0.rounds: got \"-1\", want an integer, 1 to 1e+06"},
        Reject{"OutOfRange", "rounds: 3", "rounds: 0", "15:13: schedule.0.rounds: got 0, want an integer, 1 to 1e+06"},
        Reject{"QuotedNumber", "rounds: 3", "rounds: \"3\"",
               "15:13: schedule.0.rounds: got \"3\", want an integer, 1 to 1e+06 (without quotes)"},
        Reject{"Infinity", "name: sample", "name: sample\ntrain: {learning_rate: inf}",
               "2:24: train.learning_rate: got \"inf\", want a number, 0 to 1000"},
        Reject{"Enum", "name: sample", "name: sample\ntrain: {optimizer: AdamW}",
               "2:20: train.optimizer: got \"AdamW\", want adamw or sgd (did you mean \"adamw\"?)"},
        Reject{"UnspecifiedEnum", "name: sample", "name: sample\ntrain: {optimizer: optimizer_unspecified}",
               "2:20: train.optimizer: got \"optimizer_unspecified\", want adamw or sgd"},
        Reject{"RuleAcrossKeys", "[no, yes, maybe]", "[no, yes, no]",
               "13:21: problem.labels.2: got \"no\" a second time, want each name once"},
        Reject{"NotYaml", "name: sample", "name: [sample", "2:5: is not YAML: end of sequence flow not found"},
        Reject{"SecondDocument", "  - rounds: 3", "  - rounds: 3\n---\nname: x",
               "17:1: got a second document, want one"},
        Reject{"NotUtf8", "name: sample", "name: sample\nseed: \xff",
               "2:1: got a line that is not text, want UTF-8 without zero bytes"},
        Reject{"TooDeep", "name: sample", "name: [[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]",
               "1:7: name: got a list, want a string"}),
    [](const auto& test) { return test.param.name; });

TEST(LoaderTest, ReportsAllFindingsInOrderOfTheFile) {
  std::string text = kSampleRun;
  text += "peft: {lora: {rnak: 1}}\ntrain: {epochs: x, batch_size: 0}\nevaluation: [1]\n";
  const std::string error = ErrorOf(text, {"seed=-1", "nonsense"});
  EXPECT_EQ(error,
            "run.yaml:16:15: peft.lora.rnak: is not a key here, want one of rank, alpha, dropout, target_modules, "
            "layers, patterns, use_rslora, use_dora (did you mean \"rank\"?)\n"
            "run.yaml:17:17: train.epochs: got \"x\", want an integer, at most 10000\n"
            "run.yaml:17:32: train.batch_size: got 0, want an integer, 1 to 65536\n"
            "run.yaml:18:13: evaluation: got a list, want a map\n"
            "--set 1: seed: got \"-1\", want an integer\n"
            "--set 2: got \"nonsense\", want path.to.key=value");
}

TEST(LoaderTest, TheMethodMakesItsSettings) {
  const auto lora = LoadRunText(kSampleRun, "run.yaml", {});
  ASSERT_TRUE(lora.ok());
  EXPECT_TRUE(lora->config.peft().has_lora());
  const auto prompt = LoadRunText(kSampleRun, "run.yaml", {"peft.method=prompt", "problem.max_length=64"});
  ASSERT_TRUE(prompt.ok()) << prompt.status().ToString();
  EXPECT_FALSE(prompt->config.peft().has_lora());
  EXPECT_EQ(prompt->config.peft().prompt().length(), 16u);
  EXPECT_EQ(LoadRunText(kSampleRun, "run.yaml", {"peft.method=bitfit"})->config.peft().settings_case(),
            v1::Peft::SETTINGS_NOT_SET);
}

TEST(LoaderTest, RefusesSettingsOfTwoMethods) {
  const std::string text = std::string(kSampleRun) + "peft: {method: ia3, lora: {rank: 4}, ia3: {}}\n";
  EXPECT_THAT(ErrorOf(text), HasSubstr("peft.ia3: is given beside lora, want one of them"));
}

TEST(LoaderTest, RefusesOverridesThatDoNotFit) {
  EXPECT_EQ(ErrorOf(kSampleRun, {"schedule.2.rounds=1"}),
            "--set 1: schedule.2.rounds: has no such item in the list before it, want an index up to its length");
  EXPECT_EQ(ErrorOf(kSampleRun, {"seed=2", "train.momentm=1"}).substr(0, 36), "--set 2: train.momentm: is not a key");
  EXPECT_THAT(ErrorOf(kSampleRun, {"peft.lora.rank=[1"}), HasSubstr("--set 1: peft.lora.rank: is not YAML"));
  EXPECT_EQ(ErrorOf(kSampleRun, {"seed=~"}), "--set 1: seed: got null, want a value");
}

TEST(LoaderTest, AnEmptyFileLacksEveryRequiredKey) {
  const std::string error = ErrorOf("");
  for (const char* key :
       {": name: is missing", ": base: is missing", ": problem: is missing", ": schedule: is missing"}) {
    EXPECT_THAT(error, HasSubstr(key));
  }
}

TEST(LoaderTest, RefusesAFileThatIsTooLarge) {
  EXPECT_THAT(ErrorOf(std::string((4 << 20) + 1, '#')), HasSubstr("want at most 4194304"));
}

TEST(LoaderTest, TruncationAtEveryByteIsAnErrorOrARun) {
  const std::string text = kSampleRun;
  // The last two bytes are the number of rounds and the line's end.
  for (std::size_t size = 0; size + 2 < text.size(); ++size) {
    EXPECT_NE(ErrorOf(text.substr(0, size)), "") << size;
  }
}

TEST(LoaderTest, MutationsNeverCrash) {
  const std::string text = kSampleRun;
  int refused = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (const char c : {'\n', ':', '[', '"', '\x80'}) {
      std::string mutant = text;
      mutant[at] = c;
      if (!ErrorOf(mutant).empty()) ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(LoaderTest, EveryReadyRunLoads) {
  int count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(FEDPEFT_SOURCE_DIR "/configs")) {
    if (entry.path().extension() != ".yaml") continue;
    const Result<LoadedRun> run = LoadRun(entry.path().string());
    EXPECT_TRUE(run.ok()) << run.status().message();
    ++count;
  }
  EXPECT_GE(count, 9);
}

}  // namespace
}  // namespace fedpeft::configs
