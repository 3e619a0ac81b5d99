#include "privacy/secagg/client_session.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "peft/core/check.h"
#include "privacy/crypto/aead.h"
#include "privacy/secagg/advertised.h"
#include "privacy/secagg/bitmap.h"
#include "privacy/secagg/graph.h"
#include "privacy/secagg/shamir.h"
#include "proto/secure_aggregation.pb.h"

namespace fedpeft::privacy {

namespace {

enum class Stage { kNew, kAdvertised, kShared, kComplained, kMasking, kMasked, kSigned, kAnswered };

/// A neighbour, and what it gave this client to keep.
struct Peer {
  std::uint32_t place = 0;
  std::string id;
  Bytes channel_key, mask_key;
  /// What its shares for this client are sealed with.
  SecretKey opening;
  /// It sent its shares: its mask is in this client's vector.
  bool shared = false;
  Share seed_share, key_share;
};

Status Refuse(std::string what) {
  return FailedPrecondition("secure aggregation: " + std::move(what));
}
Status Malformed(const char* what) {
  return InvalidArgument(std::string("secure aggregation: ") + what);
}

void WipeText(std::string& text) {
  Wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
}

Result<std::optional<Bytes>> Encoded(Result<v1::SecureAnswer> answer) {
  if (!answer.ok()) return answer.status();
  Bytes bytes(answer->ByteSizeLong());
  FEDPEFT_CHECK(answer->SerializeToArray(bytes.data(), static_cast<int>(bytes.size())));
  if (answer->has_unmasked()) {
    for (std::string& share : *answer->mutable_unmasked()->mutable_shares()) WipeText(share);
    WipeText(*answer->mutable_unmasked()->mutable_own_seed_share());
  }
  return std::optional(std::move(bytes));
}

Share ToShare(ByteSpan bytes) {
  return Share(bytes.first<kShareBytes>());
}

}  // namespace

struct ClientSession::State {
  explicit State(Setup given) : setup(std::move(given)) {}

  Setup setup;
  Stage stage = Stage::kNew;
  /// Of the steps so far, and the answers: what comes again gets the same. The last one's, which has others' secrets in
  /// it, is not kept.
  std::vector<std::pair<Digest, std::optional<Bytes>>> answered;
  std::optional<Status> aborted;

  SessionConfig config;
  Digest config_hash{};
  std::optional<AgreementKey> channel, mask;
  std::optional<SigningKey> signer;
  Bytes signing_key;
  Bytes signature;

  SessionId session{};
  std::uint32_t place = 0;
  std::vector<Digest> leaves;
  std::uint32_t threshold = 0;
  std::vector<Peer> peers;
  std::vector<std::string> accused;
  SecretKey seed;
  Share own_seed_share;
  std::vector<Mask> masks;
  /// Who shared, and whose vectors are in the sum, as this client was told.
  Bytes shared, survivors;

  Result<std::optional<Bytes>> Take(ByteSpan bytes);
  Result<v1::SecureAnswer> TakeConfig(ByteSpan bytes);
  Result<v1::SecureAnswer> TakeCohort(const v1::Cohort& cohort);
  Status CheckNeighbours(const v1::Cohort& cohort, const NeighbourGraph& graph);
  Status CheckKeys(const std::string& client_id, const v1::AdvertisedKeys& keys) const;
  Result<v1::SealedShares> SealShares();
  /// Nothing where the masks are ready.
  Result<std::optional<v1::Complaint>> TakeShares(const v1::ForwardedShares& shares);
  bool OpenShares(Peer& peer, ByteSpan sealed);
  Status MakeMasks();
  Status CheckSurvivors(ByteSpan bitmap) const;
  Result<v1::SecureAnswer> TakeSurvivors(const v1::Survivors& message);
  bool IsSignature(const v1::SurvivorSignature& entry, ByteSpan statement) const;
  Status CheckSignatures(const v1::UnmaskRequest& request) const;
  Result<v1::SecureAnswer> TakeUnmask(const v1::UnmaskRequest& request);
  KeyEnd Self(const AgreementKey& key) const { return {place, key.public_key()}; }
  PublicKeys OwnKeys() const { return {channel->public_key(), mask->public_key(), signing_key}; }
  std::uint32_t clients() const { return static_cast<std::uint32_t>(leaves.size()); }
  void WipeSecrets();
};

ClientSession::ClientSession(Setup setup) : state_(std::make_unique<State>(std::move(setup))) {}
ClientSession::~ClientSession() = default;
ClientSession::ClientSession(ClientSession&&) noexcept = default;
ClientSession& ClientSession::operator=(ClientSession&&) noexcept = default;

bool ClientSession::masking() const {
  return !state_->aborted && state_->stage == Stage::kMasking;
}

void ClientSession::AddMasksTo(std::uint64_t first, std::span<std::uint32_t> elements) const {
  FEDPEFT_CHECK(masking());
  AddMasks(state_->masks, first, elements);
}

void ClientSession::Masked() {
  FEDPEFT_CHECK(masking());
  state_->stage = Stage::kMasked;
  state_->masks.clear();
}

bool ClientSession::answered() const {
  return state_->stage == Stage::kAnswered;
}

const std::vector<std::string>& ClientSession::accused() const {
  return state_->accused;
}

const SessionConfig& ClientSession::config() const {
  return state_->config;
}
const SessionId& ClientSession::id() const {
  return state_->session;
}
std::uint32_t ClientSession::clients() const {
  return state_->clients();
}

Result<std::optional<Bytes>> ClientSession::Handle(ByteSpan step) {
  if (state_->aborted) return *state_->aborted;
  const Digest hash = Sha256Of(step);
  for (const auto& [known, answer] : state_->answered) {
    if (known == hash) return answer;
  }
  Result<std::optional<Bytes>> answer = state_->Take(step);
  if (answer.ok()) {
    state_->answered.emplace_back(hash, state_->stage == Stage::kAnswered ? std::nullopt : *answer);
  } else {
    state_->aborted = answer.status();
    state_->WipeSecrets();
  }
  return answer;
}

void ClientSession::State::WipeSecrets() {
  channel.reset();
  mask.reset();
  signer.reset();
  masks.clear();
  peers.clear();
  seed = SecretKey();
  own_seed_share = Share();
}

Result<std::optional<Bytes>> ClientSession::State::Take(ByteSpan bytes) {
  v1::SecureStep step;
  if (!step.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Malformed("got no step");
  const auto at = [this](Stage wanted) { return stage == wanted; };
  switch (step.step_case()) {
    case v1::SecureStep::kConfig:
      if (at(Stage::kNew)) return Encoded(TakeConfig(AsBytes(step.config())));
      break;
    case v1::SecureStep::kCohort:
      if (at(Stage::kAdvertised)) return Encoded(TakeCohort(step.cohort()));
      break;
    case v1::SecureStep::kShares: {
      if (!at(Stage::kShared)) break;
      ASSIGN_OR_RETURN(const std::optional<v1::Complaint> complaint, TakeShares(step.shares()));
      if (!complaint) return std::optional<Bytes>();
      v1::SecureAnswer answer;
      *answer.mutable_complaint() = *complaint;
      return Encoded(answer);
    }
    case v1::SecureStep::kSurvivors:
      if (at(Stage::kMasked) && config.signs()) return Encoded(TakeSurvivors(step.survivors()));
      break;
    case v1::SecureStep::kUnmask:
      if (at(config.signs() ? Stage::kSigned : Stage::kMasked)) return Encoded(TakeUnmask(step.unmask()));
      break;
    case v1::SecureStep::STEP_NOT_SET:
      return Malformed("got an empty step");
  }
  return Refuse("got a step that is not the next one, or a second one of its kind");
}

// ---- config → keys

Status ClientPolicy::Check(const SessionConfig& config) const {
  if (config.min_clients < min_clients) {
    return Refuse("the coordinator sums as few as " + std::to_string(config.min_clients) +
                  " clients, this client's policy wants at least " + std::to_string(min_clients));
  }
  if (config.budget.bits > max_bits) {
    return Refuse("elements have " + std::to_string(config.budget.bits) + " bits, this client's policy allows " +
                  std::to_string(max_bits));
  }
  if (config.max_corrupt < min_corrupt) {
    return Refuse("max_corrupt is " + std::to_string(config.max_corrupt) + ", this client's policy wants at least " +
                  std::to_string(min_corrupt));
  }
  if (semi_malicious && config.threat == Threat::kCurious) {
    return Refuse("a coordinator that lies about survivors is not guarded against, this client's policy wants that");
  }
  return OkStatus();
}

Result<v1::SecureAnswer> ClientSession::State::TakeConfig(ByteSpan bytes) {
  ASSIGN_OR_RETURN(config, SessionConfig::Decode(bytes));
  RETURN_IF_ERROR(setup.policy.Check(config));
  config_hash = ConfigHash(bytes);
  channel = AgreementKey::Generate(config.suite, *setup.random);
  mask = AgreementKey::Generate(config.suite, *setup.random);
  signer = SigningKey::Generate(config.suite, *setup.random);
  signing_key = signer->public_key();
  v1::SecureAnswer answer;
  v1::AdvertisedKeys& keys = *answer.mutable_keys();
  keys.set_channel_key(Text(channel->public_key()));
  keys.set_mask_key(Text(mask->public_key()));
  keys.set_signing_key(Text(signing_key));
  if (setup.identity.key != nullptr) {
    signature = setup.identity.key->Sign(AdvertisedStatement(config_hash, setup.client_id, OwnKeys()));
    keys.set_signature(Text(signature));
    keys.set_certificate(Text(setup.identity.certificate));
  }
  stage = Stage::kAdvertised;
  return answer;
}

// ---- cohort → sealed shares

Status ClientSession::State::CheckKeys(const std::string& client_id, const v1::AdvertisedKeys& keys) const {
  if (keys.channel_key().size() != PublicKeyBytes(config.suite) ||
      keys.mask_key().size() != PublicKeyBytes(config.suite)) {
    return Malformed("got a neighbour's key of another length");
  }
  return CheckIdentity(setup.check, config_hash, client_id, keys);
}

Status ClientSession::State::CheckNeighbours(const v1::Cohort& cohort, const NeighbourGraph& graph) {
  const std::vector<std::uint32_t> expected = graph.NeighboursOf(place);
  if (cohort.neighbours_size() != static_cast<int>(expected.size())) {
    return Refuse("got " + std::to_string(cohort.neighbours_size()) + " neighbours, want " +
                  std::to_string(expected.size()));
  }
  std::vector<std::string_view> ids, keys{AsText(channel->public_key()), AsText(mask->public_key())};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const v1::Neighbour& neighbour = cohort.neighbours(static_cast<int>(i));
    if (neighbour.place() != expected[i]) return Refuse("got other neighbours than the cohort's keys make");
    RETURN_IF_ERROR(CheckKeys(neighbour.client_id(), neighbour.keys()));
    if (LeafOf(neighbour.client_id(), neighbour.keys()) != leaves[expected[i]]) {
      return Refuse("got a neighbour's keys that are not the cohort's");
    }
    ids.push_back(neighbour.client_id());
    keys.push_back(neighbour.keys().channel_key());
    keys.push_back(neighbour.keys().mask_key());
    Peer peer;
    peer.place = expected[i];
    peer.id = neighbour.client_id();
    peer.channel_key.assign(neighbour.keys().channel_key().begin(), neighbour.keys().channel_key().end());
    peer.mask_key.assign(neighbour.keys().mask_key().begin(), neighbour.keys().mask_key().end());
    peers.push_back(std::move(peer));
  }
  std::ranges::sort(ids);
  std::ranges::sort(keys);
  if (std::ranges::adjacent_find(ids) != ids.end() || std::ranges::adjacent_find(keys) != keys.end() ||
      std::ranges::count(ids, std::string_view(setup.client_id)) > 0) {
    return Refuse("got a client or a key twice");
  }
  return OkStatus();
}

Result<v1::SecureAnswer> ClientSession::State::TakeCohort(const v1::Cohort& cohort) {
  const std::size_t clients = cohort.leaves().size() / sizeof(Digest);
  if (cohort.leaves().size() % sizeof(Digest) != 0 || cohort.place() >= clients) return Malformed("got no cohort");
  if (clients < config.min_clients || clients > config.budget.max_contributions) {
    return Refuse("got a cohort of " + std::to_string(clients) + ", want " + std::to_string(config.min_clients) +
                  " to " + std::to_string(config.budget.max_contributions));
  }
  leaves.resize(clients);
  for (std::size_t i = 0; i < clients; ++i) {
    std::ranges::copy(AsBytes(cohort.leaves()).subspan(i * sizeof(Digest), sizeof(Digest)), leaves[i].begin());
  }
  place = cohort.place();
  if (leaves[place] != KeyLeaf(setup.client_id, OwnKeys(), signature)) {
    return Refuse("the cohort has other keys for this client than its own");
  }
  ASSIGN_OR_RETURN(const GraphParameters parameters,
                   FindGraphParameters(config.CohortOf(static_cast<std::uint32_t>(clients))));
  if (parameters.threshold < setup.policy.min_threshold) {
    return Refuse("secrets take " + std::to_string(parameters.threshold) + " shares, this client's policy wants " +
                  std::to_string(setup.policy.min_threshold));
  }
  threshold = parameters.threshold;
  const Digest root = MerkleRoot(leaves);
  session = SessionIdOf(config_hash, root);
  const NeighbourGraph graph(static_cast<std::uint32_t>(clients), parameters.degree, root);
  RETURN_IF_ERROR(CheckNeighbours(cohort, graph));
  v1::SecureAnswer answer;
  ASSIGN_OR_RETURN(*answer.mutable_shares(), SealShares());
  stage = Stage::kShared;
  return answer;
}

Result<v1::SealedShares> ClientSession::State::SealShares() {
  seed = RandomSecret<32>(*setup.random);
  const SecretPolynomials seed_shares(seed, threshold, *setup.random);
  const SecretPolynomials key_shares(mask->secret(), threshold, *setup.random);
  own_seed_share = seed_shares.At(place + 1);
  v1::SealedShares shares;
  for (Peer& peer : peers) {
    Secret<kSharePairBytes> pair;
    const Share seed_share = seed_shares.At(peer.place + 1), key_share = key_shares.At(peer.place + 1);
    std::ranges::copy(seed_share.bytes(), pair.mutable_bytes().begin());
    std::ranges::copy(key_share.bytes(), pair.mutable_bytes().begin() + kShareBytes);
    ASSIGN_OR_RETURN(const SecretKey agreed, channel->Agree(peer.channel_key));
    const KeyEnd other{peer.place, peer.channel_key};
    peer.opening = ShareKey(agreed, session, other, Self(*channel));
    const SecretKey key = ShareKey(agreed, session, Self(*channel), other);
    shares.add_sealed(Text(Seal(key, *setup.random, ShareLabel(session, place, peer.place), pair.bytes())));
  }
  shares.set_seed_commitment(Text(SeedCommitment(session, place, seed)));
  return shares;
}

// ---- shares → masks

bool ClientSession::State::OpenShares(Peer& peer, ByteSpan sealed) {
  Secret<kSharePairBytes> pair;
  if (!Open(peer.opening, ShareLabel(session, peer.place, place), sealed, pair.mutable_bytes()).ok()) return false;
  const ByteSpan seed_share = ByteSpan(pair.bytes()).first(kShareBytes);
  const ByteSpan key_share = ByteSpan(pair.bytes()).last(kShareBytes);
  if (!IsShare(seed_share) || !IsShare(key_share)) return false;
  peer.seed_share = ToShare(seed_share);
  peer.key_share = ToShare(key_share);
  peer.shared = true;
  return true;
}

Result<std::optional<v1::Complaint>> ClientSession::State::TakeShares(const v1::ForwardedShares& shares) {
  if (shares.sealed_size() != static_cast<int>(peers.size())) return Malformed("got another number of shares");
  shared.assign(shares.shared().begin(), shares.shared().end());
  if (!IsBitmap(shared, clients())) return Malformed("got no bitmap of the cohort");
  if (!HasBit(shared, place)) return Refuse("this client is said to have shared nothing");
  std::uint32_t here = 1;
  v1::Complaint complaint;
  for (std::size_t i = 0; i < peers.size(); ++i) {
    const std::string& sealed = shares.sealed(static_cast<int>(i));
    if (sealed.empty() == HasBit(shared, peers[i].place)) {
      return Refuse("neighbour " + std::to_string(peers[i].place) +
                    " is said to have shared, and has not, or the reverse");
    }
    if (sealed.empty()) continue;
    ++here;
    if (OpenShares(peers[i], AsBytes(sealed))) continue;
    complaint.add_places(peers[i].place);
    accused.push_back(peers[i].id);
  }
  if (here < threshold) {
    return Refuse("got shares of " + std::to_string(here) + " clients, want at least " + std::to_string(threshold));
  }
  if (!accused.empty()) {
    WipeSecrets();
    stage = Stage::kComplained;
    return std::optional(complaint);
  }
  RETURN_IF_ERROR(MakeMasks());
  stage = Stage::kMasking;
  return std::optional<v1::Complaint>();
}

Status ClientSession::State::MakeMasks() {
  masks.reserve(peers.size() + 1);
  masks.push_back({SelfMaskKey(seed, session, place, config.model), false});
  for (const Peer& peer : peers) {
    if (!peer.shared) continue;
    ASSIGN_OR_RETURN(const SecretKey agreed, mask->Agree(peer.mask_key));
    masks.push_back({PairMaskKey(agreed, session, Self(*mask), {peer.place, peer.mask_key}, config.model),
                     /*subtract=*/peer.place > place});
  }
  return OkStatus();
}

// ---- survivors → signature, unmask → shares

Status ClientSession::State::CheckSurvivors(ByteSpan bitmap) const {
  if (!IsBitmap(bitmap, clients())) return Malformed("got no bitmap of the cohort");
  if (!HasBit(bitmap, place)) return Refuse("this client's vector is said to be lost");
  if (const std::uint32_t fewest = config.FewestOf(clients()); CountBits(bitmap) < fewest) {
    return Refuse("the sum is of " + std::to_string(CountBits(bitmap)) + " clients, want at least " +
                  std::to_string(fewest));
  }
  if (!IsSubset(bitmap, shared)) return Refuse("a client that sent no shares is said to be there");
  return OkStatus();
}

Result<v1::SecureAnswer> ClientSession::State::TakeSurvivors(const v1::Survivors& message) {
  RETURN_IF_ERROR(CheckSurvivors(AsBytes(message.bitmap())));
  survivors.assign(message.bitmap().begin(), message.bitmap().end());
  v1::SecureAnswer answer;
  answer.set_signature(Text(signer->Sign(SurvivorStatement(session, shared, survivors))));
  stage = Stage::kSigned;
  return answer;
}

/// Whether it is a signature of that statement by a client of the cohort.
bool ClientSession::State::IsSignature(const v1::SurvivorSignature& entry, ByteSpan statement) const {
  if (entry.place() >= clients()) return false;
  const v1::AdvertisedKeys& keys = entry.keys();
  if (LeafOf(entry.client_id(), keys) != leaves[entry.place()]) return false;
  if (!CheckIdentity(setup.check, config_hash, entry.client_id(), keys).ok()) return false;
  const Result<VerifyingKey> key = VerifyingKey::FromDer(config.suite, AsBytes(keys.signing_key()));
  return key.ok() && key->Verify(statement, AsBytes(entry.signature())).ok();
}

/// What is no signature does not count, and each client counts once: nobody can make the others refuse.
Status ClientSession::State::CheckSignatures(const v1::UnmaskRequest& request) const {
  if (AsText(survivors) != request.bitmap()) return Refuse("other survivors are to be unmasked than were signed");
  const Bytes statement = SurvivorStatement(session, shared, survivors);
  std::set<std::string_view> signers;
  for (const v1::SurvivorSignature& entry : request.signatures()) {
    if (!signers.contains(entry.client_id()) && IsSignature(entry, statement)) signers.insert(entry.client_id());
  }
  const std::uint32_t quorum = SignatureQuorum(config, clients());
  if (signers.size() >= quorum) return OkStatus();
  return Refuse("survivors are signed by " + std::to_string(signers.size()) + ", want " + std::to_string(quorum));
}

Result<v1::SecureAnswer> ClientSession::State::TakeUnmask(const v1::UnmaskRequest& request) {
  RETURN_IF_ERROR(CheckSurvivors(AsBytes(request.bitmap())));
  if (config.signs()) RETURN_IF_ERROR(CheckSignatures(request));
  v1::SecureAnswer answer;
  v1::UnmaskShares& shares = *answer.mutable_unmasked();
  for (const Peer& peer : peers) {
    const bool survives = HasBit(AsBytes(request.bitmap()), peer.place);
    shares.add_shares(peer.shared ? Text((survives ? peer.seed_share : peer.key_share).bytes()) : std::string());
  }
  shares.set_own_seed_share(Text(own_seed_share.bytes()));
  stage = Stage::kAnswered;
  WipeSecrets();
  return answer;
}

}  // namespace fedpeft::privacy
