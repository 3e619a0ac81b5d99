// An answer from a hostile client, at each stage of an execution in turn: never a crash; and once the vectors are
// there, the others get their sum without it.
#include <cstdint>
#include <cstdlib>

#include "tests/privacy/secagg/scripted.h"

namespace {

using fedpeft::Instant;
using fedpeft::privacy::ServerSession;
using fedpeft::testing::NameOf;
using fedpeft::testing::ScriptedExecution;

/// The coordinator's side, and the time there.
struct Coordinator {
  std::unique_ptr<ServerSession> session;
  Instant now{};

  void Take(const fedpeft::privacy::SecureEvent& event) { session->Handle(now, event); }

  /// What clients from `first` on answered at that stage, as it was recorded.
  void Answers(const ScriptedExecution& script, std::size_t first, std::size_t at) {
    for (std::size_t i = first; i < ScriptedExecution::kClients; ++i) {
      if (at != ScriptedExecution::kUploadStep) {
        Take(fedpeft::privacy::SecureAnswered{NameOf(i), script.answer(i, at)});
      } else if (session->WantsUpload(NameOf(i))) {
        Take(fedpeft::privacy::SecureUploaded{NameOf(i)});
      }
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fedpeft;
  static const ScriptedExecution script;
  for (std::size_t stage = 0; stage < ScriptedExecution::kSteps; ++stage) {
    Coordinator coordinator{script.NewServer()};
    coordinator.Take(privacy::SecureTick{});
    for (std::size_t at = 0; at < stage; ++at) coordinator.Answers(script, 0, at);
    coordinator.Take(privacy::SecureAnswered{NameOf(0), Bytes(data, data + size)});
    if (stage <= ScriptedExecution::kUploadStep) continue;
    for (std::size_t at = stage; at < ScriptedExecution::kSteps; ++at) {
      const ServerSession::Stage before = coordinator.session->stage();
      coordinator.Answers(script, 1, at);
      if (coordinator.session->stage() != before) continue;
      coordinator.now = coordinator.session->Wakeup().value_or(coordinator.now);  // it waits for client 0
      coordinator.Take(privacy::SecureTick{});
    }
    if (coordinator.session->stage() != ServerSession::Stage::kFinished) std::abort();
  }
  return 0;
}
