#include "client/secure_clients.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "configs/secure.h"
#include "peft/core/log.h"
#include "peft/core/parallel.h"
#include "peft/metrics/totals.h"
#include "privacy/secagg/ring.h"

namespace fedpeft::client {

namespace {

/// Of a vector, masked and packed by one thread at a time: whole bytes of any width.
constexpr std::uint64_t kPieceElements = std::uint64_t{1} << 18;

/// What the round's sum is by this client's own run and update, on the grid that was announced.
Result<SecureSum> OwnSum(const SecureClients::Setup& setup, const TaskKey& key, const KeptUpdate& update,
                         int exponent) {
  return SecureSumOf(setup.run, {setup.run_id, key.round, key.attempt, update.base, update.layout,
                                 update.payload.size() / sizeof(float), exponent});
}

std::vector<float> ValuesOf(const KeptUpdate& update) {
  std::vector<float> values(update.payload.size() / sizeof(float));
  std::memcpy(values.data(), update.payload.data(), values.size() * sizeof(float));
  return values;
}

/// Adds the masks and packs, on all cores: nothing else is computed meanwhile.
Bytes MaskAndPack(const privacy::ClientSession& session, std::vector<std::uint32_t> elements, int bits) {
  Bytes packed(privacy::PackedBytes(elements.size(), bits));
  const std::uint64_t pieces = (elements.size() + kPieceElements - 1) / kPieceElements;
  ForEachPart(pieces, Cores(), [&](std::size_t i) {
    const std::uint64_t first = i * kPieceElements;
    const std::uint64_t count = std::min<std::uint64_t>(kPieceElements, elements.size() - first);
    const std::span<std::uint32_t> piece = std::span(elements).subspan(first, count);
    session.AddMasksTo(first, piece);
    privacy::PackRing(
        piece, bits,
        MutableByteSpan(packed).subspan(privacy::PackedBytes(first, bits), privacy::PackedBytes(count, bits)));
  });
  return packed;
}

}  // namespace

Result<SecureClients::Reply> SecureClients::Handle(const TaskKey& key, ByteSpan step, std::uint64_t examples) {
  const std::scoped_lock lock(mutex_);
  auto client = clients_.find(key.client);
  const std::pair asked(key.round, key.attempt);
  if (client == clients_.end() || asked > std::pair(client->second.round, client->second.attempt)) {
    ASSIGN_OR_RETURN(Client begun, Begin(key));
    client = clients_.insert_or_assign(key.client, std::move(begun)).first;
  } else if (asked < std::pair(client->second.round, client->second.attempt)) {
    return FailedPrecondition("secure aggregation: got a step of an attempt that a newer one has replaced");
  }
  if (!client->second.session) return FailedPrecondition("secure aggregation: this client's session is over");
  Result<Reply> reply = Take(key, client->second, step, examples);
  // Its place stays taken, so that no second session of the attempt begins.
  if (!reply.ok() || client->second.session->answered()) client->second.session.reset();
  return reply;
}

Result<SecureClients::Client> SecureClients::Begin(const TaskKey& key) const {
  ASSIGN_OR_RETURN(const bool unmasked, updates_.IsUnmasked(setup_.run_id, key.client, key.round));
  if (unmasked) {
    return FailedPrecondition("secure aggregation: this client has unmasked a sum of round " +
                              std::to_string(key.round) + ", and joins no other one of it");
  }
  privacy::ClientSession::Setup session;
  session.client_id = key.client;
  session.policy = setup_.policy;
  session.identity = {setup_.identity_key.get(), setup_.identity_certificate};
  session.check = setup_.check;
  return Client{key.round, key.attempt, privacy::ClientSession(std::move(session))};
}

Result<SecureClients::Reply> SecureClients::Take(const TaskKey& key, Client& client, ByteSpan step,
                                                 std::uint64_t examples) {
  ASSIGN_OR_RETURN(std::optional<Bytes> answer, client.session->Handle(step));
  if (!client.checked) RETURN_IF_ERROR(CheckConfig(key, client));
  client.checked = true;
  if (const std::vector<std::string>& accused = client.session->accused(); !accused.empty()) {
    LogWarning("secure.complained", {{"client", key.client},
                                     {"round", key.round},
                                     {"of", accused.front()},
                                     {"others", std::uint64_t{accused.size() - 1}}});
  }
  if (!answer && !client.session->masking()) {
    return FailedPrecondition("secure aggregation: got a step again whose answer has been given");
  }
  if (!answer) return MaskedVector(key, client, examples);
  if (client.session->answered()) RETURN_IF_ERROR(updates_.MarkUnmasked(setup_.run_id, key.client, key.round));
  Reply reply;
  reply.bytes = *std::move(answer);
  return reply;
}

void SecureClients::CloseRounds(std::uint32_t round) {
  const std::scoped_lock lock(mutex_);
  for (auto& [id, client] : clients_) {
    if (client.round <= round) client.session.reset();
  }
}

Result<KeptUpdate> SecureClients::UpdateOf(const TaskKey& key, const Client& client) const {
  std::optional<KeptUpdate> update =
      updates_.Find(setup_.run_id, key.client, key.round, client.session->config().model);
  if (update) return *std::move(update);
  return NotFound("secure aggregation: this client has no update of round " + std::to_string(key.round) +
                  " for the parameters that the sum is of");
}

Status SecureClients::CheckConfig(const TaskKey& key, const Client& client) const {
  const privacy::SessionConfig& config = client.session->config();
  ASSIGN_OR_RETURN(const KeptUpdate update, UpdateOf(key, client));
  ASSIGN_OR_RETURN(SecureSum own, OwnSum(setup_, key, update, config.exponent));
  own.config.nonce = config.nonce;
  if (own.config.Encode() == config.Encode()) return OkStatus();
  return FailedPrecondition("secure aggregation: the coordinator's sum is not the one that the run is about");
}

Result<SecureClients::Reply> SecureClients::MaskedVector(const TaskKey& key, Client& client,
                                                         std::uint64_t examples) const {
  ASSIGN_OR_RETURN(const KeptUpdate update, UpdateOf(key, client));
  ASSIGN_OR_RETURN(const SecureSum own, OwnSum(setup_, key, update, client.session->config().exponent));
  const RunSpec& run = setup_.run;
  ASSIGN_OR_RETURN(const std::uint64_t weight, WeightOf(run.PhaseAt(key.round).reducer, examples));
  std::int64_t counts[kSecureCounts] = {};
  counts[static_cast<std::size_t>(SecureCount::kWeight)] = static_cast<std::int64_t>(weight);
  // Under privacy what else is counted would tell of the client's data beside what is hidden.
  if (!run.privacy.on()) {
    const double loss = update.stats.loss * static_cast<double>(examples) / kGrid;
    counts[static_cast<std::size_t>(SecureCount::kExamples)] = static_cast<std::int64_t>(examples);
    counts[static_cast<std::size_t>(SecureCount::kLoss)] = std::abs(loss) < 0x1p52 ? std::llround(loss) : 0;
  }
  privacy::RandomSource& random = privacy::RandomSource::System();
  const auto not_finite = std::ranges::count_if(ValuesOf(update), [](float value) { return !std::isfinite(value); });
  if (run.privacy.distributed() && not_finite > 0) {
    LogWarning("update.not_finite", {{"client", key.client}, {"round", key.round}, {"values", not_finite}});
  }
  const auto encode = [&]() -> Result<std::vector<std::uint32_t>> {
    if (!run.privacy.distributed()) return own.layout.Encode(ValuesOf(update), counts, random);
    ASSIGN_OR_RETURN(const privacy::ClientNoise noise,
                     ClientNoiseOf(run, client.session->config(), client.session->clients()));
    return own.layout.EncodePrivate(ValuesOf(update), noise, counts, random);
  };
  ASSIGN_OR_RETURN(std::vector<std::uint32_t> elements, encode());
  Reply reply{.masked = true, .bytes = {}, .base = update.base, .layout = update.layout};
  reply.bytes = MaskAndPack(*client.session, std::move(elements), own.layout.spec().budget.bits);
  client.session->Masked();
  return reply;
}

}  // namespace fedpeft::client
