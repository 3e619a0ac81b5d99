// An answer from a hostile client, at the stage that the first byte chooses: never a crash. With that byte's highest
// bit the others go on to the end without it.
#include <cstdint>
#include <cstdlib>

#include "tests/privacy/secagg/scripted.h"

namespace {

using fedpeft::testing::ScriptedExecution;

/// Client i's answer at that stage, as it was recorded.
void Answer(const ScriptedExecution& script, fedpeft::privacy::ServerSession& server, std::size_t i, std::size_t at) {
  const std::string name = fedpeft::testing::NameOf(i);
  if (at != ScriptedExecution::kUploadStep) {
    server.Handle({}, fedpeft::privacy::SecureAnswered{name, script.answer(i, at)});
  } else if (server.WantsUpload(name)) {
    server.Handle({}, fedpeft::privacy::SecureUploaded{name});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fedpeft;
  static const ScriptedExecution script;
  if (size == 0) return 0;
  const std::size_t stage = data[0] % ScriptedExecution::kSteps;
  const auto server = script.NewServer();
  server->Handle({}, privacy::SecureTick{});
  for (std::size_t at = 0; at < stage; ++at) {
    for (std::size_t i = 0; i < ScriptedExecution::kClients; ++i) Answer(script, *server, i, at);
  }
  server->Handle({}, privacy::SecureAnswered{testing::NameOf(0), Bytes(data + 1, data + size)});
  if (data[0] < 0x80) return 0;
  for (std::size_t at = stage; at < ScriptedExecution::kSteps; ++at) {
    for (std::size_t i = 1; i < ScriptedExecution::kClients; ++i) Answer(script, *server, i, at);
  }
  return 0;
}
