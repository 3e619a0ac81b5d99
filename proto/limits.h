// The numbers both ends of the protocol agree on: version, chunk size, and how large or how many anything may be.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fedpeft {

/// Raised when a message changes its meaning; both ends must have the same.
inline constexpr std::uint32_t kProtocolVersion = 1;
/// Payload bytes of a chunk; a message stays below gRPC's default limit of 4 MiB, which neither end raises.
inline constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxMessageBytes = std::size_t{4} << 20;
/// Client names: 1 to 64 of letters, digits, '-', '_', '.'; '/' separates the virtual client's number.
inline constexpr std::size_t kMaxNameBytes = 64;
/// Examples of one client at most: sums over all clients stay far from overflow.
inline constexpr std::uint64_t kMaxExamples = std::uint64_t{1} << 40;
/// Any text of a peer that is logged or stored.
inline constexpr std::size_t kMaxTextBytes = 1024;
inline constexpr std::size_t kSessionBytes = 16;

/// How long a poll is held: a client in a cohort is asked often, so that its death is noticed within seconds.
inline constexpr double kIdlePollSeconds = 120;
inline constexpr double kBusyPollSeconds = 10;
/// A client gives a poll this long before it takes the connection for dead.
inline constexpr double kPollTimeoutSeconds = 200;
/// Keepalive, set on both ends together: the server allows pings at half the interval at which clients send them.
inline constexpr int kClientKeepaliveMs = 60'000;
inline constexpr int kServerMinPingMs = 30'000;
inline constexpr int kServerKeepaliveMs = 120'000;
inline constexpr int kKeepaliveTimeoutMs = 20'000;

}  // namespace fedpeft
