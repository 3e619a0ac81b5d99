#include "privacy/secagg/server_session.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <utility>

#include "peft/core/check.h"
#include "privacy/crypto/aead.h"
#include "privacy/crypto/certificate.h"
#include "privacy/crypto/signature.h"
#include "privacy/secagg/advertised.h"
#include "privacy/secagg/bitmap.h"
#include "privacy/secagg/graph.h"
#include "privacy/secagg/member.h"
#include "privacy/secagg/session_keys.h"
#include "privacy/secagg/unmasking.h"
#include "proto/secure_aggregation.pb.h"

namespace fedpeft::privacy {

namespace {

using Stage = ServerSession::Stage;

std::shared_ptr<const Bytes> Encoded(const v1::SecureStep& step) {
  auto bytes = std::make_shared<Bytes>(step.ByteSizeLong());
  FEDPEFT_CHECK(step.SerializeToArray(bytes->data(), static_cast<int>(bytes->size())));
  return bytes;
}

}  // namespace

struct ServerSession::State {
  explicit State(Setup given) : setup(std::move(given)) {
    std::ranges::sort(setup.clients);
    for (std::string& client : setup.clients) {
      const auto [at, added] = places.emplace(client, static_cast<std::uint32_t>(members.size()));
      FEDPEFT_CHECK(added);
      members.emplace_back().id = client;
    }
  }

  Setup setup;
  Stage stage = Stage::kAdvertise;
  bool started = false;
  /// By place; the cohort once keys are in.
  std::vector<Member> members;
  std::map<std::string, std::uint32_t> places;
  /// Who is out, while messages of theirs may still come.
  std::set<std::string> out;
  Digest config_hash{};
  Digest root{};
  SessionId session{};
  GraphParameters parameters;
  Bytes shared, survivors;
  /// From the end of uploads on.
  std::optional<Unmasking> unmasking;
  std::optional<Instant> deadline;

  // Of the call in progress.
  Instant now{};
  std::vector<SecureAction> actions;

  const SessionConfig& config() const { return setup.config; }
  void Begin();
  /// As the configuration has it.
  std::uint32_t MostCorrupt() const {
    return FractionOf(config().max_corrupt, static_cast<std::uint32_t>(members.size()));
  }
  void Open(Stage next);
  void Take(const SecureAnswered& event);
  Status TakeAnswer(std::uint32_t place, const v1::SecureAnswer& answer);
  Status TakeKeys(Member& member, const v1::AdvertisedKeys& keys) const;
  Status TakeSealed(Member& member, const v1::SealedShares& shares) const;
  Status TakeComplaint(const Member& member, const v1::Complaint& complaint);
  Status TakeSignature(Member& member, const std::string& signature) const;
  void Drop(std::uint32_t place, std::string reason);
  void Expel(std::uint32_t place, std::string reason);
  void Gone(const std::string& client);
  /// Takes all steps that need no further event.
  void Advance();
  bool AllAnswered() const;
  std::size_t Answered() const;
  std::size_t Needed() const;
  void CloseStage();
  void DealCohort();
  void ForwardShares();
  void CloseUploads();
  void AskSignatures();
  void AskUnmask();
  void Unmask(bool last_chance);
  /// The places where that member is true.
  Bytes BitmapOf(bool Member::*which) const;
  void Abort(std::string reason);
  void Ask(const Member& member, std::shared_ptr<const Bytes> own, std::shared_ptr<const Bytes> common = nullptr) {
    actions.emplace_back(SecureAsk{member.id, {std::move(common), std::move(own)}});
  }
  /// The same to everybody who is here.
  void AskAll(const v1::SecureStep& step) {
    const auto bytes = Encoded(step);
    for (const Member& member : members) {
      if (member.here) Ask(member, nullptr, bytes);
    }
  }
};

ServerSession::ServerSession(Setup setup) : state_(std::make_unique<State>(std::move(setup))) {}
ServerSession::~ServerSession() = default;
ServerSession::ServerSession(ServerSession&&) noexcept = default;
ServerSession& ServerSession::operator=(ServerSession&&) noexcept = default;

Stage ServerSession::stage() const {
  return state_->stage;
}
std::uint32_t ServerSession::cohort() const {
  return static_cast<std::uint32_t>(state_->members.size());
}
GraphParameters ServerSession::parameters() const {
  return state_->parameters;
}
std::optional<Instant> ServerSession::Wakeup() const {
  return state_->deadline;
}

bool ServerSession::WantsUpload(const std::string& client) const {
  if (state_->stage != Stage::kUpload || state_->out.contains(client)) return false;
  const auto at = state_->places.find(client);
  return at != state_->places.end() && state_->members[at->second].here && !state_->members[at->second].uploaded;
}

Bytes SecureStepBytes::Joined() const {
  Bytes bytes;
  bytes.reserve(size());
  for (const auto& piece : {common, own}) {
    if (piece) bytes.insert(bytes.end(), piece->begin(), piece->end());
  }
  return bytes;
}

bool ServerSession::HasUpload(const std::string& client) const {
  const auto at = state_->places.find(client);
  return at != state_->places.end() && state_->members[at->second].uploaded;
}

std::vector<SecureAction> ServerSession::Handle(Instant now, const SecureEvent& event) {
  State& state = *state_;
  state.now = now;
  if (!state.started) state.Begin();
  if (state.stage != Stage::kFinished && state.stage != Stage::kAborted) {
    if (const auto* answered = std::get_if<SecureAnswered>(&event)) state.Take(*answered);
    if (const auto* uploaded = std::get_if<SecureUploaded>(&event)) {
      FEDPEFT_CHECK(WantsUpload(uploaded->client));
      Member& member = state.members[state.places.at(uploaded->client)];
      member.uploaded = member.answered = true;
    }
    if (const auto* departed = std::get_if<SecureDeparted>(&event)) {
      for (const std::string& client : departed->clients) state.Gone(client);
    }
    state.Advance();
  }
  return std::exchange(state.actions, {});
}

void ServerSession::State::Begin() {
  started = true;
  const Bytes config_bytes = config().Encode();
  config_hash = ConfigHash(config_bytes);
  v1::SecureStep step;
  step.set_config(Text(config_bytes));
  AskAll(step);
  Open(Stage::kAdvertise);
}

void ServerSession::State::Open(Stage next) {
  stage = next;
  for (Member& member : members) member.answered = false;
  deadline = now + (next == Stage::kUpload ? setup.upload_deadline : setup.deadline);
}

void ServerSession::State::Abort(std::string reason) {
  stage = Stage::kAborted;
  deadline.reset();
  unmasking.reset();
  actions.emplace_back(SecureAborted{std::move(reason)});
}

void ServerSession::State::Drop(std::uint32_t place, std::string reason) {
  Member& member = members[place];
  member.here = false;
  out.insert(member.id);
  actions.emplace_back(SecureDrop{member.id, std::move(reason)});
}

void ServerSession::State::Expel(std::uint32_t place, std::string reason) {
  actions.emplace_back(SecureExpel{members[place].id, reason});
  if (members[place].here) Drop(place, std::move(reason));
}

void ServerSession::State::Gone(const std::string& client) {
  const auto at = places.find(client);
  if (at == places.end() || !members[at->second].here) return;
  Drop(at->second, "left");
}

// ---- answers

void ServerSession::State::Take(const SecureAnswered& event) {
  const auto at = places.find(event.client);
  if (at == places.end() || !members[at->second].here) return;
  Member& member = members[at->second];
  const Digest hash = Sha256Of(event.answer);
  for (const auto& [of, known] : member.answers) {
    if (known == hash) return;  // it comes again
  }
  v1::SecureAnswer answer;
  if (!answer.ParseFromArray(event.answer.data(), static_cast<int>(event.answer.size()))) {
    return Drop(at->second, "sent what is no answer");
  }
  if (member.answered || member.answers.contains(stage)) return Drop(at->second, "answered twice, and differently");
  const Status taken = TakeAnswer(at->second, answer);
  if (!taken.ok()) return Drop(at->second, taken.message());
  member.answers.emplace(stage, hash);
  member.answered = true;
}

Status ServerSession::State::TakeAnswer(std::uint32_t place, const v1::SecureAnswer& answer) {
  Member& member = members[place];
  using Case = v1::SecureAnswer::AnswerCase;
  switch (stage) {
    case Stage::kAdvertise:
      RETURN_IF_ERROR(Want(answer.answer_case() == Case::kKeys, "sent another answer than keys"));
      return TakeKeys(member, answer.keys());
    case Stage::kShare:
      RETURN_IF_ERROR(Want(answer.answer_case() == Case::kShares, "sent another answer than shares"));
      return TakeSealed(member, answer.shares());
    case Stage::kSign:
      RETURN_IF_ERROR(Want(answer.answer_case() == Case::kSignature, "sent another answer than a signature"));
      return TakeSignature(member, answer.signature());
    case Stage::kUnmask:
      RETURN_IF_ERROR(Want(answer.answer_case() == Case::kUnmasked, "sent another answer than shares of secrets"));
      return unmasking->Take(place, answer.unmasked(), actions);
    case Stage::kUpload:
      RETURN_IF_ERROR(Want(answer.answer_case() == Case::kComplaint, "sent an answer where a masked vector is wanted"));
      return TakeComplaint(member, answer.complaint());
    case Stage::kFinished:
    case Stage::kAborted:
      break;
  }
  FEDPEFT_CHECK(false);
}

Status ServerSession::State::TakeKeys(Member& member, const v1::AdvertisedKeys& keys) const {
  RETURN_IF_ERROR(CheckPublicKey(config().suite, AsBytes(keys.channel_key())));
  RETURN_IF_ERROR(CheckPublicKey(config().suite, AsBytes(keys.mask_key())));
  RETURN_IF_ERROR(Want(keys.channel_key() != keys.mask_key(), "sent one key as two"));
  RETURN_IF_ERROR(VerifyingKey::FromDer(config().suite, AsBytes(keys.signing_key())).status());
  RETURN_IF_ERROR(
      Want(keys.signature().size() <= kMaxSignatureBytes && keys.certificate().size() <= kMaxCertificateBytes,
           "sent a signature or certificate that is too long"));
  RETURN_IF_ERROR(CheckIdentity(setup.check, config_hash, member.id, keys));
  member.keys = keys;
  member.keys.DiscardUnknownFields();  // neighbours are sent them
  return OkStatus();
}

Status ServerSession::State::TakeSealed(Member& member, const v1::SealedShares& shares) const {
  RETURN_IF_ERROR(Want(shares.sealed_size() == static_cast<int>(member.neighbours.size()),
                       "sent another number of shares than it has neighbours"));
  for (const std::string& sealed : shares.sealed()) {
    RETURN_IF_ERROR(Want(sealed.size() == kSharePairBytes + kSealBytes, "sent shares of another length"));
  }
  RETURN_IF_ERROR(Want(shares.seed_commitment().size() == sizeof(Digest), "sent no commitment to its seed"));
  std::ranges::copy(AsBytes(shares.seed_commitment()), member.commitment.begin());
  member.sealed.assign(shares.sealed().begin(), shares.sealed().end());
  member.shared = true;
  return OkStatus();
}

/// An error in any case: who complains is out.
Status ServerSession::State::TakeComplaint(const Member& member, const v1::Complaint& complaint) {
  const std::set<std::uint32_t> accused(complaint.places().begin(), complaint.places().end());
  const auto dealt = [&](std::uint32_t place) {
    return std::ranges::binary_search(member.neighbours, place) && members[place].shared;
  };
  RETURN_IF_ERROR(Want(!accused.empty() && std::ranges::all_of(accused, dealt), "complained of what it was not dealt"));
  for (const std::uint32_t place : accused) {
    if (++members[place].accusers != MostCorrupt() + 1) continue;
    Expel(place, "dealt shares that " + std::to_string(members[place].accusers) + " of its neighbours cannot open");
  }
  return InvalidArgument("cannot open the shares of " + members[*accused.begin()].id +
                         (accused.size() > 1 ? " and others" : ""));
}

Status ServerSession::State::TakeSignature(Member& member, const std::string& signature) const {
  ASSIGN_OR_RETURN(const VerifyingKey key, VerifyingKey::FromDer(config().suite, AsBytes(member.keys.signing_key())));
  RETURN_IF_ERROR(key.Verify(SurvivorStatement(session, shared, survivors), AsBytes(signature)));
  member.survivor_signature = signature;
  return OkStatus();
}

// ---- stages

std::size_t ServerSession::State::Answered() const {
  return static_cast<std::size_t>(std::ranges::count(members, true, &Member::answered));
}

bool ServerSession::State::AllAnswered() const {
  return std::ranges::all_of(members, [](const Member& member) { return member.answered || !member.here; });
}

/// The fewest that a stage may go on with.
std::size_t ServerSession::State::Needed() const {
  const auto clients = static_cast<std::uint32_t>(members.size());
  if (stage == Stage::kSign) return SignatureQuorum(config(), clients);
  return stage == Stage::kAdvertise ? config().min_clients : config().FewestOf(clients);
}

void ServerSession::State::Advance() {
  const bool late = now >= *deadline;
  if (stage == Stage::kUnmask) return Unmask(late || AllAnswered());
  if (!late && !AllAnswered()) return;
  if (Answered() < Needed()) {
    return Abort("got " + std::to_string(Answered()) + " clients' answers, want " + std::to_string(Needed()));
  }
  for (std::uint32_t place = 0; place < members.size(); ++place) {
    if (members[place].here && !members[place].answered) Drop(place, "was too late");
  }
  CloseStage();
}

void ServerSession::State::CloseStage() {
  switch (stage) {
    case Stage::kAdvertise:
      return DealCohort();
    case Stage::kShare:
      return ForwardShares();
    case Stage::kUpload:
      return CloseUploads();
    case Stage::kSign:
      return AskUnmask();
    case Stage::kUnmask:
    case Stage::kFinished:
    case Stage::kAborted:
      break;
  }
  FEDPEFT_CHECK(false);
}

void ServerSession::State::DealCohort() {
  std::set<std::string> keys;
  for (std::uint32_t place = 0; place < members.size(); ++place) {
    const Member& member = members[place];
    if (!member.here || !member.answered) continue;
    const bool fresh = !keys.contains(member.keys.channel_key()) && !keys.contains(member.keys.mask_key());
    keys.insert({member.keys.channel_key(), member.keys.mask_key()});
    if (!fresh) Drop(place, "sent another client's key");
  }
  std::erase_if(members, [](const Member& member) { return !member.here || !member.answered; });
  if (members.size() < config().min_clients) return Abort("got too few clients with keys of their own");
  places.clear();
  std::vector<Digest> leaves;
  std::string leaf_bytes;
  for (const Member& member : members) {
    places.emplace(member.id, static_cast<std::uint32_t>(leaves.size()));
    leaves.push_back(LeafOf(member.id, member.keys));
    leaf_bytes += AsText(leaves.back());
  }
  const auto clients = static_cast<std::uint32_t>(members.size());
  const Result<GraphParameters> found = FindGraphParameters(config().CohortOf(clients));
  if (!found.ok()) return Abort(found.status().message());
  parameters = *found;
  root = MerkleRoot(leaves);
  session = SessionIdOf(config_hash, root);
  const NeighbourGraph graph(clients, parameters.degree, root);
  // What all are told is there once: a message's bytes after another's of its kind add to it when they are read.
  v1::SecureStep told_all;
  told_all.mutable_cohort()->set_leaves(leaf_bytes);
  const auto common = Encoded(told_all);
  for (std::uint32_t place = 0; place < clients; ++place) {
    members[place].neighbours = graph.NeighboursOf(place);
    v1::SecureStep step;
    v1::Cohort& cohort = *step.mutable_cohort();
    cohort.set_place(place);
    for (const std::uint32_t other : members[place].neighbours) {
      v1::Neighbour& neighbour = *cohort.add_neighbours();
      neighbour.set_place(other);
      neighbour.set_client_id(members[other].id);
      *neighbour.mutable_keys() = members[other].keys;
    }
    Ask(members[place], Encoded(step), common);
  }
  Open(Stage::kShare);
}

Bytes ServerSession::State::BitmapOf(bool Member::*which) const {
  Bytes bitmap = EmptyBitmap(static_cast<std::uint32_t>(members.size()));
  for (std::uint32_t place = 0; place < members.size(); ++place) {
    if (members[place].*which) SetBit(bitmap, place);
  }
  return bitmap;
}

void ServerSession::State::ForwardShares() {
  shared = BitmapOf(&Member::shared);
  for (std::uint32_t place = 0; place < members.size(); ++place) {
    if (!members[place].here) continue;
    v1::SecureStep step;
    step.mutable_shares()->set_shared(Text(shared));
    for (const std::uint32_t other : members[place].neighbours) {
      std::string& sealed = *step.mutable_shares()->add_sealed();
      if (!members[other].shared) continue;
      const auto& neighbours = members[other].neighbours;
      const auto at = std::ranges::lower_bound(neighbours, place) - neighbours.begin();
      sealed = std::move(members[other].sealed[static_cast<std::size_t>(at)]);
    }
    Ask(members[place], Encoded(step));
  }
  for (Member& member : members) std::vector<std::string>().swap(member.sealed);
  Open(Stage::kUpload);
}

void ServerSession::State::CloseUploads() {
  survivors = BitmapOf(&Member::uploaded);
  unmasking.emplace(config(), session, parameters.threshold, members);
  if (config().signs()) return AskSignatures();
  AskUnmask();
}

void ServerSession::State::AskSignatures() {
  v1::SecureStep step;
  step.mutable_survivors()->set_bitmap(Text(survivors));
  AskAll(step);
  Open(Stage::kSign);
}

void ServerSession::State::AskUnmask() {
  if (const auto place = unmasking->Unrecoverable()) {
    return Abort("too few are left of those who have shares of " + members[*place].id + "'s secret, want " +
                 std::to_string(parameters.threshold));
  }
  v1::SecureStep step;
  v1::UnmaskRequest& request = *step.mutable_unmask();
  request.set_bitmap(Text(survivors));
  const auto quorum = static_cast<int>(SignatureQuorum(config(), static_cast<std::uint32_t>(members.size())));
  // The shortest certificates first: long ones of a few must not make the step too long for a message.
  std::vector<std::uint32_t> places_by_length(members.size());
  std::iota(places_by_length.begin(), places_by_length.end(), 0u);
  std::ranges::stable_sort(places_by_length, {},
                           [this](std::uint32_t place) { return members[place].keys.certificate().size(); });
  for (const std::uint32_t place : places_by_length) {
    const Member& member = members[place];
    if (member.survivor_signature.empty()) continue;
    if (request.signatures_size() == quorum) break;
    v1::SurvivorSignature& signature = *request.add_signatures();
    signature.set_place(place);
    signature.set_client_id(member.id);
    *signature.mutable_keys() = member.keys;
    signature.set_signature(member.survivor_signature);
  }
  AskAll(step);
  Open(Stage::kUnmask);
}

void ServerSession::State::Unmask(bool last_chance) {
  if (!last_chance && !unmasking->has_enough()) return;
  if (const std::optional<std::uint32_t> missing = unmasking->Recover(actions)) {
    if (!last_chance) return;  // wrong shares: more may come
    const std::size_t shares = unmasking->shares(*missing);
    // So few wrong ones as there may be are always found.
    const bool dealt_wrong = shares >= parameters.threshold + 2 * MostCorrupt();
    if (dealt_wrong) Expel(*missing, "dealt shares that do not give its secret");
    return Abort("the secret of " + members[*missing].id + " has " + std::to_string(shares) +
                 " shares of which it does not come, want " + std::to_string(parameters.threshold) + " right ones");
  }
  stage = Stage::kFinished;
  deadline.reset();
  actions.emplace_back(unmasking->Finished());
  unmasking.reset();
}

}  // namespace fedpeft::privacy
