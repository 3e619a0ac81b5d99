// `fedpeft-client join`: agree on the run, load base and data, then live as a Session.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/backoff.h"
#include "client/base.h"
#include "client/commands.h"
#include "client/compute.h"
#include "client/dataset.h"
#include "client/local_runner.h"
#include "client/own_privacy.h"
#include "client/secure_clients.h"
#include "client/session.h"
#include "client/signals.h"
#include "client/update_store.h"
#include "configs/loader.h"
#include "configs/policy.h"
#include "configs/print.h"
#include "configs/privacy.h"
#include "configs/secure.h"
#include "peft/core/files.h"
#include "peft/core/log.h"
#include "peft/plan/prompt_start.h"
#include "privacy/crypto/certificate.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"
#include "proto/run_config.pb.h"

namespace fedpeft::client {

namespace {

struct AgreedRun {
  std::string id;
  RunSpec spec;
};

constexpr std::size_t kMostDifferences = 20;

/// The run that this client's people agreed to.
struct Agreement {
  std::string path;
  v1::RunConfig config;
};

Result<std::optional<Agreement>> ReadAgreement(const std::string& path) {
  if (path.empty()) return std::optional<Agreement>();
  ASSIGN_OR_RETURN(configs::LoadedRun loaded, configs::LoadRun(path));
  return std::optional(Agreement{path, std::move(loaded.config)});
}

Status CheckAgreement(const Agreement& agreement, const v1::RunConfig& offered) {
  const std::vector<std::string> differences = configs::Difference(agreement.config, offered);
  if (differences.empty()) return OkStatus();
  std::string text = "coordinator: its run is not that of " + agreement.path + " (agree on one, and join again):";
  const std::size_t shown = std::min(differences.size(), kMostDifferences);
  for (std::size_t i = 0; i < shown; ++i) text.append("\n  ").append(differences[i]);
  if (shown < differences.size()) text.append("\n  and " + std::to_string(differences.size() - shown) + " more");
  return FailedPrecondition(std::move(text));
}

Result<AgreedRun> ReadRun(const v1::GetRunReply& reply, const std::optional<Agreement>& agreement) {
  if (reply.protocol_version() != kProtocolVersion) {
    return FailedPrecondition("coordinator: speaks protocol version " + std::to_string(reply.protocol_version()) +
                              ", this client " + std::to_string(kProtocolVersion) + " (install the same release)");
  }
  RETURN_IF_ERROR(CheckRunId(reply.run_id()));
  v1::RunConfig config;
  if (!config.ParseFromString(reply.run_config())) return DataLoss("coordinator: its run configuration cannot be read");
  ASSIGN_OR_RETURN(RunSpec spec, TranslateRun(config));
  if (agreement) RETURN_IF_ERROR(CheckAgreement(*agreement, config));
  return AgreedRun{reply.run_id(), std::move(spec)};
}

Status Stopped() {
  return Cancelled("stopped");
}

/// Asks until the coordinator answers, so that clients may be started first.
Result<AgreedRun> AskRun(Transport& transport, const std::optional<Agreement>& agreement, double max_wait_s,
                         const std::stop_token& stop) {
  const std::stop_callback on_stop(stop, [&] { transport.Stop(); });
  Backoff backoff;
  Patience patience(max_wait_s);
  while (true) {
    const Result<v1::GetRunReply> reply = transport.GetRun();
    if (reply.ok()) return ReadRun(*reply, agreement);
    const Code code = reply.status().code();
    const bool passing = code == Code::kUnavailable || code == Code::kDeadlineExceeded || code == Code::kCancelled;
    if (!passing) return reply.status();
    if (backoff.tries() == 0) LogWarning("coordinator.unreachable", {{"reason", reply.status().message()}});
    if (patience.EndsWithFailureAt(Clock::System().Now())) return reply.status();
    if (!WaitUnlessStopped(stop, backoff.Next())) return Stopped();
  }
}

Result<std::unique_ptr<LocalRunner>> MakeRunner(const JoinOptions& options, const BaseInfo& base, RunSpec& run,
                                                const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const PartitionSpec partition, ParsePartition(options.partition));
  ASSIGN_OR_RETURN(const Table table, ReadRunTable(options.data, run.problem));
  DealtTables tables{table, std::nullopt};
  if (!options.eval_data.empty()) {
    ASSIGN_OR_RETURN(tables.held_out, ReadRunTable(options.eval_data, run.problem));
  }
  const std::size_t clients = std::max<std::size_t>(1, options.virtual_clients);
  if (stop.stop_requested()) return Stopped();
  ASSIGN_OR_RETURN(const ClientRange range, ParseClientRange(options.client_range, clients));
  ASSIGN_OR_RETURN(DealtExamples data, DealExamples(run, base.tokenizer, tables, partition, clients, range));
  if (stop.stop_requested()) return Stopped();
  ASSIGN_OR_RETURN(auto model, LoadRunBase(base, run));
  return LocalRunner::Make(run, std::move(model), std::move(data.data), std::move(data.held_out));
}

/// With a certificate the coordinator reads the name there, and from then on this client insists on it, or on --name:
/// its ledger is that name's. A made-up one would be refused.
Result<std::string> NameToClaim(const JoinOptions& options, UpdateStore& updates) {
  if (!options.connect.tls_cert.empty()) return options.name.empty() ? updates.KnownName() : options.name;
  return updates.Name(options.name);
}

/// Without a policy nothing is insisted on but what every client does.
Result<Policy> ReadPolicy(const std::string& path) {
  if (!path.empty()) return LoadPolicy(path);
  Policy policy;
  policy.secure.semi_malicious = false;
  return policy;
}

Status ReadIdentity(const JoinOptions& options, SecureClients::Setup& setup) {
  if (options.enrolment_cert.empty()) return OkStatus();
  if (options.enrolment_key.empty()) return InvalidArgument("--enrolment-key: is missing beside --enrolment-cert");
  ASSIGN_OR_RETURN(const std::string certificate, ReadFile(options.enrolment_cert, privacy::kMaxPemBytes));
  ASSIGN_OR_RETURN(setup.identity_certificate, privacy::CertificateFromPem(certificate));
  ASSIGN_OR_RETURN(std::string pem, ReadFile(options.enrolment_key, privacy::kMaxPemBytes));
  Result<privacy::SigningKey> key = privacy::SigningKey::FromPem(setup.run.secure.suite, pem);
  privacy::Wipe({reinterpret_cast<std::uint8_t*>(pem.data()), pem.size()});
  if (!key.ok()) return key.status().Annotate(options.enrolment_key);
  setup.identity_key = std::make_shared<const privacy::SigningKey>(*std::move(key));
  return OkStatus();
}

/// That the others will take this client's certificate for its own, as far as that shows here.
Status CheckIdentity(const SecureClients::Setup& setup, const JoinOptions& options, const std::string& name) {
  if (!setup.identity_key) return OkStatus();
  if (options.virtual_clients > 1) {
    return InvalidArgument("--virtual-clients: got " + std::to_string(options.virtual_clients) +
                           " with --enrolment-cert, want none: a certificate names one client");
  }
  if (!setup.check || name.empty()) return OkStatus();
  Result<privacy::VerifyingKey> own = setup.check(name, setup.identity_certificate);
  if (!own.ok()) return own.status().Annotate(options.enrolment_cert);
  const Bytes message(32, std::uint8_t{1});
  return own->Verify(message, setup.identity_key->Sign(message)).Annotate("--enrolment-key: is not the certificate's");
}

/// What the clients of this process do under secure aggregation; nothing in a run without it. `name`: the client's,
/// where it is known before it joins.
Result<std::unique_ptr<SecureClients>> MakeSecureClients(const JoinOptions& options, const AgreedRun& agreed,
                                                         const Policy& policy, const std::string& name,
                                                         UpdateStore& updates) {
  if (agreed.spec.privacy.on() && !options.eval_data.empty()) {
    return InvalidArgument(
        "--eval-data: got some, want none in a run with differential privacy: what a trainer's evaluation tells has no "
        "noise");
  }
  if (!agreed.spec.secure.on) {
    if (options.enrolment_cert.empty()) return std::unique_ptr<SecureClients>();
    return InvalidArgument("--enrolment-cert: got one, want none: the run has no secure aggregation");
  }
  if (!options.eval_data.empty()) {
    return InvalidArgument(
        "--eval-data: got some, want none in a run with secure aggregation: the coordinator would be told this "
        "client's own metrics beside the sum (let an evaluator join)");
  }
  SecureClients::Setup setup;
  setup.run = agreed.spec;
  setup.run_id = agreed.id;
  setup.policy = policy.secure;
  RETURN_IF_ERROR(ReadIdentity(options, setup));
  const bool insists = !policy.enrolment_roots.empty() && !options.evaluator;
  if (insists && options.enrolment_cert.empty()) {
    return InvalidArgument("--enrolment-cert: is missing, want one: this client's policy has enrolment_roots");
  }
  ASSIGN_OR_RETURN(setup.check, LoadEnrolmentRoots(policy.enrolment_roots, agreed.spec.secure.suite));
  RETURN_IF_ERROR(CheckIdentity(setup, options, name));
  if (options.state.empty() && !options.evaluator) {
    LogWarning("unmasked.not_kept",
               {{"reason", "without --state this client forgets with the process which sums it has unmasked"}});
  }
  return std::make_unique<SecureClients>(std::move(setup), updates);
}

/// What the clients of this process do where each hides itself; nothing in a run where they do not.
Result<std::optional<OwnPrivacy>> MakeOwnPrivacy(const JoinOptions& options, const AgreedRun& agreed,
                                                 const Policy& policy, const UpdateStore& updates) {
  if (!agreed.spec.privacy.own() || options.evaluator) return std::optional<OwnPrivacy>();
  if (options.state.empty() && policy.max_epsilon) {
    return InvalidArgument(
        "--state: is missing, want a folder: this client's policy has max_epsilon, and what its "
        "trainings cost would be forgotten with the process");
  }
  if (options.state.empty()) {
    LogWarning("ledger.not_kept",
               {{"reason", "without --state this client forgets with the process what its updates have told of it"}});
  }
  ASSIGN_OR_RETURN(OwnPrivacy own, OwnPrivacy::Make({agreed.spec, agreed.id, policy.max_epsilon}, updates));
  return std::optional(std::move(own));
}

/// Errors: also kCancelled after `stop`, at the end of the file that is being loaded.
Status Join(const JoinOptions& options, const std::stop_token& stop) {
  if (options.evaluator && !options.eval_data.empty()) {
    return InvalidArgument("--eval-data: got some of an evaluator, which evaluates on its --data (leave one out)");
  }
  ASSIGN_OR_RETURN(UpdateStore updates, UpdateStore::Open(options.state));
  ASSIGN_OR_RETURN(const std::string name, NameToClaim(options, updates));
  ASSIGN_OR_RETURN(const std::optional<Agreement> agreement, ReadAgreement(options.run_yaml));
  ASSIGN_OR_RETURN(const Policy policy, ReadPolicy(options.policy));
  ASSIGN_OR_RETURN(const BaseInfo base, OpenBase(options.compute.base));
  ASSIGN_OR_RETURN(const auto transport, Transport::Make(options.connect));
  ASSIGN_OR_RETURN(AgreedRun agreed, AskRun(*transport, agreement, options.max_wait_s, stop));
  if (agreed.spec.privacy.distributed()) RETURN_IF_ERROR(ResolveNoise(agreed.spec));
  RETURN_IF_ERROR(policy.Check(agreed.spec).Annotate("coordinator"));
  ASSIGN_OR_RETURN(const auto secure, MakeSecureClients(options, agreed, policy, name, updates));
  ASSIGN_OR_RETURN(std::optional<OwnPrivacy> own, MakeOwnPrivacy(options, agreed, policy, updates));
  RETURN_IF_ERROR(CheckBaseIsRuns(base, agreed.spec));
  RETURN_IF_ERROR(ResolvePrompt(base.tokenizer, agreed.spec.plan));
  UseThreads(options.compute.threads);
  ASSIGN_OR_RETURN(const auto runner, MakeRunner(options, base, agreed.spec, stop));
  runner->KeepActivations(options.compute.activations_mib << 20);

  if (runner->keeps_personal() && !options.state.empty()) {
    runner->WritePersonalTo({options.state, agreed.id, options.compute.base});
  } else if (runner->keeps_personal()) {
    LogWarning("personal.not_kept",
               {{"reason", "without --state this client's own parts of the model end with the process"}});
  }

  if (agreed.spec.privacy.correlated() && options.state.empty() && !options.evaluator) {
    LogWarning(
        "sent.not_kept",
        {{"reason", "without --state this client forgets with the process which rounds it has sent updates in"}});
  }

  SessionOptions session_options;
  session_options.run_id = agreed.id;
  session_options.name = name;
  session_options.software = std::string("fedpeft-client, base in ") + NameOf(DtypeOf(agreed.spec));
  session_options.evaluator = options.evaluator;
  session_options.weights = base.weights;
  session_options.tokenizer = base.tokenizer.hash();
  session_options.max_wait_s = options.max_wait_s;
  session_options.guards = {secure.get(), own ? &*own : nullptr, agreed.spec.privacy.min_separation};
  Session session(*transport, *runner, updates, std::move(session_options));
  const Status outcome = session.Run(stop);
  if (outcome.ok()) updates.Clear();
  return outcome;
}

}  // namespace

Status RunJoin(const JoinOptions& options) {
  BlockStopSignals();
  std::stop_source stop;
  const StopOnSignal on_signal([&] { stop.request_stop(); });
  const Status outcome = Join(options, stop.get_token());
  // What fails after a stop does so because of it, or is of no interest any more.
  return !outcome.ok() && stop.stop_requested() ? Stopped() : outcome;
}

}  // namespace fedpeft::client
