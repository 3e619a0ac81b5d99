// A step from a hostile coordinator, at each stage of an execution in turn: never a crash. The honest steps follow:
// what was refused is refused for good.
#include <cstdint>
#include <cstdlib>

#include "tests/privacy/secagg/scripted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace fedpeft;
  static const testing::ScriptedExecution script;
  for (std::size_t stage = 0; stage < testing::ScriptedExecution::kSteps; ++stage) {
    const testing::ScriptedExecution::Player player = script.NewPlayer(0);
    const auto take = [&](ByteSpan step) {
      const bool taken = player.session->Handle(step).ok();
      if (player.session->masking()) player.session->Masked();
      return taken;
    };
    for (std::size_t at = 0; at < stage; ++at) {
      if (!take(script.step(at))) std::abort();
    }
    const bool taken = take({data, size});
    for (std::size_t at = stage; at < testing::ScriptedExecution::kSteps; ++at) {
      if (take(script.step(at)) && !taken) std::abort();
    }
  }
  return 0;
}
