// The hub without gRPC: what its callbacks may do.
#include "server/hub.h"

#include <gtest/gtest.h>

#include <optional>

#include "server/spool.h"
#include "tests/support/temp_folder.h"

namespace fedpeft::server {
namespace {

RunInfo HostedRun() {
  RunInfo run;
  run.run_id = "run-1";
  return run;
}

JoinClaim ClaimOf(const std::string& name) {
  JoinClaim claim;
  claim.protocol_version = 1;
  claim.run_id = "run-1";
  claim.name = name;
  claim.examples = {10};
  return claim;
}

TEST(HubTest, AnAnswerToAPollMayCallBack) {
  testing::TempFolder folder;
  std::vector<std::string> events;
  Hub hub(
      HostedRun(), *Spool::Open(folder.File("spool")),
      [&](const Event& event) { events.push_back(std::holds_alternative<ClientsJoined>(event) ? "joined" : "left"); },
      Clock::System());
  const auto older = hub.Join(ClaimOf("alice"), std::nullopt);
  ASSERT_TRUE(older.ok());
  const SessionId session = *hub.Authenticate(older->token, std::nullopt);
  // As gRPC may: ending one call runs the handler of the next on the same thread.
  std::optional<bool> bob_joined;
  ASSERT_TRUE(hub.Poll(session, {},
                       [&](const Result<std::vector<Task>>& outcome) {
                         EXPECT_EQ(outcome.status().code(), Code::kAborted);
                         bob_joined = hub.Join(ClaimOf("bob"), std::nullopt).ok();
                       })
                  .ok());
  ASSERT_TRUE(hub.Join(ClaimOf("alice"), std::nullopt).ok());
  EXPECT_EQ(bob_joined, true);
  EXPECT_EQ(events, (std::vector<std::string>{"joined", "joined", "left", "joined"}));
}

}  // namespace
}  // namespace fedpeft::server
