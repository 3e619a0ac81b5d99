#include "configs/secure.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

#include "aggregation/reducer.h"
#include "configs/clip_groups.h"
#include "configs/privacy.h"
#include "peft/core/bytes.h"
#include "peft/core/files.h"
#include "privacy/crypto/certificate.h"
#include "privacy/secagg/scale.h"

namespace fedpeft {

namespace {

/// Another one each round, and everybody's: nobody can choose it without choosing the model.
Digest RotationSeed(const SecureSumSpec& spec) {
  Sha256 hash;
  hash.Update(AsBytes("fedpeft/secagg/v1/rotation"));
  hash.Update(spec.model);
  std::array<std::uint8_t, 4> round{};
  StoreLe(spec.round, round.data());
  hash.Update(round);
  return hash.Finish();
}

std::uint32_t FewestInSum(const PhaseSpec& phase) {
  return std::max(phase.min_clients, privacy::kFewestClients);
}

/// Noise of more standard deviations does not happen: a chance below 1e-30 an element.
constexpr double kDeviations = 12;
/// Rounding makes a client's vector longer by no more than about a thousandth.
constexpr double kLevelsARoot = 16;

/// How many largest values the noise of so many clients at most amounts to. Each makes its share of what is wanted of
/// those who are there for certain, so that all together make more.
std::uint64_t NoiseRoom(const RunSpec& run, const PhaseSpec& phase, std::uint64_t most) {
  privacy::SessionConfig config;
  config.min_clients = FewestInSum(phase);
  config.max_corrupt = run.secure.max_corrupt;
  config.max_drop_out = run.secure.max_drop_out;
  double largest = 1;
  for (std::uint32_t clients = config.min_clients; clients <= most; ++clients) {
    largest = std::max(largest, static_cast<double>(clients) / config.HonestOf(clients));
  }
  return static_cast<std::uint64_t>(std::ceil(kDeviations * run.privacy.noise_multiplier * std::sqrt(largest)));
}

/// Of a client's largest value, for a vector of so many.
std::int64_t GoodLevel(std::uint64_t values) {
  return std::max<std::int64_t>(1 << 12, std::llround(kLevelsARoot * std::sqrt(static_cast<double>(values))));
}

}  // namespace

Result<std::uint64_t> WeightOf(const ReducerSpec& reducer, std::uint64_t examples) {
  const bool uniform = reducer.weights == ReducerSpec::Weights::kUniform;
  const auto weighting = uniform ? aggregation::Weighting::kUniform : aggregation::Weighting::kExamples;
  return aggregation::SumReducer(weighting, reducer.max_weight).WeightOf(examples);
}

Result<privacy::RingBudget> RingBudgetOf(const RunSpec& run, const PhaseSpec& phase) {
  const bool uniform = phase.reducer.weights == ReducerSpec::Weights::kUniform;
  privacy::RingBudget budget{run.secure.bits, MostInRound(run, phase), uniform ? 1 : phase.reducer.max_weight};
  if (run.privacy.distributed()) budget.noise = NoiseRoom(run, phase, budget.max_contributions);
  if (budget.bits == 0 && run.privacy.distributed()) {
    ASSIGN_OR_RETURN(budget.bits, privacy::AutomaticBits(budget, GoodLevel(run.privacy.values)));
  } else if (budget.bits == 0) {
    ASSIGN_OR_RETURN(budget.bits, privacy::AutomaticBits(budget));
  }
  RETURN_IF_ERROR(privacy::LargestLevel(budget).status());
  return budget;
}

Result<SecureSum> SecureSumOf(const RunSpec& run, const SecureSumSpec& spec) {
  const PhaseSpec& phase = run.PhaseAt(spec.round);
  ASSIGN_OR_RETURN(const privacy::RingBudget budget, RingBudgetOf(run, phase));
  privacy::SecureVectorSpec vector{spec.values, kSecureCounts, budget, spec.exponent};
  if (run.privacy.distributed()) {
    ASSIGN_OR_RETURN(const std::int64_t level, privacy::LargestLevel(budget));
    vector.exponent = privacy::ScaleExponent(level, run.privacy.clip);
  }
  if (run.secure.rotation) vector.rotation = RotationSeed(spec);
  ASSIGN_OR_RETURN(privacy::SecureVectorLayout layout, privacy::SecureVectorLayout::Make(vector));
  privacy::SessionConfig config;
  config.suite = run.secure.suite;
  config.run_id = spec.run_id;
  config.round = spec.round;
  config.attempt = spec.attempt;
  config.model = spec.model;
  config.payload = spec.payload;
  config.elements = layout.elements();
  config.budget = budget;
  config.exponent = vector.exponent;
  config.min_clients = FewestInSum(phase);
  config.max_corrupt = run.secure.max_corrupt;
  config.max_drop_out = run.secure.max_drop_out;
  config.threat = run.secure.threat;
  return SecureSum{std::move(config), std::move(layout)};
}

Result<privacy::ClientNoise> ClientNoiseOf(const RunSpec& run, const privacy::SessionConfig& config,
                                           std::uint32_t clients) {
  ASSIGN_OR_RETURN(privacy::ClipGroups groups, UpdateClipGroups(run, config.round));
  return privacy::ClientNoise{run.privacy.clip, run.privacy.noise_multiplier, config.HonestOf(clients),
                              std::move(groups)};
}

Result<std::uint64_t> LongestSecureVector(const RunSpec& run, std::uint64_t values) {
  std::uint64_t longest = 0;
  SecureSumSpec spec;
  spec.round = 1;
  spec.values = values;
  for (const PhaseSpec& phase : run.schedule) {
    ASSIGN_OR_RETURN(const SecureSum sum, SecureSumOf(run, spec));
    longest = std::max(longest, sum.layout.packed_bytes());
    spec.round += phase.rounds;
  }
  return longest;
}

Status CheckPolicy(const RunSpec& run, const privacy::ClientPolicy& policy) {
  SecureSumSpec spec;
  spec.round = 1;
  spec.values = 1;
  for (const PhaseSpec& phase : run.schedule) {
    ASSIGN_OR_RETURN(const SecureSum sum, SecureSumOf(run, spec));
    RETURN_IF_ERROR(policy.Check(sum.config));
    const auto most = static_cast<std::uint32_t>(sum.config.budget.max_contributions);
    ASSIGN_OR_RETURN(const privacy::GraphParameters graph, privacy::FindGraphParameters(sum.config.CohortOf(most)));
    if (graph.threshold < policy.min_threshold) {
      return FailedPrecondition("secure aggregation: secrets take " + std::to_string(graph.threshold) + " shares of " +
                                std::to_string(most) + " clients, this client's policy wants " +
                                std::to_string(policy.min_threshold));
    }
    spec.round += phase.rounds;
  }
  return OkStatus();
}

Result<privacy::CheckCertificate> LoadEnrolmentRoots(const std::string& file, privacy::Suite suite) {
  if (file.empty()) return privacy::CheckCertificate();
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(file, privacy::kMaxPemBytes));
  Result<privacy::EnrolmentRoots> roots = privacy::EnrolmentRoots::FromPem(pem);
  if (!roots.ok()) return roots.status().Annotate(file);
  return privacy::CheckCertificate(
      [roots = std::make_shared<const privacy::EnrolmentRoots>(*std::move(roots)), suite](
          std::string_view client, ByteSpan certificate) { return roots->Check(suite, client, certificate); });
}

std::string_view ThreatName(const SecureAggregationSpec& secure) {
  if (!secure.on) return "trusted";
  return secure.threat == privacy::Threat::kCurious ? "curious" : "semi_malicious";
}

}  // namespace fedpeft
