#include <csignal>
#include <cstdio>
#include <ctime>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "configs/adapter.h"
#include "configs/loader.h"
#include "configs/run.h"
#include "configs/secure.h"
#include "peft/core/files.h"
#include "peft/core/log.h"
#include "server/cli.h"
#include "server/coordinator.h"
#include "server/progress.h"

namespace fedpeft::server {
namespace {

/// How often the end of the run and new rounds are looked for.
constexpr timespec kLook{.tv_sec = 0, .tv_nsec = 200'000'000};
/// How long clients have to fetch the news that the run is over.
constexpr double kFarewellSeconds = 10;

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

RunInfo InfoOf(const Coordinator& coordinator, const std::string& run_config) {
  const RunSpec& run = coordinator.run();
  RunInfo info;
  info.run_id = coordinator.run_id();
  info.run_config = run_config;
  info.run_config_sha256 = Sha256Of(AsBytes(run_config));
  info.base_name = run.base_name;
  info.weights = run.weights;
  info.tokenizer = run.tokenizer;
  info.layout = coordinator.layout_digest();
  info.max_update_bytes = coordinator.max_update_bytes();
  info.personal = coordinator.personal();
  info.reticent = run.reticent();
  info.trainers_evaluate = run.trainers_evaluate();
  info.max_clients = run.limits.max_clients;
  info.max_virtual_clients = run.limits.max_virtual_clients;
  info.upload_window_bytes = run.limits.upload_window_bytes;
  info.client_timeout_s = run.limits.client_timeout_s;
  return info;
}

void Print(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

/// Prints rounds until the run ends or a signal asks to stop; then ends both sides in order.
RunOutcome RunToTheEnd(Coordinator& coordinator, CoordinatorServer& server, const std::string& state) {
  Progress progress(state);
  std::future<RunOutcome> ended = std::async(std::launch::async, [&] { return coordinator.Wait(); });
  const sigset_t signals = StopSignals();
  while (ended.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    if (const int signal = sigtimedwait(&signals, nullptr, &kLook); signal > 0) {
      LogInfo("server.stopping", {{"signal", signal}});
      server.Drain();
      coordinator.Post(StopRequested{});
      break;
    }
    Print(progress.NewLines());
  }
  RunOutcome outcome = ended.get();
  Print(progress.NewLines());
  if (outcome.kind != RunOutcome::Kind::kStopped) {
    server.WaitUntilDelivered(Seconds(kFarewellSeconds));
    coordinator.Post(StopRequested{});
  }
  server.Shutdown();
  return outcome;
}

Result<RunOutcome> ServeRun(const ServeArgs& args) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(args.run.file, args.run.overrides));
  CoordinatorOptions options{
      .state_folder = args.state, .run_config = loaded.config.SerializeAsString(), .run = RunSpec()};
  ASSIGN_OR_RETURN(options.run, TranslateRun(loaded.config));
  if (!args.start.empty()) {
    options.start = [&args, run = options.run] { return StartFromAdapter(args.start, run, args.base); };
  }
  if (!args.enrolment_roots.empty() && !options.run.secure.on) {
    return InvalidArgument("--enrolment-roots: got a file, want none: the run has no secure aggregation");
  }
  ASSIGN_OR_RETURN(options.check_certificate, LoadEnrolmentRoots(args.enrolment_roots, options.run.secure.suite));
  const std::string run_config = options.run_config;
  ASSIGN_OR_RETURN(std::unique_ptr<Coordinator> coordinator, Coordinator::Open(std::move(options)));

  ServiceOptions service = args.service;
  service.spool_folder = JoinPath(args.state, "spool");
  const auto sink = [&posted_to = *coordinator](Event event) { posted_to.Post(std::move(event)); };
  ASSIGN_OR_RETURN(std::unique_ptr<CoordinatorServer> server,
                   CoordinatorServer::Start(service, InfoOf(*coordinator, run_config), sink));
  std::printf("serving run %s on port %d, state in %s\n", coordinator->run().name.c_str(), server->port(),
              args.state.c_str());
  std::fflush(stdout);
  coordinator->Start(server->outbox());
  RunOutcome outcome = RunToTheEnd(*coordinator, *server, args.state);
  // Its threads may still hold the outbox, so it goes first; the server is shut down and posts nothing any more.
  coordinator.reset();
  return outcome;
}

}  // namespace

int Serve(const ServeArgs& args) {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const Result<RunOutcome> outcome = ServeRun(args);
  if (!outcome.ok()) return Fail(outcome.status());
  switch (outcome->kind) {
    case RunOutcome::Kind::kFinished:
      std::printf("run finished: %s\n", outcome->reason.c_str());
      return 0;
    case RunOutcome::Kind::kStopped:
      std::printf("run stopped: %s (start again to go on)\n", outcome->reason.c_str());
      return 0;
    case RunOutcome::Kind::kFailed:
      break;
  }
  std::fprintf(stderr, "run failed: %s\n", outcome->reason.c_str());
  return 1;
}

}  // namespace fedpeft::server
