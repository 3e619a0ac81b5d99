// fedpeft-client as a user meets it: its command line, and what a signal does at each stage of joining.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "peft/core/files.h"
#include "tests/integration/federation.h"
#include "tests/support/tiny_base.h"

namespace fedpeft::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
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

TEST(ClientTest, TheBasesNumberFormatIsTheRunsOrElseTheFastest) {
  Federation federation(Settings{});
  const std::string data = federation.Data(0, 8);
  const auto log_of = [&](const std::string& dtype) {
    Process train({FEDPEFT_CLIENT, "train", "--base", federation.base(), "--data", data, "--eval-data", data, "--set",
                   "train.base_dtype=" + dtype, federation.run(), federation.File("adapter-" + dtype)},
                  federation.File("train-" + dtype));
    train.Wait();
    return train.errors();
  };
  EXPECT_THAT(log_of("int8"), AnyOf(HasSubstr("products of int8 are not exact"),
                                    AllOf(HasSubstr("dtype=int8"), Not(HasSubstr("base_dtype.measured")))));
  EXPECT_THAT(log_of("auto"), AllOf(HasSubstr("base_dtype.measured"), HasSubstr("base.loaded")));
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

/// The value of `key` in a base block, which `inspect` prints and a run has.
std::string HashIn(const std::string& yaml, const std::string& key) {
  const std::size_t at = yaml.find(key + ": ");
  return at == std::string::npos ? "missing"
                                 : yaml.substr(yaml.find_first_of("0123456789abcdef", at + key.size() + 1), 64);
}

TEST(ClientTest, AnotherBaseOrTokenizerIsRefusedWithBothHashes) {
  Federation federation(Settings{});
  federation.Serve();
  const std::string run = *ReadFile(federation.run(), 1 << 20), data = federation.Data(0, 8);
  const auto refused = [&](const std::string& base, const std::string& key) {
    const std::string own = HashIn(federation.Client({"inspect", "--base", base, "--data", data}), key);
    EXPECT_NE(own, HashIn(run, key));
    Process client({FEDPEFT_CLIENT, "join", "--server", federation.address(), "--base", base, "--data", data},
                   federation.File("client-" + key));
    EXPECT_EQ(client.Wait(), 1) << client.errors();
    EXPECT_THAT(client.errors(), HasSubstr(own));
    EXPECT_THAT(client.errors(), HasSubstr(HashIn(run, key)));
  };

  const std::string other_words = federation.File("other-words"), other_numbers = federation.File("other-numbers");
  ASSERT_TRUE(WriteTinyBase(other_words).ok() && WriteTinyBase(other_numbers).ok());
  nlohmann::json tokenizer = TinyTokenizer();
  nlohmann::json& vocabulary = tokenizer["model"]["vocab"];
  std::swap(vocabulary[TinyWords()[0]], vocabulary[TinyWords()[1]]);
  ASSERT_TRUE(WriteFileAtomically(other_words + "/tokenizer.json", AsBytes(tokenizer.dump())).ok());
  refused(other_words, "tokenizer_sha256");

  const std::string weights = other_numbers + "/model.safetensors";
  std::string bytes = *ReadFile(weights, 1 << 24);
  bytes.back() ^= 1;
  ASSERT_TRUE(WriteFileAtomically(weights, AsBytes(bytes)).ok());
  refused(other_numbers, "weights_sha256");
}

TEST(ClientTest, ARunThatWasNotAgreedToIsRefusedAndWhatDiffersIsNamed) {
  Federation federation(Settings{.rounds = 1, .clients = 1});
  federation.Serve();
  const std::string data = federation.Data(0, 8), agreed = federation.File("agreed.yaml");
  std::string run = *ReadFile(federation.run(), 1 << 20);
  const std::size_t labels = run.find("animal, food");
  ASSERT_NE(labels, std::string::npos) << run;
  run.replace(labels, 12, "food, animal");
  ASSERT_TRUE(WriteFileAtomically(agreed, AsBytes(run)).ok());
  const auto other = federation.Join("other", data, {"--run", agreed});
  EXPECT_EQ(other->Wait(), 1) << other->errors();
  EXPECT_THAT(other->errors(), HasSubstr("problem.labels.0: was food, is animal"));
  EXPECT_THAT(other->errors(), HasSubstr(agreed));
  EXPECT_THAT(other->errors(), Not(HasSubstr("session.joined")));

  std::vector<std::unique_ptr<Process>> clients;
  clients.push_back(federation.Join("same", data, {"--run", federation.run()}));
  federation.Finish(clients);
}

}  // namespace
}  // namespace fedpeft::testing
