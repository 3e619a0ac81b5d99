#include "configs/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "configs/loader.h"
#include "tests/configs/sample_run.h"

namespace fedpeft {
namespace {

using ::testing::HasSubstr;

Policy Load(const std::string& text) {
  Result<Policy> policy = LoadPolicyText(text, "policy.yaml");
  FEDPEFT_CHECK(policy.ok());
  return *std::move(policy);
}

/// The sample as a run of ten clients with secure aggregation, changed.
RunSpec SecureRun(const std::function<void(SecureAggregationSpec&)>& change = [](auto&) {}) {
  const Result<configs::LoadedRun> loaded = configs::LoadRunText(configs::testing::kSampleRun, "run.yaml");
  FEDPEFT_CHECK(loaded.ok());
  RunSpec run = *TranslateRun(loaded->config);
  for (PhaseSpec& phase : run.schedule) {
    phase.cohort = 10;
    phase.min_clients = 5;
    phase.reducer.max_weight = 1000;
  }
  run.secure.on = true;
  change(run.secure);
  return run;
}

TEST(PolicyTest, AnEmptyFileWantsSecureAggregationAgainstLies) {
  const Policy policy = Load("");
  EXPECT_TRUE(policy.Check(SecureRun()).ok());
  EXPECT_THAT(policy.Check(SecureRun([](auto& secure) { secure.on = false; })).message(),
              HasSubstr("has no secure aggregation"));
  EXPECT_THAT(policy.Check(SecureRun([](auto& secure) { secure.threat = privacy::Threat::kCurious; })).message(),
              HasSubstr("lies about survivors"));
}

TEST(PolicyTest, EachBoundRefusesTheRunBeyondIt) {
  const RunSpec run = SecureRun();
  EXPECT_THAT(Load("min_clients: 6").Check(run).message(), HasSubstr("as few as 5 clients"));
  EXPECT_THAT(Load("max_bits: 24").Check(run).message(), HasSubstr("elements have 28 bits"));
  EXPECT_THAT(Load("min_threshold: 10").Check(run).message(), HasSubstr("secrets take 6 shares of 10 clients"));
  EXPECT_THAT(Load("min_corrupt: 0.25").Check(run).message(), HasSubstr("max_corrupt is 0.1"));
  EXPECT_THAT(Load("bases: [" + std::string(64, 'e') + "]").Check(run).message(), HasSubstr("does not allow"));
  EXPECT_TRUE(Load("bases: [" + Hex(run.weights) + "]\nmin_clients: 5\nmax_bits: 28").Check(run).ok());
}

TEST(PolicyTest, AClientMayAllowRunsInTheClear) {
  const Policy policy = Load("require_secure_aggregation: false");
  EXPECT_TRUE(policy.Check(SecureRun([](auto& secure) { secure.on = false; })).ok());
}

TEST(PolicyTest, ErrorsNameThePlace) {
  const Status wrong = LoadPolicyText("min_clients: 4\nbases: [abc]\n", "policy.yaml").status();
  EXPECT_EQ(wrong.code(), Code::kInvalidArgument);
  EXPECT_THAT(wrong.message(), HasSubstr("policy.yaml:1:14: min_clients: got 4"));
  EXPECT_THAT(wrong.message(), HasSubstr("policy.yaml:2:9: bases.0: got \"abc\", want 64 hexadecimal digits"));
  EXPECT_THAT(LoadPolicyText("min_client: 7\n", "policy.yaml").status().message(), HasSubstr("did you mean"));
}

}  // namespace
}  // namespace fedpeft
