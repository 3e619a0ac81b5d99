// A step from a hostile coordinator, at the stage that the first byte chooses: never a crash. With that byte's highest
// bit the honest steps follow: what was refused is refused for good.
#include <cstdint>
#include <cstdlib>

#include "tests/privacy/secagg/scripted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fedpeft;
  static const testing::ScriptedExecution script;
  if (size == 0) return 0;
  const std::size_t stage = data[0] % testing::ScriptedExecution::kSteps;
  const ByteSpan message(data + 1, size - 1);
  const testing::ScriptedExecution::Player player = script.NewPlayer(0);
  for (std::size_t at = 0; at < stage; ++at) {
    if (!player.session->Handle(script.step(at)).ok()) std::abort();
    if (player.session->masking()) player.session->Masked();
  }
  const bool taken = player.session->Handle(message).ok();
  if (data[0] < 0x80) return 0;
  for (std::size_t at = stage; at < testing::ScriptedExecution::kSteps; ++at) {
    if (player.session->Handle(script.step(at)).ok() && !taken) std::abort();
    if (player.session->masking()) player.session->Masked();
  }
  return 0;
}
