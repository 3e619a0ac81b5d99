#include "privacy/secagg/unmasking.h"

#include <algorithm>
#include <string>
#include <utility>

#include "peft/core/check.h"
#include "privacy/crypto/key_agreement.h"

namespace fedpeft::privacy {

Unmasking::Unmasking(const SessionConfig& config, const SessionId& session, std::uint32_t threshold,
                     const std::vector<Member>& members)
    : config_(config), session_(session), threshold_(threshold), members_(members) {
  const auto uploaded = [this](std::uint32_t place) { return members_[place].uploaded; };
  for (std::uint32_t place = 0; place < members_.size(); ++place) {
    const Member& member = members_[place];
    const bool masks_sum = member.shared && std::ranges::any_of(member.neighbours, uploaded);
    if (member.uploaded || masks_sum) wanted_.try_emplace(place, threshold_, CheckOf(place));
  }
}

std::optional<std::uint32_t> Unmasking::Unrecoverable() const {
  const auto here = [this](std::uint32_t place) { return members_[place].here; };
  for (const auto& [place, secret] : wanted_) {
    const Member& member = members_[place];
    const auto holders = std::ranges::count_if(member.neighbours, here) + (member.uploaded && member.here ? 1 : 0);
    if (holders < threshold_) return place;
  }
  return std::nullopt;
}

Status Unmasking::Take(std::uint32_t place, const v1::UnmaskShares& shares, std::vector<SecureAction>& actions) {
  const Member& member = members_[place];
  RETURN_IF_ERROR(Want(shares.shares_size() == static_cast<int>(member.neighbours.size()),
                       "sent another number of shares than it has neighbours"));
  for (std::size_t i = 0; i < member.neighbours.size(); ++i) {
    const std::size_t size = members_[member.neighbours[i]].shared ? kShareBytes : 0;
    RETURN_IF_ERROR(Want(shares.shares(static_cast<int>(i)).size() == size, "sent a share of another length"));
  }
  RETURN_IF_ERROR(Want(shares.own_seed_share().size() == kShareBytes, "sent no share of its own seed"));
  const auto give = [&](std::uint32_t of, const std::string& share) {
    if (wanted_.at(of).Add(place + 1, AsBytes(share))) return;
    actions.emplace_back(SecureBlame{member.id, "gave a share of " + members_[of].id + " that is none"});
  };
  for (std::size_t i = 0; i < member.neighbours.size(); ++i) {
    if (members_[member.neighbours[i]].shared) give(member.neighbours[i], shares.shares(static_cast<int>(i)));
  }
  give(place, shares.own_seed_share());
  return OkStatus();
}

bool Unmasking::has_enough() const {
  return std::ranges::all_of(wanted_, [](const auto& entry) { return entry.second.has_enough(); });
}

std::optional<std::uint32_t> Unmasking::Recover(std::vector<SecureAction>& actions) {
  for (auto& [place, secret] : wanted_) {
    std::vector<std::uint32_t> wrong;
    const bool recovered = secret.Try(wrong);
    for (const std::uint32_t x : wrong) {
      actions.emplace_back(
          SecureBlame{members_[x - 1].id, "gave a wrong share of " + members_[place].id + "'s secret"});
    }
    if (!recovered) return place;
  }
  return std::nullopt;
}

IsTheSecret Unmasking::CheckOf(std::uint32_t place) const {
  return [this, place](const SecretKey& candidate) {
    const Member& member = members_[place];
    if (member.uploaded) return SeedCommitment(session_, place, candidate) == member.commitment;
    const Result<AgreementKey> key = AgreementKey::Of(config_.suite, candidate);
    return key.ok() && AsText(key->public_key()) == member.keys.mask_key();
  };
}

SecureFinished Unmasking::Finished() const {
  SecureFinished finished;
  for (const auto& [place, secret] : wanted_) {
    if (members_[place].uploaded) {
      finished.clients.push_back(members_[place].id);
      finished.masks.push_back({SelfMaskKey(secret.secret(), session_, place, config_.model), /*subtract=*/true});
    } else {
      AddMasksOf(place, secret.secret(), finished.masks);
    }
  }
  return finished;
}

/// Those that a lost member's neighbours have added to their vectors.
void Unmasking::AddMasksOf(std::uint32_t place, const SecretKey& secret, std::vector<Mask>& masks) const {
  const AgreementKey key = std::move(*AgreementKey::Of(config_.suite, secret));
  for (const std::uint32_t other : members_[place].neighbours) {
    if (!members_[other].uploaded) continue;
    const std::string& peer = members_[other].keys.mask_key();
    const Result<SecretKey> agreed = key.Agree(AsBytes(peer));
    FEDPEFT_CHECK(agreed.ok());  // both were checked when they came
    // The neighbour added it if the lost one is before it in the cohort.
    masks.push_back({PairMaskKey(*agreed, session_, {place, AsBytes(members_[place].keys.mask_key())},
                                 {other, AsBytes(peer)}, config_.model),
                     /*subtract=*/place < other});
  }
}

}  // namespace fedpeft::privacy
