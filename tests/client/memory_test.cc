#include "client/memory.h"

#include <gtest/gtest.h>

#include "tests/support/temp_folder.h"
#include "tests/support/tiny_base.h"

namespace fedpeft::client {
namespace {

class MemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(testing::WriteTinyBase(folder_.path()).ok());
    auto base = OpenBase(folder_.path());
    ASSERT_TRUE(base.ok()) << base.status().ToString();
    base_.emplace(std::move(*base));
    run_.plan.base = base_->shape;
    run_.plan.labels = 3;
    run_.train.batch_size = 4;
    run_.problem.max_length = 8;
  }
  MemoryForecast Forecast() const {
    const auto forecast = ForecastMemory(*base_, run_);
    EXPECT_TRUE(forecast.ok()) << forecast.status().ToString();
    return forecast.ok() ? *forecast : MemoryForecast();
  }

  testing::TempFolder folder_;
  std::optional<BaseInfo> base_;
  RunSpec run_;
};

TEST_F(MemoryTest, ActivationsGrowWithTokensAndWhatIsAdapted) {
  const MemoryForecast small = Forecast();
  EXPECT_EQ(small.weights, 4 * static_cast<std::uint64_t>(base_->parameters)) << "the file itself, in its format";
  run_.train.batch_size = 8;
  const MemoryForecast twice = Forecast();
  EXPECT_NEAR(static_cast<double>(twice.activations), 2.0 * static_cast<double>(small.activations), 2);
  EXPECT_EQ(twice.total() - small.total(), twice.activations - small.activations);
  std::get<LoraConfig>(run_.plan.method).target_modules = {"query", "value", "output.dense"};
  EXPECT_GT(Forecast().activations, twice.activations);
  EXPECT_GT(Forecast().trained, twice.trained);
}

TEST_F(MemoryTest, AnotherFormatThanTheFilesTakesBoth) {
  const MemoryForecast full = Forecast();
  run_.train.base_dtype = TrainSpec::BaseDtype::kBfloat16;
  const MemoryForecast half = Forecast();
  EXPECT_EQ(half.weights, full.weights + full.weights / 2);
  // Half of what is kept, and one layer's attention in float32: eight times [tokens, width].
  const double attention = 8.0 * sizeof(float) * run_.train.batch_size * run_.problem.max_length *
                           static_cast<double>(run_.plan.base.hidden_size);
  EXPECT_NEAR(static_cast<double>(half.activations), 0.5 * static_cast<double>(full.activations) + attention, 1);
}

TEST_F(MemoryTest, Int8HasItsBytesBesideTheFloats) {
  const MemoryForecast full = Forecast();
  std::uint64_t bytes = 0;
  for (const Site& site : SitesOf(run_.plan.base).linears) bytes += static_cast<std::uint64_t>(site.in * site.out);
  run_.train.base_dtype = TrainSpec::BaseDtype::kInt8;
  const MemoryForecast int8 = Forecast();
  EXPECT_EQ(int8.weights, full.weights + bytes);
  EXPECT_EQ(int8.activations, full.activations);
  run_.train.base_dtype = TrainSpec::BaseDtype::kBfloat16;
  const std::uint64_t half = Forecast().total();
  run_.train.base_dtype = TrainSpec::BaseDtype::kAuto;
  EXPECT_EQ(Forecast().total(), std::max(int8.total(), half));
}

TEST_F(MemoryTest, WhatCannotBePlannedHasNoForecast) {
  std::get<LoraConfig>(run_.plan.method).target_modules = {"quarry"};
  EXPECT_EQ(ForecastMemory(*base_, run_).status().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace fedpeft::client
