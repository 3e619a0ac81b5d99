#include "client/transport.h"

#include <gtest/gtest.h>

namespace fedpeft::client {
namespace {

TEST(TransportTest, PlainTextStaysOnLoopbackUnlessItIsAskedFor) {
  ConnectOptions options;
  for (const char* server : {"127.0.0.1:7070", "localhost:7070"}) {
    options.server = server;
    EXPECT_TRUE(Transport::Make(options).ok()) << server;
  }
  for (const char* server : {"192.0.2.1:7070", "127.example.org:7070"}) {
    options.server = server;
    options.insecure = false;
    EXPECT_EQ(Transport::Make(options).status().code(), Code::kFailedPrecondition) << server;
    options.insecure = true;
    EXPECT_TRUE(Transport::Make(options).ok()) << server;
  }
}

}  // namespace
}  // namespace fedpeft::client
