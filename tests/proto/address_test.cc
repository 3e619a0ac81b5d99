#include "proto/address.h"

#include <gtest/gtest.h>

namespace fedpeft {
namespace {

TEST(AddressTest, LoopbackIsTold) {
  for (const char* address : {"localhost:7070", "127.0.0.1:0", "127.1.2.3:7070", "[::1]:7070", "unix:/run/fedpeft"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
}

TEST(AddressTest, WhatMayBeElsewhereIsNotLoopback) {
  for (const char* address :
       {"", "0.0.0.0:7070", "[::]:7070", "10.0.0.1:7070", "127.example.org:7070", "127.0.0.1.example.org:7070",
        "127.0.0.1.5:7070", "localhost.example.org:7070", "localhost:example.org:80", "notlocalhost:7070",
        "ipv4:10.0.0.1:7070", "dns:///127.0.0.1:7070"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace fedpeft
