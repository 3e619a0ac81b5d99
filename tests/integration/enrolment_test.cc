// Secure aggregation among enrolled clients, and what a policy refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "peft/core/files.h"
#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using ::testing::HasSubstr;
using Clients = std::vector<std::unique_ptr<Process>>;

Settings SecureSettings() {
  Settings settings;
  settings.rounds = 2;
  settings.clients = 5;
  settings.limits = "{client_timeout_s: 15, max_clients: 16}";
  settings.secure = "{mode: pairwise}";
  return settings;
}

class EnrolmentTest : public ::testing::Test {
 protected:
  /// An authority of this name, and its clients a to f.
  std::string Enrol(const std::string& name) {
    const std::string folder = federation_.File(name);
    Arguments make = {"/usr/bin/env", "bash", FEDPEFT_SOURCE_DIR "/scripts/make_certs.sh", folder, "--enrolment"};
    for (const char* client : {"a", "b", "c", "d", "e", "f"}) make.insert(make.end(), {"--client", client});
    RunToEnd(make, federation_.File(name + "-log"));
    return folder;
  }
  std::string Policy(const std::string& text) {
    const std::string path = federation_.File("policy-" + std::to_string(++policies_) + ".yaml");
    FEDPEFT_CHECK(WriteFileAtomically(path, AsBytes(std::string_view(text))).ok());
    return path;
  }
  std::unique_ptr<Process> Join(const std::string& name, const Arguments& more) {
    return federation_.Join(name, federation_.Data(static_cast<std::uint64_t>(name[0]) * 100, 20), more);
  }
  static Arguments Certificate(const std::string& folder, const std::string& name) {
    return {"--enrolment-cert", folder + "/" + name + ".crt", "--enrolment-key", folder + "/" + name + ".key"};
  }
  /// A client that ends at once; what it says.
  std::string Refusal(const std::string& name, const Arguments& more) {
    const auto client = Join(name, more);
    EXPECT_EQ(client->Wait(), 1);
    return client->errors();
  }

  Federation federation_{SecureSettings()};
  int policies_ = 0;
};

TEST_F(EnrolmentTest, A7OnlyEnrolledClientsAreInTheSum) {
  const std::string ours = Enrol("ours"), foreign = Enrol("foreign");
  federation_.Serve({"--enrolment-roots", ours + "/ca.crt"});
  const std::string policy = Policy("enrolment_roots: " + ours + "/ca.crt\n");
  const auto with = [&](Arguments certificate) {
    certificate.insert(certificate.end(), {"--policy", policy});
    return certificate;
  };
  // What a client can find out for itself.
  EXPECT_THAT(Refusal("f", with({})), HasSubstr("--enrolment-cert: is missing"));
  EXPECT_THAT(Refusal("f", with(Certificate(foreign, "f"))), HasSubstr("foreign/f.crt"));
  EXPECT_THAT(Refusal("f", with(Certificate(ours, "e"))), HasSubstr("got one of 'e'"));
  EXPECT_THAT(Refusal("f", with({"--enrolment-cert", ours + "/f.crt", "--enrolment-key", ours + "/e.key"})),
              HasSubstr("is not the certificate's"));
  Arguments many = with(Certificate(ours, "f"));
  many.insert(many.end(), {"--virtual-clients", "2"});
  EXPECT_THAT(Refusal("f", many), HasSubstr("a certificate names one client"));

  // One that insists on nothing and shows another authority's: the coordinator leaves it out, and nobody is disturbed.
  Clients clients;
  clients.push_back(Join("f", Certificate(foreign, "f")));
  ASSERT_TRUE(Eventually([&] { return clients.front()->errors().find("session.joined") != std::string::npos; }));
  for (const char* name : {"a", "b", "c", "d"}) clients.push_back(Join(name, with(Certificate(ours, name))));
  // Five have joined, and four are too few: the attempt is lost until e is there.
  ASSERT_TRUE(Eventually([&] { return federation_.server().errors().find("round.lost") != std::string::npos; }));
  clients.push_back(Join("e", with(Certificate(ours, "e"))));
  federation_.Finish(clients);
  const auto rounds = federation_.Rounds();
  ASSERT_EQ(rounds.size(), 3u);
  for (const std::size_t round : {1u, 2u}) {
    EXPECT_EQ(rounds[round]["participants"], 5);
    EXPECT_EQ(rounds[round]["threat"], "semi_malicious, identities checked here");
  }
  EXPECT_THAT(federation_.server().errors(), HasSubstr("sum.client_lost client=f"));
}

TEST_F(EnrolmentTest, APolicyRefusesTheRunBeforeAnyTraining) {
  federation_.Serve();
  EXPECT_THAT(Refusal("a", {"--policy", Policy("min_clients: 10\n")}), HasSubstr("as few as 5 clients"));
  EXPECT_THAT(Refusal("a", {"--policy", Policy("bases: [" + std::string(64, 'a') + "]\n")}),
              HasSubstr("does not allow"));
  EXPECT_THAT(Refusal("a", {"--eval-data", federation_.Data(0, 5)}), HasSubstr("--eval-data: got some"));
  EXPECT_THAT(Refusal("a", {"--policy", Policy("min_client: 10\n")}), HasSubstr("did you mean \"min_clients\""));
}

TEST(PolicyTest, ARunInTheClearIsRefusedByAnEmptyPolicy) {
  Federation federation({.rounds = 1, .clients = 1});
  federation.Serve();
  const std::string policy = federation.File("policy.yaml");
  ASSERT_TRUE(WriteFileAtomically(policy, Bytes()).ok());
  const auto client = federation.Join("a", federation.Data(0, 5), {"--policy", policy});
  EXPECT_EQ(client->Wait(), 1);
  EXPECT_THAT(client->errors(), HasSubstr("has no secure aggregation"));
}

}  // namespace
}  // namespace fedpeft::testing
