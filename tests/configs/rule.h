// A rule of runs, as a test breaks it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "configs/keys.h"
#include "configs/loader.h"
#include "configs/reader.h"
#include "configs/validate.h"
#include "peft/core/check.h"
#include "proto/run_config.pb.h"
#include "tests/configs/sample_run.h"

namespace fedpeft::configs::testing {

inline v1::RunConfig Sample() {
  Result<LoadedRun> run = LoadRunText(kSampleRun, "run.yaml");
  FEDPEFT_CHECK(run.ok());
  return run->config;
}

inline v1::AdaLora* SetAdaLora(v1::RunConfig* config) {
  config->mutable_peft()->set_method(v1::Peft::ADALORA);
  FillDefaults({}, config->mutable_peft()->mutable_adalora());
  return config->mutable_peft()->mutable_adalora();
}

inline v1::Adapter* SetAdapter(v1::RunConfig* config) {
  config->mutable_peft()->set_method(v1::Peft::ADAPTER);
  FillDefaults({}, config->mutable_peft()->mutable_adapter());
  config->mutable_peft()->mutable_adapter()->set_size(4);
  return config->mutable_peft()->mutable_adapter();
}

struct Rule {
  std::string name;
  std::function<void(v1::RunConfig*)> break_it;
  std::string path;
  /// Part of the message.
  std::string says;
};

/// The first finding is the rule's.
inline void ExpectReported(const Rule& rule) {
  v1::RunConfig config = Sample();
  rule.break_it(&config);
  const std::vector<Finding> findings = Validate(config);
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings.front().path, rule.path);
  EXPECT_NE(findings.front().message.find(rule.says), std::string::npos) << findings.front().message;
}

}  // namespace fedpeft::configs::testing
