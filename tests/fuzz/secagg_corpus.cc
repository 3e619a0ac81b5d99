// Where the fuzz programs of secure aggregation start: the messages of an honest execution.
// Usage: secagg_corpus CLIENT_FOLDER SERVER_FOLDER
#include <filesystem>
#include <fstream>
#include <iostream>

#include "tests/privacy/secagg/scripted.h"

int main(int argc, char** argv) {
  using namespace fedpeft;
  using testing::ScriptedExecution;
  if (argc != 3) {
    std::cerr << "usage: secagg_corpus CLIENT_FOLDER SERVER_FOLDER\n";
    return 2;
  }
  const std::filesystem::path client(argv[1]), server(argv[2]);
  std::filesystem::create_directories(client);
  std::filesystem::create_directories(server);
  const ScriptedExecution script;
  const auto write = [](const std::filesystem::path& path, ByteSpan message) {
    std::ofstream(path, std::ios::binary) << AsText(message);
  };
  for (std::size_t at = 0; at < ScriptedExecution::kSteps; ++at) {
    write(client / std::to_string(at), script.step(at));
    if (at != ScriptedExecution::kUploadStep) write(server / std::to_string(at), script.answer(0, at));
  }
  return 0;
}
