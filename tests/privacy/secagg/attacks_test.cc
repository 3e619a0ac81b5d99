// What a coordinator that does not keep to the protocol can try, each beside a control in which it works, so that a
// test that finds nothing has looked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "privacy/secagg/bitmap.h"
#include "privacy/secagg/shamir.h"
#include "proto/secure_aggregation.pb.h"
#include "tests/privacy/random.h"
#include "tests/privacy/secagg/clients.h"
#include "tests/privacy/secagg/sessions.h"

namespace fedpeft::privacy {
namespace {

using testing::AnswerOf;
using testing::BytesOf;
using testing::Clients;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::SecureFederation;
using testing::SeededRandom;
using ::testing::SizeIs;
using testing::SmallConfig;
using testing::StepOf;

Bytes AllOf(std::uint32_t clients, std::optional<std::uint32_t> without = {}) {
  Bytes bitmap = EmptyBitmap(clients);
  for (std::uint32_t place = 0; place < clients; ++place) {
    if (place != without) SetBit(bitmap, place);
  }
  return bitmap;
}
Bytes UnmaskStep(const Bytes& bitmap) {
  v1::SecureStep step;
  step.mutable_unmask()->set_bitmap(std::string(AsText(bitmap)));
  return BytesOf(step);
}

/// A coordinator that is trusted not to lie: nobody signs survivors. The control of attacks that lie about them.
SessionConfig CuriousConfig(std::uint32_t clients) {
  auto config = SmallConfig(4, 24, clients);
  config.threat = Threat::kCurious;
  return config;
}

/// Tells some of the victim's neighbours that it is there and others that it is lost; `corrupt` of them give it both.
/// Whether the coordinator then has both of the victim's secrets, and so its vector.
bool SplitsShares(const SessionConfig& config, std::uint32_t clients, std::size_t corrupt) {
  constexpr std::uint32_t kVictim = 0;
  Clients federation(config, clients);
  federation.UntilStep(v1::SecureStep::kUnmask);
  const std::uint32_t threshold = federation.server().parameters().threshold;
  const Bytes there = UnmaskStep(AllOf(clients)), lost = UnmaskStep(AllOf(clients, kVictim));
  std::vector<HeldShare> seed_shares, key_shares;
  const auto ask = [&](std::uint32_t place, bool twin, bool survives) {
    const v1::SecureAnswer answer = AnswerOf(**federation.Give(place, survives ? there : lost, twin));
    const v1::Cohort& cohort = federation.cohort(place);
    for (int i = 0; i < cohort.neighbours_size(); ++i) {
      if (cohort.neighbours(i).place() != kVictim) continue;
      const ByteSpan share = AsBytes(answer.unmasked().shares(i));
      (survives ? seed_shares : key_shares).push_back({place + 1, Share(share.first<kShareBytes>())});
    }
  };
  const v1::SecureAnswer own = AnswerOf(**federation.Give(kVictim, there));
  seed_shares.push_back({kVictim + 1, Share(AsBytes(own.unmasked().own_seed_share()).first<kShareBytes>())});
  const v1::Cohort& cohort = federation.cohort(kVictim);
  for (int i = 0; i < cohort.neighbours_size(); ++i) {
    const std::uint32_t place = cohort.neighbours(i).place();
    const bool liar = static_cast<std::size_t>(i) < corrupt;
    if (liar) ask(place, true, false);
    ask(place, false, liar || seed_shares.size() < threshold);
  }
  const auto any = [](const SecretKey&) { return true; };
  const Digest commitment = [&] {
    Digest digest;
    std::ranges::copy(AsBytes(federation.shares(kVictim).seed_commitment()), digest.begin());
    return digest;
  }();
  const auto seed = Recover(seed_shares, threshold, [&](const SecretKey& found) {
    return SeedCommitment(federation.id(kVictim), kVictim, found) == commitment;
  });
  return seed.ok() && Recover(key_shares, threshold, any).ok();
}

TEST(SecureAttackTest, A3SplittingSharesFailsWhereTheBoundGuardsAgainstIt) {
  // Everybody is everybody's neighbour: 29 of them and the victim; 3 of 30 are corrupt. A secret takes 17 shares, and
  // there are 33 for two secrets.
  EXPECT_FALSE(SplitsShares(CuriousConfig(30), 30, 3));
  EXPECT_TRUE(SplitsShares(CuriousConfig(30), 30, 4)) << "one more than the bound guards against";
}

std::uint32_t PlaceOf(const v1::Cohort& cohort, int i) {
  return cohort.neighbours(i).place();
}
bool IsNeighbour(const v1::Cohort& cohort, std::uint32_t place) {
  for (int i = 0; i < cohort.neighbours_size(); ++i) {
    if (PlaceOf(cohort, i) == place) return true;
  }
  return false;
}

/// All but the victim's neighbours, and the one who is told so.
Bytes AloneWith(const v1::Cohort& victims, std::uint32_t clients, std::uint32_t told) {
  Bytes bitmap = EmptyBitmap(clients);
  for (std::uint32_t place = 0; place < clients; ++place) {
    if (place == told || !IsNeighbour(victims, place)) SetBit(bitmap, place);
  }
  return bitmap;
}

// Nobody is corrupt, and no two secrets of one client are asked for: each client is told of other survivors, so that
// all together give the victim's seed, and the private mask keys of all its neighbours. That is the victim's vector.
TEST(SecureAttackTest, A3DifferentSurvivorsForEachGiveAVectorAway) {
  constexpr std::uint32_t kClients = 200, kVictim = 0;
  Clients federation(CuriousConfig(kClients), kClients);
  federation.UntilStep(v1::SecureStep::kUnmask);
  const v1::Cohort& victims = federation.cohort(kVictim);
  const std::uint32_t threshold = federation.server().parameters().threshold;
  std::map<std::uint32_t, std::uint32_t> shares;  // by whose secret it is
  for (std::uint32_t place = 0; place < kClients; ++place) {
    const auto answer = federation.Give(place, UnmaskStep(AloneWith(victims, kClients, place)));
    ASSERT_TRUE(answer.ok()) << answer.status().ToString();
    const v1::Cohort& cohort = federation.cohort(place);
    for (int i = 0; i < cohort.neighbours_size(); ++i) {
      const std::uint32_t of = PlaceOf(cohort, i);
      if (of == kVictim || IsNeighbour(victims, of)) ++shares[of];  // of the victim its seed, of the others their keys
    }
  }
  EXPECT_GE(shares.at(kVictim), threshold);
  for (int i = 0; i < victims.neighbours_size(); ++i) EXPECT_GE(shares.at(PlaceOf(victims, i)), threshold);
}

TEST(SecureAttackTest, A4AnswersOneUnmaskRequest) {
  Clients federation(CuriousConfig(8), 8);
  federation.UntilStep(v1::SecureStep::kUnmask);
  EXPECT_TRUE(federation.Give(0, UnmaskStep(AllOf(8))).ok());
  const Result<std::optional<Bytes>> same = federation.Give(0, UnmaskStep(AllOf(8)));
  ASSERT_TRUE(same.ok());
  EXPECT_FALSE(same->has_value()) << "its shares are given once";
  EXPECT_THAT(federation.Give(0, UnmaskStep(AllOf(8, 3))).status().message(), HasSubstr("not the next one"));
}

TEST(SecureAttackTest, A4RefusesSurvivorsThatCannotBe) {
  const auto refusal = [](const Bytes& bitmap) {
    Clients federation(CuriousConfig(8), 8);
    federation.UntilStep(v1::SecureStep::kUnmask);
    return federation.Give(0, UnmaskStep(bitmap)).status();
  };
  EXPECT_THAT(refusal(AllOf(8, 0)).message(), HasSubstr("this client's vector is said to be lost"));
  EXPECT_THAT(refusal({0x0f}).message(), HasSubstr("the sum is of 4 clients, want at least 6"));
  EXPECT_EQ(refusal({0xff, 0x01}).code(), Code::kInvalidArgument);
  EXPECT_EQ(refusal({}).code(), Code::kInvalidArgument);
}

TEST(SecureAttackTest, A4RefusesASurvivorThatNeverShared) {
  Clients federation(CuriousConfig(8), 8);
  auto steps = federation.UntilStep(v1::SecureStep::kShares);
  v1::SecureStep step = StepOf(steps.at(0));
  step.mutable_shares()->mutable_sealed(2)->clear();  // place 3's
  EXPECT_THAT(federation
                  .Refusal(1,
                           [&] {
                             v1::SecureStep other = StepOf(steps.at(1));
                             other.mutable_shares()->mutable_sealed(2)->clear();
                             return other;
                           }())
                  .message(),
              HasSubstr("neighbour 3 is said to have shared, and has not"));
  step.mutable_shares()->set_shared(std::string(AsText(AllOf(8, 3))));
  ASSERT_TRUE(federation.Give(0, BytesOf(step)).ok());
  EXPECT_THAT(federation.Give(0, UnmaskStep(AllOf(8))).status().message(), HasSubstr("sent no shares"));
}

/// The places that the client complains of; it then goes no further.
std::vector<std::uint32_t> Complaint(Clients& federation, std::size_t i, const Bytes& step) {
  const auto answer = federation.Give(i, step);
  if (!answer.ok() || !*answer) return {};
  const v1::Complaint complaint = AnswerOf(**answer).complaint();
  EXPECT_EQ(*federation.Give(i, step), *answer) << "the same again";
  v1::SecureStep survivors;
  survivors.mutable_survivors()->set_bitmap("\xff");
  EXPECT_EQ(federation.Refusal(i, survivors).code(), Code::kFailedPrecondition);
  return {complaint.places().begin(), complaint.places().end()};
}

TEST(SecureAttackTest, A5ReflectedSharesAreRefused) {
  Clients federation(SmallConfig(4, 24, 8), 8);
  auto steps = federation.UntilStep(v1::SecureStep::kShares);
  v1::SecureStep step = StepOf(steps.at(0));
  step.mutable_shares()->set_sealed(0, federation.shares(0).sealed(0));  // its own for client 1, as client 1's
  EXPECT_THAT(Complaint(federation, 0, BytesOf(step)), ElementsAre(1));
  EXPECT_TRUE(federation.Give(1, steps.at(1)).ok()) << "or the test says nothing";
}

TEST(SecureAttackTest, A6StepsOfAnotherSessionAreRefused) {
  auto config = SmallConfig(4, 24, 8);
  Clients earlier(config, 8);
  auto old_steps = earlier.UntilStep(v1::SecureStep::kShares);
  config.attempt = 2;
  Clients federation(config, 8, /*identities=*/false, /*seed=*/2);
  auto steps = federation.UntilStep(v1::SecureStep::kShares);
  EXPECT_THAT(Complaint(federation, 0, old_steps.at(0)), ElementsAre(1, 2, 3, 4, 5, 6, 7));
  v1::SecureStep old_cohort;
  *old_cohort.mutable_cohort() = earlier.cohort(1);
  Clients third(config, 8, /*identities=*/false, /*seed=*/3);
  third.UntilStep(v1::SecureStep::kCohort);
  EXPECT_THAT(third.Refusal(1, old_cohort).message(), HasSubstr("other keys for this client than its own"));
}

/// The cohort step of client 0 with client 1's mask key replaced, its leaf too.
v1::SecureStep Forged(const Bytes& honest) {
  v1::SecureStep step = StepOf(honest);
  SeededRandom random(99);
  v1::Cohort& cohort = *step.mutable_cohort();
  v1::Neighbour& neighbour = *cohort.mutable_neighbours(0);
  const AgreementKey key = AgreementKey::Generate(Suite::kX25519, random);
  neighbour.mutable_keys()->set_mask_key(std::string(AsText(key.public_key())));
  const Digest leaf =
      KeyLeaf(neighbour.client_id(),
              {AsBytes(neighbour.keys().channel_key()), key.public_key(), AsBytes(neighbour.keys().signing_key())},
              AsBytes(neighbour.keys().signature()));
  cohort.mutable_leaves()->replace(sizeof(Digest) * neighbour.place(), sizeof(Digest), AsText(leaf));
  return step;
}

TEST(SecureAttackTest, A7ForgedKeysFailTheirSignature) {
  Clients federation(SmallConfig(4, 24, 8), 8, /*identities=*/true);
  auto steps = federation.UntilStep(v1::SecureStep::kCohort);
  const Status refusal = federation.Refusal(0, Forged(steps.at(0)));
  EXPECT_EQ(refusal.code(), Code::kPermissionDenied);
  EXPECT_THAT(refusal.message(), HasSubstr("keys of client-1001"));
  Clients trusting(SmallConfig(4, 24, 8), 8);
  steps = trusting.UntilStep(v1::SecureStep::kCohort);
  EXPECT_TRUE(trusting.Refusal(0, Forged(steps.at(0))).ok()) << "without identities it is believed";
}

TEST(SecureAttackTest, G4AnotherNeighbourIsRefused) {
  auto config = SmallConfig(4, 24, 70);
  config.max_drop_out = 0.05;
  Clients federation(config, 70);
  auto steps = federation.UntilStep(v1::SecureStep::kCohort);
  v1::SecureStep step = StepOf(steps.at(0));
  v1::Cohort& cohort = *step.mutable_cohort();
  std::set<std::uint32_t> neighbours;
  for (const v1::Neighbour& neighbour : cohort.neighbours()) neighbours.insert(neighbour.place());
  ASSERT_LT(neighbours.size(), 69u) << "a sparse graph";
  for (const auto& [i, other] : steps) {  // somebody who is none, with keys of the cohort
    const std::uint32_t place = StepOf(other).cohort().place();
    if (place == 0 || neighbours.contains(place)) continue;
    cohort.mutable_neighbours(0)->set_place(place);
    break;
  }
  EXPECT_THAT(federation.Refusal(0, step).message(), HasSubstr("other neighbours than the cohort's keys make"));
}

// A client that starts from other parameters than the rest shares no mask with them, nor even a session.
TEST(SecureAttackTest, A8AnotherModelIsAnotherSession) {
  auto config = SmallConfig(4, 24, 8);
  Clients federation(config, 8);
  config.model.fill(1);
  Clients other(config, 8);
  auto steps = federation.UntilStep(v1::SecureStep::kShares);
  auto other_steps = other.UntilStep(v1::SecureStep::kShares);
  EXPECT_NE(federation.id(0), other.id(0));
  EXPECT_THAT(Complaint(other, 0, steps.at(0)), SizeIs(7));
}

/// Gives everybody those survivors to sign; their signatures, as an unmask step's.
v1::SecureStep SignedBy(Clients& federation, const Bytes& bitmap, std::uint32_t from, std::uint32_t to) {
  v1::SecureStep survivors, unmask;
  survivors.mutable_survivors()->set_bitmap(std::string(AsText(bitmap)));
  unmask.mutable_unmask()->set_bitmap(std::string(AsText(bitmap)));
  for (std::uint32_t place = from; place < to; ++place) {
    const Result<std::optional<Bytes>> answer = federation.Give(place, BytesOf(survivors));
    FEDPEFT_CHECK(answer.ok());
    v1::SurvivorSignature& entry = *unmask.mutable_unmask()->add_signatures();
    entry.set_place(place);
    entry.set_signature(AnswerOf(**answer).signature());
    const v1::Cohort& other = federation.cohort((place + 1) % federation.size());
    for (const v1::Neighbour& neighbour : other.neighbours()) {
      if (neighbour.place() != place) continue;
      entry.set_client_id(neighbour.client_id());
      *entry.mutable_keys() = neighbour.keys();
    }
  }
  return unmask;
}

TEST(SecureAttackTest, A7TwoSetsOfSurvivorsAreNotBothSigned) {
  constexpr std::uint32_t kClients = 10;
  Clients federation(SmallConfig(4, 24, kClients), kClients, /*identities=*/true);
  federation.UntilStep(v1::SecureStep::kSurvivors);
  const v1::SecureStep one = SignedBy(federation, AllOf(kClients), 0, 5);
  const v1::SecureStep other = SignedBy(federation, AllOf(kClients, 0), 5, 10);
  EXPECT_THAT(federation.Refusal(0, one).message(), HasSubstr("signed by 5, want 6"));
  EXPECT_THAT(federation.Refusal(9, other).message(), HasSubstr("signed by 5, want 6"));
  Clients agreed(SmallConfig(4, 24, kClients), kClients, /*identities=*/true);
  agreed.UntilStep(v1::SecureStep::kSurvivors);
  EXPECT_TRUE(agreed.Refusal(0, SignedBy(agreed, AllOf(kClients), 0, 6)).ok());
}

TEST(SecureAttackTest, A7SignaturesCountOnceAndAreOfTheCohort) {
  constexpr std::uint32_t kClients = 10;
  const auto refusal = [&](std::uint32_t signers, const std::function<void(v1::UnmaskRequest&)>& change) {
    Clients federation(SmallConfig(4, 24, kClients), kClients, /*identities=*/true);
    federation.UntilStep(v1::SecureStep::kSurvivors);
    v1::SecureStep step = SignedBy(federation, AllOf(kClients), 0, signers);
    change(*step.mutable_unmask());
    return federation.Refusal(0, step);
  };
  EXPECT_TRUE(refusal(6, [](auto&) {}).ok());
  const std::function<void(v1::UnmaskRequest&)> bad[] = {
      [](auto& unmask) { *unmask.mutable_signatures(1) = unmask.signatures(0); },
      [](auto& unmask) { unmask.mutable_signatures(1)->set_client_id("client-1007"); },
      [](auto& unmask) { unmask.mutable_signatures(1)->set_place(1u << 30); },
      [](auto& unmask) { unmask.mutable_signatures(2)->set_signature(unmask.signatures(1).signature()); },
      [](auto& unmask) { unmask.mutable_signatures(2)->mutable_keys()->clear_certificate(); },
  };
  for (const auto& change : bad) {
    EXPECT_THAT(refusal(6, change).message(), HasSubstr("signed by 5, want 6"));
    EXPECT_TRUE(refusal(7, change).ok()) << "a bad one does not spoil the others'";
  }
  const auto other_survivors = [](auto& unmask) { unmask.set_bitmap(std::string(AsText(AllOf(10, 9)))); };
  EXPECT_THAT(refusal(6, other_survivors).message(), HasSubstr("other survivors are to be unmasked than were signed"));
}

// The same, against a coordinator that is taken to lie: what each is told has to be signed by most, and is signed by
// one.
TEST(SecureAttackTest, A3DifferentSurvivorsForEachAreNotSigned) {
  constexpr std::uint32_t kClients = 30;
  Clients federation(SmallConfig(4, 24, kClients), kClients);
  federation.UntilStep(v1::SecureStep::kSurvivors);
  for (std::uint32_t place = 0; place < kClients; ++place) {
    const Bytes told = AllOf(kClients, (place + 1) % kClients);
    EXPECT_THAT(federation.Refusal(place, SignedBy(federation, told, place, place + 1)).message(),
                HasSubstr("signed by 1, want 17"));
  }
}

// A client that is told of fewer neighbours' shares than there are would leave their masks out: what it signs is not
// what the others sign.
TEST(SecureAttackTest, A3WhoSharedIsSignedForToo) {
  constexpr std::uint32_t kClients = 10;
  Clients federation(SmallConfig(4, 24, kClients), kClients);
  auto steps = federation.UntilStep(v1::SecureStep::kShares);
  v1::SecureStep fewer = StepOf(steps.at(0));
  fewer.mutable_shares()->mutable_sealed(8)->clear();  // place 9's
  fewer.mutable_shares()->set_shared(std::string(AsText(AllOf(kClients, 9))));
  for (std::uint32_t place = 0; place < kClients; ++place) {
    ASSERT_TRUE(federation.Give(place, place == 0 ? BytesOf(fewer) : steps.at(place)).ok());
  }
  const v1::SecureStep unmask = SignedBy(federation, AllOf(kClients, 9), 0, 9);
  EXPECT_THAT(federation.Refusal(0, unmask).message(), HasSubstr("signed by 1, want 6"));
  EXPECT_TRUE(federation.Refusal(1, unmask).ok()) << "the others agree";
}

TEST(SecureAttackTest, A10PolicyRefusesWeakConfigurations) {
  const auto refusal = [](const std::function<void(SessionConfig&, ClientPolicy&)>& change) {
    auto config = SmallConfig(4, 24, 30);
    ClientSession::Setup setup;
    setup.client_id = "client";
    change(config, setup.policy);
    v1::SecureStep step;
    const Bytes bytes = config.Encode();
    step.set_config(std::string(AsText(bytes)));
    return ClientSession(std::move(setup)).Handle(BytesOf(step)).status();
  };
  EXPECT_TRUE(refusal([](auto&, auto&) {}).ok());
  EXPECT_THAT(refusal([](auto& config, auto&) { config.min_clients = 3; }).message(), HasSubstr("want at least 5"));
  EXPECT_THAT(refusal([](auto&, auto& policy) { policy.min_clients = 20; }).message(),
              HasSubstr("sums as few as 5 clients, this client's policy wants at least 20"));
  EXPECT_THAT(refusal([](auto&, auto& policy) { policy.max_bits = 20; }).message(), HasSubstr("allows 20"));
  EXPECT_THAT(refusal([](auto&, auto& policy) { policy.min_corrupt = 0.2; }).message(), HasSubstr("max_corrupt"));
  EXPECT_THAT(refusal([](auto& config, auto&) { config.threat = Threat::kCurious; }).message(),
              HasSubstr("lies about survivors"));
}

// Each step where another one is due: refused, and then for good.
TEST(SecureAttackTest, P6StepsOutOfOrderEndTheSession) {
  const v1::SecureStep::StepCase kinds[] = {v1::SecureStep::kConfig, v1::SecureStep::kCohort, v1::SecureStep::kShares,
                                            v1::SecureStep::kSurvivors, v1::SecureStep::kUnmask};
  for (const auto due : kinds) {
    for (const auto sent : kinds) {
      if (sent == due) continue;
      Clients federation(SmallConfig(4, 24, 6), 6);
      const auto steps = federation.UntilStep(due);
      v1::SecureStep step;
      if (sent == v1::SecureStep::kConfig) step.set_config("other");
      if (sent == v1::SecureStep::kCohort) step.mutable_cohort();
      if (sent == v1::SecureStep::kShares) step.mutable_shares();
      if (sent == v1::SecureStep::kSurvivors) step.mutable_survivors();
      if (sent == v1::SecureStep::kUnmask) step.mutable_unmask();
      EXPECT_THAT(federation.Refusal(0, step).message(), HasSubstr("not the next one")) << due << " " << sent;
      EXPECT_EQ(federation.Give(0, steps.at(0)).status().code(), Code::kFailedPrecondition) << "it is over";
      EXPECT_TRUE(federation.Give(1, steps.at(1)).ok()) << "for that client alone";
    }
  }
}

// And at the coordinator: whoever answers what was not asked is out, and the others go on.
TEST(SecureAttackTest, P6AnswersOutOfOrderDropTheClient) {
  for (int stage = 0; stage < 5; ++stage) {
    for (int kind = 0; kind < 4; ++kind) {
      SecureFederation federation(SmallConfig(4, 24, 8), 8, 1);
      int sent = 0;
      bool wrong = false;
      federation.network = [&](SecureFederation::Packet& packet) {
        if (packet.client != 0 || packet.to_client || sent++ != stage) return 1;
        v1::SecureAnswer answer;
        if (kind == 0) answer.mutable_keys();
        if (kind == 1) answer.mutable_shares();
        if (kind == 2) answer.set_signature("x");
        if (kind == 3) answer.mutable_unmasked();
        packet.upload = false;
        packet.bytes = BytesOf(answer);
        wrong = true;
        return 1;
      };
      federation.Run();
      ASSERT_TRUE(wrong);
      ASSERT_TRUE(federation.finished().has_value()) << stage << " " << kind << " " << *federation.aborted();
      EXPECT_EQ(federation.Unmasked(), federation.Expected());
      EXPECT_EQ(federation.finished()->clients.size(), stage >= 3 ? 8u : 7u);
      ASSERT_EQ(federation.dropped().size(), 1u);
      EXPECT_EQ(federation.dropped()[0].client, "client-0");
    }
  }
}

}  // namespace
}  // namespace fedpeft::privacy
