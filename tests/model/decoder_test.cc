#include "peft/model/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "peft/model/base_model.h"
#include "peft/model/load.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_decoder.h"

namespace fedpeft {
namespace {

using Texts = std::vector<std::vector<std::int32_t>>;
using torch::Tensor;

std::shared_ptr<const BaseModel> Load(const std::string& model_type, int layers, const std::string& more = "") {
  const testing::TempFolder folder;
  EXPECT_TRUE(testing::WriteTinyDecoder(folder.path(), testing::TinyDecoderConfig(model_type, layers, more)).ok());
  auto base = LoadBaseModel(folder.path(), BaseDtype::kFloat32);
  EXPECT_TRUE(base.ok()) << base.status().ToString();
  return std::move(base).value();
}

PackedBatch PackTexts(const BaseModel& base, const Texts& texts) {
  std::vector<TokenSequence> sequences;
  for (const auto& text : texts) sequences.push_back({text, {}});
  auto batch = Pack(sequences, base.limits());
  EXPECT_TRUE(batch.ok()) << batch.status().ToString();
  return std::move(batch).value();
}

/// Lengths 1 to 40, in no order, several alike.
Texts TextsOfManyLengths() {
  Texts texts;
  for (const int length : {7, 1, 40, 7, 12, 13, 2, 30, 7, 33}) {
    texts.emplace_back();
    for (int t = 0; t < length; ++t) texts.back().push_back((length * 7 + t * 3) % 50);
  }
  return texts;
}

// Sums of 20 to 28 float32 terms in another order.
bool Near(const Tensor& a, const Tensor& b) {
  return torch::allclose(a, b, 1e-5, 1e-5);
}

class DecoderTest : public ::testing::TestWithParam<const char*> {
 protected:
  const torch::NoGradGuard no_grad_;
  const std::shared_ptr<const BaseModel> base_ =
      Load("mistral", 2, std::string(R"(, "sliding_window": )") + GetParam());
};

TEST_P(DecoderTest, PackedEqualsOneByOne) {
  const Texts texts = TextsOfManyLengths();
  const Tensor together = base_->Pool(PackTexts(*base_, texts), SiteHook(), {});
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Tensor alone = base_->Pool(PackTexts(*base_, {texts[i]}), SiteHook(), {});
    EXPECT_TRUE(Near(together[static_cast<std::int64_t>(i)], alone[0])) << i;
  }
}

TEST_P(DecoderTest, PoolsTheLastTokensHiddenState) {
  const PackedBatch batch = PackTexts(*base_, TextsOfManyLengths());
  const Tensor hidden = base_->Hidden(batch, SiteHook(), {});
  const Tensor last = hidden.index_select(0, batch.last_rows).index_select(0, batch.rank);
  EXPECT_TRUE(Near(base_->Pool(batch, SiteHook(), {}), last));
}

TEST_P(DecoderTest, AttentionWithDropoutSeesTheSame) {
  const PackedBatch batch = PackTexts(*base_, TextsOfManyLengths());
  // So rarely that nothing is dropped of these 10^5 numbers; it takes the path without the fused kernel.
  const ForwardMode mode{1e-12, 0, at::detail::createCPUGenerator(1)};
  EXPECT_TRUE(Near(base_->Hidden(batch, SiteHook(), mode), base_->Hidden(batch, SiteHook(), {})));
  EXPECT_TRUE(Near(base_->Pool(batch, SiteHook(), mode), base_->Pool(batch, SiteHook(), {})));
}

TEST_P(DecoderTest, ExtendedInPiecesEqualsAtOnce) {
  std::vector<std::int32_t> ids;
  for (int t = 0; t < 40; ++t) ids.push_back((t * 7) % 50);
  const Tensor whole = base_->Hidden(PackTexts(*base_, {ids}), SiteHook(), {});
  const std::vector<std::vector<std::size_t>> divisions = {
      {40}, {1, 39}, {6, 1, 1, 5, 20, 7}, std::vector<std::size_t>(40, 1)};
  for (const std::vector<std::size_t>& pieces : divisions) {
    KeyValueCache cache;
    std::vector<Tensor> parts;
    for (std::size_t at = 0; const std::size_t piece : pieces) {
      const auto next = PackNext(std::span(ids).subspan(at, piece), cache.length(), base_->limits());
      ASSERT_TRUE(next.ok()) << next.status().ToString();
      parts.push_back(base_->Extend(*next, SiteHook(), cache));
      at += piece;
    }
    EXPECT_TRUE(Near(torch::cat(parts), whole)) << pieces.size();
    EXPECT_FALSE(PackNext(std::vector{1}, cache.length(), base_->limits()).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, DecoderTest, ::testing::Values("null", "5", "1", "40"));

/// The rows of a text of ten tokens that change with token `changed`.
std::vector<std::int64_t> RowsThatChange(const BaseModel& base, std::size_t changed) {
  const torch::NoGradGuard no_grad;
  Texts texts = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}};
  const Tensor before = base.Hidden(PackTexts(base, texts), SiteHook(), {});
  texts[0][changed] = 40;
  const Tensor after = base.Hidden(PackTexts(base, texts), SiteHook(), {});
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < 10; ++i) {
    if (!torch::equal(before[i], after[i])) rows.push_back(i);
  }
  return rows;
}

TEST(DecoderWindowTest, ATokenSeesWhatIsBeforeItWithinTheWindow) {
  EXPECT_THAT(RowsThatChange(*Load("llama", 1), 6), ::testing::ElementsAre(6, 7, 8, 9));
  EXPECT_THAT(RowsThatChange(*Load("mistral", 1, R"(, "sliding_window": 3)"), 2), ::testing::ElementsAre(2, 3, 4));
}

TEST(DecoderHeadTest, IsTheEmbeddingWhenTiedAndElseMissing) {
  const auto tied = Load("llama", 1, R"(, "tie_word_embeddings": true)");
  EXPECT_TRUE(tied->has_language_head());
  EXPECT_EQ(tied->LanguageLogits(torch::ones({3, 20}), SiteHook()).sizes(), (std::vector<std::int64_t>{3, 50}));
  EXPECT_FALSE(Load("llama", 1)->has_language_head());
}

}  // namespace
}  // namespace fedpeft
