// A relay on loopback between a client and a coordinator that counts what passes: all bytes on the wire, framing
// included.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "peft/core/check.h"

namespace fedpeft::testing {

class CountingProxy {
 public:
  explicit CountingProxy(int server_port) : server_port_(server_port), listener_(Socket()) {
    sockaddr_in address = Loopback(0);
    FEDPEFT_CHECK(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    FEDPEFT_CHECK(::listen(listener_, 8) == 0);
    socklen_t length = sizeof address;
    FEDPEFT_CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~CountingProxy() {
    stop_ = true;
    thread_.join();
    for (const auto& [client, server] : pairs_) {
      ::close(client);
      ::close(server);
    }
    ::close(listener_);
  }
  CountingProxy(const CountingProxy&) = delete;
  CountingProxy& operator=(const CountingProxy&) = delete;

  int port() const { return port_; }
  std::uint64_t up() const { return up_; }
  std::uint64_t down() const { return down_; }

 private:
  static int Socket() {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    FEDPEFT_CHECK(fd >= 0);
    return fd;
  }
  static sockaddr_in Loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  void Run() {
    while (!stop_) {
      std::vector<pollfd> waits = {{listener_, POLLIN, 0}};
      for (const auto& [client, server] : pairs_) {
        waits.push_back({client, POLLIN, 0});
        waits.push_back({server, POLLIN, 0});
      }
      if (::poll(waits.data(), waits.size(), /*milliseconds=*/20) <= 0) continue;
      for (std::size_t i = pairs_.size(); i-- > 0;) {
        const bool open = (waits[1 + 2 * i].revents == 0 || Pass(pairs_[i].first, pairs_[i].second, up_)) &&
                          (waits[2 + 2 * i].revents == 0 || Pass(pairs_[i].second, pairs_[i].first, down_));
        if (!open) Drop(i);
      }
      if (waits[0].revents != 0) Accept();
    }
  }
  void Accept() {
    const int client = ::accept(listener_, nullptr, nullptr), server = Socket();
    const sockaddr_in address = Loopback(server_port_);
    FEDPEFT_CHECK(client >= 0);
    FEDPEFT_CHECK(::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    pairs_.emplace_back(client, server);
  }
  /// False when one of the two is closed.
  static bool Pass(int from, int to, std::atomic<std::uint64_t>& count) {
    std::array<char, 65536> bytes{};
    const ssize_t got = ::recv(from, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    count += static_cast<std::uint64_t>(got);
    for (ssize_t at = 0; at < got;) {
      const ssize_t sent = ::send(to, bytes.data() + at, static_cast<std::size_t>(got - at), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      at += sent;
    }
    return true;
  }
  void Drop(std::size_t i) {
    ::close(pairs_[i].first);
    ::close(pairs_[i].second);
    pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  const int server_port_;
  const int listener_;
  int port_ = 0;
  std::vector<std::pair<int, int>> pairs_;
  std::atomic<bool> stop_ = false;
  std::atomic<std::uint64_t> up_ = 0, down_ = 0;
  std::thread thread_;
};

}  // namespace fedpeft::testing
