// What an address of the command line says about where its bytes go.
#pragma once

#include <string>

namespace fedpeft {

/// Whether `address` (HOST:PORT, or `unix:…`) cannot be anywhere but on this machine: `localhost`, an IPv4 address in
/// 127/8 written out, `[::1]`, a Unix socket. A name that merely begins so, `127.example.org`, may be anywhere.
bool IsLoopback(const std::string& address);

}  // namespace fedpeft
