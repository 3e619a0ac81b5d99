// fedpeft-client as a user meets it: its command line, and what a signal does at each stage of joining.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Of a process that a signal told to stop: the exit status that shells know from Ctrl-C.
constexpr int kStopped = 130;

TEST(ClientTest, SetTakesOneValueAndLeavesThePositionals) {
  Federation federation(Settings{});
  const std::string data = federation.Data(0, 8);
  Process train(
      {FEDPEFT_CLIENT, "train", "--base", federation.base(), "--data", data, "--eval-data", data, "--threads", "1",
       "--set", "schedule.0.rounds=1", "--set", "train.batch_size=4", federation.run(), federation.File("adapter")},
      federation.File("train"));
  EXPECT_EQ(train.Wait(), 0) << train.errors();
  EXPECT_THAT(train.output(), HasSubstr("round 1/1"));
}

TEST(ClientTest, StopEndsTheWaitForACoordinator) {
  Federation federation(Settings{});
  Process client(
      {FEDPEFT_CLIENT, "join", "--server", "127.0.0.1:1", "--base", federation.base(), "--data", federation.Data(0, 8)},
      federation.File("client"));
  ASSERT_TRUE(Eventually([&] { return client.errors().find("coordinator.unreachable") != std::string::npos; }));
  client.Signal(SIGTERM);
  EXPECT_EQ(client.Wait(), kStopped) << client.errors();
}

TEST(ClientTest, StopIsHeardWhileDataIsLoading) {
  Federation federation(Settings{});
  federation.Serve();
  // A pipe whose other end nobody has opened holds up who opens it, as a large file does.
  const std::string data = federation.File("data.csv");
  ASSERT_EQ(::mkfifo(data.c_str(), 0600), 0);
  const auto client = federation.Join("a", data);
  // The last line before data are read.
  ASSERT_TRUE(Eventually([&] { return client->errors().find("training.threads") != std::string::npos; }));
  client->Signal(SIGTERM);
  EXPECT_TRUE(Eventually([&] { return client->errors().find("signal.stop") != std::string::npos; }));
  const int other_end = ::open(data.c_str(), O_RDWR);
  EXPECT_EQ(client->Wait(), kStopped) << client->errors();
  ::close(other_end);
  EXPECT_THAT(client->errors(), Not(HasSubstr("session.joined")));
}

}  // namespace
}  // namespace fedpeft::testing
