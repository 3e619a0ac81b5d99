// What is left of a client's private keys and its mask's seed in memory that has been freed: nothing. What is searched
// is what `new` gave out, not OpenSSL's own memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "tests/privacy/secagg/scripted.h"

namespace {

/// Freed blocks are kept, as they were freed, while this is on.
bool g_keep = false;
std::vector<std::pair<void*, std::size_t>>* g_kept = nullptr;

}  // namespace

// Every block has its size before it.
constexpr std::size_t kHead = 16;
void* operator new(std::size_t size) {
  auto* const block = static_cast<unsigned char*>(std::malloc(size + kHead));
  if (block == nullptr) std::abort();
  std::memcpy(block, &size, sizeof(size));
  return block + kHead;
}
// The sanitizers' own would not call the one above.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return operator new(size);
}
void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  auto* const block = static_cast<unsigned char*>(memory) - kHead;
  std::size_t size = 0;
  std::memcpy(&size, block, sizeof(size));
  if (g_keep) {
    g_keep = false;
    g_kept->emplace_back(memory, size);
    g_keep = true;
  } else {
    std::free(block);
  }
}
void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}

namespace fedpeft::privacy {
namespace {

bool Holds(ByteSpan memory, ByteSpan secret) {
  return std::search(memory.begin(), memory.end(), secret.begin(), secret.end()) != memory.end();
}

int Found(const std::vector<std::pair<void*, std::size_t>>& kept, const std::vector<Bytes>& secrets) {
  int found = 0;
  for (const auto& [memory, size] : kept) {
    const ByteSpan block(static_cast<const std::uint8_t*>(memory), size);
    for (const Bytes& secret : secrets) found += Holds(block, secret);
  }
  return found;
}

TEST(WipeTest, C8NothingIsLeftOfAClientsSecrets) {
  const testing::ScriptedExecution script;
  std::vector<std::pair<void*, std::size_t>> kept;
  kept.reserve(1 << 20);
  g_kept = &kept;
  std::vector<Bytes> secrets;
  secrets.reserve(100);
  {
    // The same client as in the script, so that the steps fit; what it draws first are its
    // private keys and its mask's seed.
    testing::SeededRandom again(0);
    for (int i = 0; i < 4; ++i) {
      const SecretKey key = RandomSecret<32>(again);
      secrets.emplace_back(key.bytes().begin(), key.bytes().end());
    }
  }
  const Result<AgreementKey> channel = AgreementKey::Of(Suite::kX25519, SecretKey(ByteSpan(secrets[0]).first<32>()));
  const Result<AgreementKey> mask = AgreementKey::Of(Suite::kX25519, SecretKey(ByteSpan(secrets[1]).first<32>()));
  ASSERT_TRUE(Holds(script.answer(0, 0), channel->public_key()) && Holds(script.answer(0, 0), mask->public_key()));
  g_keep = true;
  {
    testing::ScriptedExecution::Player player = script.NewPlayer(0);
    for (std::size_t at = 0; at < testing::ScriptedExecution::kSteps; ++at) {
      ASSERT_TRUE(player.session->Handle(script.step(at)).ok());
      if (player.session->masking()) player.session->Masked();
    }
  }
  g_keep = false;
  EXPECT_GT(kept.size(), 100u);
  EXPECT_EQ(Found(kept, secrets), 0);
  // The search finds what is there.
  auto* const control = new Bytes(secrets[0]);
  g_keep = true;
  delete control;
  g_keep = false;
  EXPECT_EQ(Found(kept, secrets), 1);
  for (const auto& block : kept) operator delete(block.first);
}

}  // namespace
}  // namespace fedpeft::privacy
