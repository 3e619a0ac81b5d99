// What coordination costs: N virtual clients of one process join a running coordinator and answer every training task
// with zeros at once, until the run is finished. scripts/bench.sh starts the coordinator.
//
//   round_bench HOST:PORT [CLIENTS [OUT.json]]     prints seconds a round: median, 90th percentile, largest
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/transport.h"
#include "configs/run.h"
#include "configs/views.h"
#include "peft/core/clock.h"
#include "peft/core/files.h"
#include "proto/limits.h"
#include "proto/protocol.pb.h"
#include "proto/run_config.pb.h"

namespace fedpeft {
namespace {

std::string AsString(const Digest& digest) {
  return std::string(digest.begin(), digest.end());
}

/// One session of N virtual clients that answers every training task with zeros.
class ZeroClients {
 public:
  explicit ZeroClients(client::Transport& transport) : transport_(transport) {}

  Status Join(std::size_t clients) {
    ASSIGN_OR_RETURN(const v1::GetRunReply run, transport_.GetRun());
    v1::RunConfig config;
    if (!config.ParseFromString(run.run_config())) return DataLoss("the run configuration cannot be read");
    ASSIGN_OR_RETURN(const RunSpec spec, TranslateRun(config));
    ASSIGN_OR_RETURN(const auto layout, PlanLayout(spec.plan));
    ASSIGN_OR_RETURN(const RunViews views, RunViews::Make(spec.plan, spec.schedule, layout));
    const PayloadLayout payload = views.Update(1);
    run_id_ = run.run_id();
    payload_digest_ = AsString(payload.digest);
    zeros_.resize(payload.size * sizeof(float));
    zeros_digest_ = AsString(Sha256Of(zeros_));
    v1::JoinRequest request;
    request.set_protocol_version(kProtocolVersion);
    request.set_run_id(run_id_);
    request.set_name("bench");
    request.set_role(v1::ROLE_TRAINER);
    request.set_weights_sha256(AsString(spec.weights));
    request.set_tokenizer_sha256(AsString(spec.tokenizer));
    request.set_layout_sha256(AsString(layout->digest()));
    for (std::size_t i = 0; i < clients; ++i) request.add_examples(kExamples);
    ASSIGN_OR_RETURN(const v1::JoinReply reply, transport_.Join(request));
    session_ = reply.session();
    return OkStatus();
  }

  std::size_t update_bytes() const { return zeros_.size(); }

  /// Polls and answers until the run is finished. The instants of the rounds' ends are appended to `ends`.
  Status Work(std::vector<Instant>& ends) {
    v1::NextTaskRequest request;
    while (true) {
      request.set_session(session_);
      ASSIGN_OR_RETURN(const v1::NextTaskReply reply, transport_.NextTask(request));
      request.clear_received();
      for (const v1::Task& task : reply.tasks()) {
        *request.add_received() = task.key();
        if (task.has_closed()) ends.push_back(Clock::System().Now());
        if (task.has_finished()) return Leave();
        if (task.has_train()) RETURN_IF_ERROR(Answer(task));
      }
    }
  }

 private:
  Status Leave() {
    v1::LeaveRequest request;
    request.set_session(session_);
    transport_.Leave(request);
    return OkStatus();
  }

  Status Answer(const v1::Task& task) {
    const v1::BlobRef& params = task.train().params();
    if (params.sha256() != fetched_) {
      Digest digest{};
      std::copy(params.sha256().begin(), params.sha256().end(), digest.begin());
      RETURN_IF_ERROR(transport_.Fetch(session_, digest, params.length()).status());
      fetched_ = params.sha256();
    }
    v1::UploadManifest manifest;
    manifest.set_run_id(run_id_);
    *manifest.mutable_key() = task.key();
    manifest.set_length(zeros_.size());
    manifest.set_sha256(zeros_digest_);
    manifest.set_payload_sha256(payload_digest_);
    manifest.set_base_sha256(params.sha256());
    manifest.mutable_stats()->set_examples(kExamples);
    return transport_.Upload(session_, manifest, zeros_).status();
  }

  static constexpr std::uint64_t kExamples = 100;

  client::Transport& transport_;
  std::string run_id_;
  std::string payload_digest_;
  Bytes zeros_;
  std::string zeros_digest_;
  std::string session_;
  std::string fetched_;
};

/// To the standard output, and as JSON to the file, unless that is empty.
Status Report(std::vector<Instant> ends, std::size_t clients, std::uint64_t payload, const std::string& out) {
  std::vector<double> seconds;
  for (std::size_t i = 1; i < ends.size(); ++i) seconds.push_back(ToSeconds(ends[i] - ends[i - 1]));
  std::sort(seconds.begin(), seconds.end());
  if (seconds.empty()) return OkStatus();
  const double median = 1e3 * seconds[seconds.size() / 2], most = 1e3 * seconds[seconds.size() * 9 / 10];
  std::printf("%zu clients, %llu bytes an update, %zu rounds: median %.1f ms, 90 %% %.1f ms, largest %.1f ms\n",
              clients, static_cast<unsigned long long>(payload), seconds.size(), median, most, 1e3 * seconds.back());
  if (out.empty()) return OkStatus();
  const nlohmann::ordered_json json = {{"clients", clients},       {"update_bytes", payload},
                                       {"rounds", seconds.size()}, {"median_ms", median},
                                       {"90_percent_ms", most},    {"largest_ms", 1e3 * seconds.back()}};
  return WriteFileAtomically(out, AsBytes(json.dump()));
}

Status Run(const std::string& server, std::size_t clients, const std::string& out) {
  client::ConnectOptions connect;
  connect.server = server;
  ASSIGN_OR_RETURN(const auto transport, client::Transport::Make(connect));
  ZeroClients zero(*transport);
  std::vector<Instant> ends;
  RETURN_IF_ERROR(zero.Join(clients));
  RETURN_IF_ERROR(zero.Work(ends));
  return Report(std::move(ends), clients, zero.update_bytes(), out);
}

}  // namespace
}  // namespace fedpeft

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: round_bench HOST:PORT [CLIENTS=10 [OUT.json]]\n");
    return 2;
  }
  const fedpeft::Status status =
      fedpeft::Run(argv[1], argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 10, argc > 3 ? argv[3] : "");
  if (!status.ok()) std::fprintf(stderr, "round_bench: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
