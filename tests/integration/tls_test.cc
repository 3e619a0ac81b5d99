// Mutual TLS with the certificates that scripts/make_certs.sh makes, and who is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string_view>

#include "peft/core/files.h"
#include "tests/integration/federation.h"

namespace fedpeft::testing {
namespace {

using ::testing::HasSubstr;

/// A folder of certificates for the server and clients a and b, of an authority of its own.
std::string MakeCertificates(const Federation& federation, const std::string& name) {
  const std::string folder = federation.File(name);
  RunToEnd(
      {"/usr/bin/env", "bash", FEDPEFT_SOURCE_DIR "/scripts/make_certs.sh", folder, "--client", "a", "--client", "b"},
      federation.File(name + "-log"));
  return folder;
}

Arguments ServerTls(const std::string& certs) {
  return {"--tls-cert", certs + "/server.crt", "--tls-key", certs + "/server.key", "--client-ca", certs + "/ca.crt"};
}

/// Trusts the server's authority and shows the certificate of `name` in `own`.
Arguments ClientTls(const std::string& trusted, const std::string& own, const std::string& name) {
  return {"--tls-ca",  trusted + "/ca.crt",      "--tls-cert", own + "/" + name + ".crt",
          "--tls-key", own + "/" + name + ".key"};
}

TEST(TlsTest, OnlyClientsWithTheirOwnCertificateTakePart) {
  Federation federation({.rounds = 2, .clients = 2});
  const std::string certs = MakeCertificates(federation, "certs"), foreign = MakeCertificates(federation, "foreign");
  federation.Serve(ServerTls(certs));
  const std::string data = federation.Data(0, 30);
  std::vector<std::unique_ptr<Process>> clients;
  clients.push_back(federation.Join("a", data, ClientTls(certs, certs, "a")));

  const auto refused = [&](const std::string& name, Arguments more) {
    more.insert(more.end(), {"--max-wait", "1"});
    const auto client = federation.Join(name, data, more);
    EXPECT_EQ(client->Wait(), 1);
    return client->errors();
  };
  refused("b", {});                               // plain text
  refused("b", {"--tls-ca", certs + "/ca.crt"});  // no certificate
  refused("b", ClientTls(certs, foreign, "b"));   // one of another authority
  refused("b", ClientTls(foreign, certs, "b"));   // does not trust the server
  EXPECT_THAT(refused("a", ClientTls(certs, certs, "b")), HasSubstr("want the certificate's common name b"));
  // A folder keeps to the name that its ledger is under.
  const std::string state = federation.File("state-b"), name = JoinPath(state, "name");
  ASSERT_TRUE(MakeFolders(state).ok());
  ASSERT_TRUE(WriteFileAtomically(name, AsBytes(std::string_view("c"))).ok());
  Arguments named_by_certificate = ClientTls(certs, certs, "b");
  named_by_certificate.insert(named_by_certificate.end(), {"--state", state});
  EXPECT_THAT(refused("", named_by_certificate), HasSubstr("got c, want the certificate's common name b"));
  EXPECT_EQ(federation.LastRound(), 0);  // still waits for b

  ASSERT_TRUE(std::filesystem::remove(name));
  clients.push_back(federation.Join("", data, named_by_certificate));
  federation.Finish(clients);
  EXPECT_EQ(*ReadFile(name, 100), "b");
  const auto show = nlohmann::json::parse(federation.Server({"show", "--state", federation.state(), "--json"}));
  ASSERT_EQ(show["clients"].size(), 2);
  EXPECT_EQ(show["clients"][0]["client"], "a");
  EXPECT_EQ(show["clients"][1]["client"], "b");
}

TEST(TlsTest, PlainTextStaysOnLoopback) {
  Federation federation(Settings{});
  Process server({FEDPEFT_SERVER, "serve", federation.run(), "--state", federation.state(), "--listen", "0.0.0.0:0"},
                 federation.File("open-server"));
  EXPECT_EQ(server.Wait(), 1);
  EXPECT_THAT(server.errors(), HasSubstr("--insecure"));
  Process client({FEDPEFT_CLIENT, "join", "--server", "192.0.2.1:7070", "--base", federation.base(), "--data",
                  federation.Data(0, 3)},
                 federation.File("open-client"));
  EXPECT_EQ(client.Wait(), 1);
  EXPECT_THAT(client.errors(), HasSubstr("--insecure"));
}

}  // namespace
}  // namespace fedpeft::testing
