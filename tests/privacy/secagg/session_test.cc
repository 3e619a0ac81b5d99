#include <gmock/gmock.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "privacy/secagg/shamir.h"
#include "proto/secure_aggregation.pb.h"
#include "tests/privacy/secagg/sessions.h"
#include "tests/support/mutate.h"

namespace fedpeft::privacy {
namespace {

using testing::Elements;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Last;
using testing::SecureFederation;
using ::testing::SizeIs;
using testing::SmallConfig;

void ExpectExactSum(SecureFederation& federation, std::size_t clients) {
  ASSERT_TRUE(federation.finished().has_value()) << federation.aborted().value_or("not over");
  EXPECT_THAT(federation.finished()->clients, SizeIs(clients));
  EXPECT_EQ(federation.Unmasked(), federation.Expected());
}

TEST(SecureSessionTest, P1SumsExactlyWithoutDropOuts) {
  for (const std::uint32_t clients : {5u, 20u, 100u, 300u}) {
    auto config = SmallConfig(50, 24, clients);
    if (clients > 64) config.max_drop_out = 0.05;
    if (clients > 100) config.threat = Threat::kCurious;  // 300 clients sign for a long time
    ClientPolicy policy;
    policy.semi_malicious = config.threat == Threat::kSemiMalicious;
    SecureFederation federation(config, clients, clients, policy);
    federation.Run();
    ExpectExactSum(federation, clients);
    EXPECT_THAT(federation.dropped(), IsEmpty());
    EXPECT_EQ(federation.finished()->masks.size(), clients) << "nothing is put together but seeds";
  }
}

struct Losses {
  const char* label;
  Last last;
  std::size_t in_sum;
  bool keys_recovered;
};

// 20 clients, of which 4 are lost at each stage in turn.
TEST(SecureSessionTest, F1ToF6LosesClientsAtEachStage) {
  const Losses cases[] = {{"F1: before keys", Last::kNothing, 16, false},
                          {"F2: after keys", Last::kAdvertise, 16, false},
                          {"F3: after shares", Last::kShare, 16, true},
                          {"F5: after the upload", Last::kUpload, 20, false},
                          {"F6: after the signature", Last::kSign, 20, false}};
  for (const Losses& loss : cases) {
    SCOPED_TRACE(loss.label);
    SecureFederation federation(SmallConfig(100, 20, 20), 20, 1);
    for (const std::size_t i : {3u, 7u, 8u, 19u}) federation.client(i).last = loss.last;
    federation.Run();
    ExpectExactSum(federation, loss.in_sum);
    EXPECT_EQ(federation.finished()->masks.size() > loss.in_sum, loss.keys_recovered);
  }
}

TEST(SecureSessionTest, F3F11AbortsWhenTooManyAreLost) {
  // Of 20, the threshold is 12: 9 lost after they shared leave 11 shares.
  auto config = SmallConfig(10, 20, 20);
  config.max_drop_out = 0.4;
  for (const std::size_t lost : {8u, 9u}) {
    SecureFederation federation(config, 20, 2);
    for (std::size_t i = 0; i < lost; ++i) federation.client(i).last = Last::kUpload;
    federation.Run();
    if (lost == 8) {
      ExpectExactSum(federation, 20);
    } else {
      ASSERT_TRUE(federation.aborted().has_value());
      EXPECT_THAT(*federation.aborted(), HasSubstr("want 12"));
    }
  }
}

TEST(SecureSessionTest, F8KeepsTheSmallestSum) {
  auto config = SmallConfig(10, 20, 20);
  config.min_clients = 16;
  for (const std::size_t lost : {4u, 5u}) {
    SecureFederation federation(config, 20, 3);
    for (std::size_t i = 0; i < lost; ++i) federation.client(i).last = Last::kShare;
    federation.Run();
    if (lost == 4) {
      ExpectExactSum(federation, 16);
    } else {
      EXPECT_THAT(federation.aborted().value_or(""), HasSubstr("got 15 clients' answers, want 16"));
    }
  }
}

// Two neighbours that are both lost after they shared: the mask between them is in nobody's vector.
TEST(SecureSessionTest, P5MasksBetweenLostNeighboursAreLeftAlone) {
  SecureFederation federation(SmallConfig(100, 24, 10), 10, 4);
  federation.client(2).last = Last::kShare;
  federation.client(3).last = Last::kShare;
  federation.Run();
  ExpectExactSum(federation, 8);
  EXPECT_EQ(federation.finished()->masks.size(), 8u + 2 * 8);
}

TEST(SecureSessionTest, SparseGraphsLoseClientsToo) {
  auto config = SmallConfig(20, 24, 100);
  config.max_drop_out = 0.1;
  SecureFederation federation(config, 100, 5);
  for (std::size_t i = 0; i < 100; i += 10) federation.client(i).last = static_cast<Last>(1 + i / 10 % 3);
  federation.Run();
  ASSERT_TRUE(federation.finished().has_value()) << *federation.aborted();
  EXPECT_EQ(federation.Unmasked(), federation.Expected());
  EXPECT_EQ(federation.server().parameters(), (GraphParameters{32, 22}));
}

TEST(SecureSessionTest, P3VectorsOfTwoSessionsDiffer) {
  std::vector<Elements> seen;
  for (const std::uint64_t seed : {6u, 7u}) {
    SecureFederation federation(SmallConfig(1000, 24, 5), 5, seed);
    federation.network = [&](SecureFederation::Packet& packet) {
      if (packet.upload && packet.client == 0) seen.push_back(packet.vector);
      return 1;
    };
    federation.client(0).input.assign(1000, 0);
    federation.Run();
    ExpectExactSum(federation, 5);
  }
  ASSERT_THAT(seen, SizeIs(2));
  int equal = 0;
  for (std::size_t i = 0; i < 1000; ++i) equal += seen[0][i] == seen[1][i];
  EXPECT_LT(equal, 3);
}

/// What arrives of client 0's answers of a kind is changed.
template <typename Change>
auto ChangingAnswers(v1::SecureAnswer::AnswerCase kind, Change change) {
  return [kind, change](SecureFederation::Packet& packet) {
    v1::SecureAnswer answer;
    if (packet.client != 0 || packet.to_client || packet.upload) return 1;
    FEDPEFT_CHECK(answer.ParseFromArray(packet.bytes.data(), static_cast<int>(packet.bytes.size())));
    if (answer.answer_case() != kind) return 1;
    change(answer);
    const std::string text = answer.SerializeAsString();
    packet.bytes.assign(text.begin(), text.end());
    return 1;
  };
}

// A wrong share names its sender, and the round goes on; so does one that is none.
TEST(SecureSessionTest, H4WrongSharesAreBlamedAndSurvived) {
  for (const bool none : {false, true}) {
    SecureFederation federation(SmallConfig(10, 24, 20), 20, 8);
    federation.network = ChangingAnswers(v1::SecureAnswer::kUnmasked, [none](v1::SecureAnswer& answer) {
      for (std::string& share : *answer.mutable_unmasked()->mutable_shares()) {
        share[0] = static_cast<char>(share[0] ^ 1);
        if (none) share.assign(share.size(), static_cast<char>(0xff));
      }
    });
    federation.Run();
    ExpectExactSum(federation, 20);
    ASSERT_FALSE(federation.blamed().empty());
    for (const SecureBlame& blame : federation.blamed()) EXPECT_EQ(blame.client, "client-0");
  }
}

/// The first so many of what client 0 sealed is spoilt.
auto Spoiling(int sealed) {
  return ChangingAnswers(v1::SecureAnswer::kShares, [sealed](v1::SecureAnswer& answer) {
    for (int i = 0; i < sealed; ++i) answer.mutable_shares()->mutable_sealed(i)->front() ^= 1;
  });
}

// Of 20, two may be corrupt: three who complain of one do not all lie.
TEST(SecureSessionTest, WhoSealsNonsenseForFewLosesThese) {
  SecureFederation federation(SmallConfig(10, 24, 20), 20, 16);
  federation.network = Spoiling(2);
  federation.Run();
  ExpectExactSum(federation, 18);
  EXPECT_THAT(federation.expelled(), IsEmpty());
  ASSERT_THAT(federation.dropped(), SizeIs(2));
  for (const SecureDrop& drop : federation.dropped()) EXPECT_EQ(drop.reason, "cannot open the shares of client-0");
}

TEST(SecureSessionTest, WhoSealsNonsenseForManyIsExpelled) {
  for (const int spoilt : {3, 19}) {
    SecureFederation federation(SmallConfig(10, 24, 20), 20, 17);
    federation.network = Spoiling(spoilt);
    federation.Run();
    ASSERT_THAT(federation.expelled(), SizeIs(1));
    EXPECT_EQ(federation.expelled()[0].client, "client-0");
    if (spoilt == 19) {
      EXPECT_TRUE(federation.aborted().has_value());
    } else {
      ExpectExactSum(federation, 17);  // its vector came before the complaints
    }
  }
}

// Shares that open, and give no secret.
TEST(SecureSessionTest, WhoDealsWrongSharesIsExpelled) {
  SecureFederation federation(SmallConfig(10, 24, 20), 20, 18);
  federation.network = [](SecureFederation::Packet& packet) {
    v1::SecureAnswer answer;
    if (packet.to_client || packet.upload || packet.client == 0) return 1;
    FEDPEFT_CHECK(answer.ParseFromArray(packet.bytes.data(), static_cast<int>(packet.bytes.size())));
    if (!answer.has_unmasked()) return 1;
    answer.mutable_unmasked()->mutable_shares(0)->front() ^= 1;  // of client 0, which is everybody's first neighbour
    const std::string text = answer.SerializeAsString();
    packet.bytes.assign(text.begin(), text.end());
    return 1;
  };
  federation.Run();
  ASSERT_THAT(federation.expelled(), SizeIs(1));
  EXPECT_EQ(federation.expelled()[0].client, "client-0");
  EXPECT_THAT(federation.aborted().value_or(""), HasSubstr("the secret of client-0"));
}

TEST(SecureSessionTest, LyingComplaintsHurtWhoMakesThem) {
  for (const std::uint32_t place : {0u, 5u, 77u}) {  // itself, a neighbour, nobody
    SecureFederation federation(SmallConfig(10, 24, 20), 20, 19);
    federation.network = [place](SecureFederation::Packet& packet) {
      if (packet.client != 0 || !packet.upload) return 1;
      v1::SecureAnswer answer;
      answer.mutable_complaint()->add_places(place);
      const std::string text = answer.SerializeAsString();
      packet = {0, false, Bytes(text.begin(), text.end()), false, {}};
      return 1;
    };
    federation.Run();
    ExpectExactSum(federation, 19);
    EXPECT_THAT(federation.expelled(), IsEmpty());
    ASSERT_THAT(federation.dropped(), SizeIs(1));
    EXPECT_EQ(federation.dropped()[0].client, "client-0");
  }
}

// What would make its neighbours give up, or them carry what it likes, goes no further than the coordinator.
TEST(SecureSessionTest, BadKeysHurtNobodyElse) {
  const std::function<void(v1::AdvertisedKeys&)> bad[] = {
      [](auto& keys) { keys.set_mask_key(keys.channel_key()); },
      [](auto& keys) { keys.set_mask_key(std::string(32, '\0')); },
      [](auto& keys) { keys.set_signing_key("no key"); },
      [](auto& keys) { keys.set_certificate(std::string(10'000, 'x')); },
  };
  for (const auto& change : bad) {
    SecureFederation federation(SmallConfig(10, 24, 10), 10, 13);
    federation.network =
        ChangingAnswers(v1::SecureAnswer::kKeys, [&](v1::SecureAnswer& answer) { change(*answer.mutable_keys()); });
    federation.Run();
    ExpectExactSum(federation, 9);
    ASSERT_THAT(federation.dropped(), SizeIs(1));
    EXPECT_EQ(federation.dropped()[0].client, "client-0");
  }
}

TEST(SecureSessionTest, OneClientsKeysAreNotAnothersToo) {
  SecureFederation federation(SmallConfig(10, 24, 10), 10, 14);
  Bytes first;
  federation.network = [&](SecureFederation::Packet& packet) {
    if (packet.to_client || packet.upload || packet.client > 1) return 1;
    if (packet.client == 0 && first.empty()) first = packet.bytes;
    const bool keys = AsText(packet.bytes).size() == first.size();
    if (packet.client == 1 && keys) packet.bytes = first;
    return 1;
  };
  federation.Run();
  ExpectExactSum(federation, 9);
  EXPECT_THAT(federation.dropped()[0].reason, HasSubstr("another client's key"));
}

TEST(SecureSessionTest, UnknownFieldsOfKeysAreNotCarried) {
  SecureFederation federation(SmallConfig(10, 24, 10), 10, 15);
  const auto bloat = ChangingAnswers(v1::SecureAnswer::kKeys, [](v1::SecureAnswer& answer) {
    v1::AdvertisedKeys& keys = *answer.mutable_keys();
    keys.GetReflection()->MutableUnknownFields(&keys)->AddLengthDelimited(1000, std::string(100'000, 'x'));
  });
  std::size_t largest = 0;
  federation.network = [&](SecureFederation::Packet& packet) {
    if (packet.to_client) largest = std::max(largest, packet.bytes.size());
    return bloat(packet);
  };
  federation.Run();
  ExpectExactSum(federation, 10);
  EXPECT_LT(largest, 10'000u);
}

TEST(SecureSessionTest, QuorumsOfTwoStatementsShareAnHonestClient) {
  for (std::uint32_t hundredths = 0; hundredths < 50; ++hundredths) {
    for (const std::uint32_t clients : {5u, 20u, 200u, 360u, 1000u}) {
      auto config = SmallConfig(10, 24, clients);
      config.max_corrupt = hundredths / 100.0;
      EXPECT_GT(2 * SignatureQuorum(config, clients), clients + hundredths * clients / 100) << hundredths;
    }
  }
}

TEST(SecureSessionTest, P7SomethingElseIsOut) {
  const auto keys_of = [](std::uint64_t seed) {
    testing::SeededRandom random(seed);
    ClientSession::Setup setup;
    setup.client_id = "client-0";
    setup.random = &random;
    v1::SecureStep step;
    const Bytes config = SmallConfig(10, 24, 8).Encode();
    step.set_config(std::string(AsText(config)));
    const std::string text = step.SerializeAsString();
    return **ClientSession(std::move(setup)).Handle(AsBytes(text));
  };
  ServerSession::Setup setup;
  setup.config = SmallConfig(10, 24, 8);
  for (int i = 0; i < 8; ++i) setup.clients.push_back("client-" + std::to_string(i));
  ServerSession server(std::move(setup));
  server.Handle({}, SecureTick{});
  EXPECT_THAT(server.Handle({}, SecureAnswered{"client-0", keys_of(1)}), IsEmpty());
  EXPECT_THAT(server.Handle({}, SecureAnswered{"client-0", keys_of(1)}), IsEmpty()) << "the same again";
  const std::vector<SecureAction> actions = server.Handle({}, SecureAnswered{"client-0", keys_of(2)});
  ASSERT_THAT(actions, SizeIs(1));
  EXPECT_THAT(std::get<SecureDrop>(actions[0]).reason, HasSubstr("answered twice"));
  EXPECT_THAT(server.Handle({}, SecureAnswered{"client-0", keys_of(3)}), IsEmpty()) << "it is out";
}

// Each answer of a client in turn comes after its stage has closed: it counts no more.
TEST(SecureSessionTest, F7LateAnswersDoNotCount) {
  for (int late = 0; late < 5; ++late) {
    SecureFederation federation(SmallConfig(10, 24, 10), 10, 12);
    std::optional<SecureFederation::Packet> held;
    int sent = 0;
    federation.network = [&](SecureFederation::Packet& packet) {
      if (packet.client != 0 || packet.to_client || sent++ != late) return 1;
      held = packet;
      return 0;
    };
    federation.after_deadline = [&] { return std::exchange(held, std::nullopt); };
    federation.Run();
    ExpectExactSum(federation, late < 3 ? 9 : 10);
    EXPECT_EQ(held.has_value(), late == 4) << "the last one is not waited for";
  }
}

TEST(SecureSessionTest, P7TheSameAgainIsNoHarm) {
  SecureFederation same(SmallConfig(10, 24, 8), 8, 9);
  same.network = [](SecureFederation::Packet&) { return 2; };
  same.Run();
  ExpectExactSum(same, 8);
  EXPECT_THAT(same.dropped(), IsEmpty());
}

TEST(SecureSessionTest, A10PolicyRefusesSmallCohorts) {
  ClientPolicy policy;
  policy.min_clients = 6;
  SecureFederation federation(SmallConfig(10, 24, 8), 8, 10, policy);
  federation.Run();
  EXPECT_TRUE(federation.aborted().has_value());
  EXPECT_THAT(federation.client(0).gave_up->message(), HasSubstr("this client's policy wants at least 6"));
}

// Sessions with everything at once: losses at random stages, messages reordered, doubled, changed. Either the sum over
// those that the coordinator names, exactly, or none.
TEST(SecureSessionTest, P2NeverAWrongSum) {
  constexpr int kBits[] = {8, 12, 16, 20, 24, 32};
  constexpr std::uint64_t kSizes[] = {1, 7, 1000};
  RandomStream draws(11, "sessions");
  int finished = 0, aborted = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto clients = static_cast<std::uint32_t>(5 + draws.NextBelow(5));
    const std::uint64_t size = i % 400 == 0 ? 65537 : kSizes[draws.NextBelow(3)];
    SecureFederation federation(SmallConfig(size, kBits[draws.NextBelow(6)], clients), clients, i);
    const std::uint64_t loss = draws.NextBelow(4), damage = draws.NextBelow(3);
    for (std::size_t c = 0; c < clients; ++c) {
      if (draws.NextBelow(10) < loss) federation.client(c).last = static_cast<Last>(draws.NextBelow(5));
    }
    federation.shuffled = draws.NextBelow(2) == 0;
    RandomStream noise(i, "noise");
    std::set<std::size_t> liars;
    federation.network = [&](SecureFederation::Packet& packet) {
      if (damage > 0 && noise.NextBelow(60) == 0) {  // a client that sends nonsense, or that is sent some
        if (packet.upload || packet.bytes.empty()) return 1;
        testing::Mutate(noise, packet.bytes);
      }
      return damage == 2 && noise.NextBelow(10) == 0 ? 2 : 1;
    };
    federation.Run();
    if (federation.finished()) {
      ++finished;
      ASSERT_GE(federation.finished()->clients.size(), kFewestClients) << i;
      ASSERT_EQ(federation.Unmasked(), federation.Expected()) << i;
    } else {
      ++aborted;
    }
  }
  EXPECT_GT(finished, 400);
  EXPECT_GT(aborted, 100);
}

}  // namespace
}  // namespace fedpeft::privacy
