#include "configs/views.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "configs/clip_groups.h"

namespace fedpeft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// LoRA of rank 2 on one linear of width 4: A and B have 8 values each, the head 12 and 3.
PeftPlan Plan() {
  PeftPlan plan;
  plan.base = {"bert", 4, 1, 2, 8, 16, 16};
  plan.method = LoraConfig{2, 4, 0, {"query"}};
  plan.labels = 3;
  return plan;
}

PhaseSpec Phase(std::uint32_t rounds, std::vector<ViewConfig> views, double max_abs = 16) {
  PhaseSpec phase;
  phase.rounds = rounds;
  phase.views = std::move(views);
  phase.reducer.max_abs = max_abs;
  return phase;
}

RunViews Views(const std::vector<PhaseSpec>& schedule, const PeftPlan& plan = Plan()) {
  return RunViews::Make(plan, schedule, PlanLayout(plan).value()).value();
}

std::vector<std::size_t> Sizes(const RunViews& views, std::uint32_t rounds) {
  std::vector<std::size_t> sizes;
  for (std::uint32_t round = 1; round <= rounds; ++round) sizes.push_back(views.Update(round).size);
  return sizes;
}

TEST(ViewsTest, RoundsTakeTheViewsOfTheirPhaseInTurn) {
  const RunViews views = Views({Phase(3, {{.frozen = {"lora_a"}}, {.frozen = {"lora_b", "head"}}}), Phase(2, {}, 4)});
  EXPECT_THAT(Sizes(views, 5), ElementsAre(23, 8, 23, 31, 31));
  EXPECT_EQ(views.At(0), views.At(1));
  EXPECT_EQ(views.Update(3).segments[0].max_abs, 16);
  EXPECT_EQ(views.Update(4).segments[0].max_abs, 4);
  EXPECT_NE(views.Update(1).digest, views.Update(2).digest);
  EXPECT_EQ(views.max_update_bytes(), 31 * sizeof(float));
}

TEST(ViewsTest, WhatNoRoundSharesIsNeverSent) {
  EXPECT_EQ(Views({Phase(2, {})}).Broadcast().size, 31u);
  EXPECT_EQ(Views({Phase(2, {{.frozen = {"lora_a"}}})}).Broadcast().size, 23u);
  EXPECT_EQ(Views({Phase(2, {{.local = {"lora_b"}}})}).Broadcast().size, 23u);
  EXPECT_EQ(Views({Phase(2, {{.frozen = {"lora_a"}}}), Phase(1, {})}).Broadcast().size, 31u);
  PeftPlan frozen_head = Plan();
  frozen_head.head = HeadPolicy::kFrozen;
  EXPECT_EQ(Views({Phase(1, {})}, frozen_head).Broadcast().size, 16u);
  // Of a phase with one round the second view never comes.
  EXPECT_EQ(Views({Phase(1, {{.frozen = {"lora_a"}}, {}})}).Broadcast().size, 23u);
}

TEST(ViewsTest, LocalPartsArePersonal) {
  EXPECT_FALSE(Views({Phase(2, {{.frozen = {"lora_a"}}})}).any_personal());
  const RunViews views = Views({Phase(1, {}), Phase(1, {{.local = {"head"}}})});
  EXPECT_THAT(views.personal(), ElementsAre(false, false, true, true));
  EXPECT_THAT(views.shared(), ElementsAre(true, true, true, true));
}

TEST(ViewsTest, ErrorsNameTheViewsKey) {
  const auto refused =
      RunViews::Make(Plan(), {Phase(1, {}), Phase(1, {{}, {.frozen = {"x"}}})}, PlanLayout(Plan()).value());
  EXPECT_THAT(refused.status().message(), HasSubstr("schedule.1.views.1.frozen: got \"x\""));
}

TEST(ClipGroupsTest, FollowTheTensorsThatTravelOrAreTrained) {
  RunSpec run;
  run.plan = Plan();
  run.schedule = {Phase(2, {{}, {.frozen = {"lora_a"}}})};
  EXPECT_TRUE(UpdateClipGroups(run, 1)->shares.empty());
  run.privacy.clip_groups = {{{"head"}, 0.25}, {{"lora_b"}, 0.5}};
  const auto layout = PlanLayout(run.plan).value();
  ASSERT_TRUE(CheckClipGroups(run.privacy, *layout).ok());
  const auto text = [](const privacy::ClipGroups& groups) {
    std::string out;
    for (const auto& [size, group] : groups.stretches) out += std::to_string(size) + ":" + std::to_string(group) + " ";
    return out;
  };
  EXPECT_EQ(text(*UpdateClipGroups(run, 1)), "8:2 8:1 12:0 3:0 ");
  EXPECT_EQ(text(*UpdateClipGroups(run, 2)), "8:1 12:0 3:0 ");
  EXPECT_THAT(UpdateClipGroups(run, 1)->shares, ElementsAre(0.25, 0.5, 0.25));
  const ViewSpec view = *PlanView(run.plan, *layout, {.local = {"head"}, .frozen = {"lora_b"}});
  EXPECT_EQ(text(GradientClipGroups(run.privacy, *layout, view)), "8:2 12:0 3:0 ");
}

}  // namespace
}  // namespace fedpeft
