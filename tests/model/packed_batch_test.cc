#include "peft/model/packed_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace fedpeft {
namespace {

using Ids = std::vector<std::int32_t>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr SequenceLimits kLimits{100, 2, 64};

std::vector<std::int64_t> Values(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr<std::int64_t>(), tensor.const_data_ptr<std::int64_t>() + tensor.numel()};
}

TEST(PackedBatchTest, PacksByAscendingLengthAndRemembersWhoIsWhere) {
  const Ids longer = {5, 6, 7}, shorter = {8}, types = {0, 1, 1};
  const std::vector<TokenSequence> sequences = {{longer, types}, {shorter, {}}};
  const auto batch = Pack(sequences, kLimits);
  ASSERT_TRUE(batch.ok()) << batch.status().ToString();
  EXPECT_THAT(Values(batch->ids), ElementsAre(8, 5, 6, 7));
  EXPECT_THAT(Values(batch->type_ids), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(Values(batch->positions), ElementsAre(0, 0, 1, 2));
  EXPECT_THAT(Values(batch->first_rows), ElementsAre(0, 1));
  EXPECT_THAT(Values(batch->rank), ElementsAre(1, 0));
  EXPECT_THAT(batch->lengths, ElementsAre(1, 3));
}

TEST(PackedBatchTest, APromptsTokensStandBeforeEverySequence) {
  const Ids first = {1, 2}, second = {3};
  const std::vector<TokenSequence> sequences = {{first, {}}, {second, {}}};
  const PackedBatch batch = Pack(sequences, kLimits, {.prompt = 2, .prefix = 0, .ids = {7, 8}}).value();
  EXPECT_TRUE(torch::equal(batch.ids, torch::tensor({7, 8, 3, 7, 8, 1, 2}, torch::kInt64)));
  const auto refused = Pack(sequences, kLimits, {.prompt = 1, .prefix = 0, .ids = {100}});
  EXPECT_THAT(refused.status().message(), HasSubstr("token id of the prompt: got 100, want 0 to 99"));
}

TEST(PackedBatchTest, RefusesWhatTheBaseHasNoTableFor) {
  const Ids good = {1, 2}, high = {1, 100}, negative = {-1}, empty, overlong(65, 1), type = {0, 2}, short_types = {0};
  const struct {
    TokenSequence sequence;
    const char* message;
  } cases[] = {{{high, {}}, "token id: got 100, want 0 to 99"},
               {{negative, {}}, "got -1"},
               {{empty, {}}, "has 0 tokens"},
               {{overlong, {}}, "has 65 tokens, want 1 to 64"},
               {{good, type}, "token type id: got 2"},
               {{good, short_types}, "has 1 type ids for 2 tokens"}};
  for (const auto& test : cases) {
    const auto batch = Pack(std::span(&test.sequence, 1), kLimits);
    ASSERT_FALSE(batch.ok()) << test.message;
    EXPECT_THAT(batch.status().message(), HasSubstr(test.message));
  }
}

}  // namespace
}  // namespace fedpeft
