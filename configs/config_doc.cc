// fedpeft_config_doc README.md: writes the tables of keys into the file. Run it after the schema changed; a test holds
// the two equal.
#include <cstdint>
#include <cstdio>
#include <string>

#include "configs/key_table.h"
#include "peft/core/files.h"

namespace {

fedpeft::Status Update(const std::string& path) {
  constexpr std::uint64_t kMaxReadmeBytes = 1 << 20;
  ASSIGN_OR_RETURN(const std::string readme, fedpeft::ReadFile(path, kMaxReadmeBytes));
  ASSIGN_OR_RETURN(const std::string updated, fedpeft::configs::WithKeyTables(readme));
  return fedpeft::WriteFileAtomically(path, fedpeft::AsBytes(updated));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: fedpeft_config_doc configs/README.md\n", stderr);
    return 2;
  }
  const fedpeft::Status status = Update(argv[1]);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.message().c_str());
  return 1;
}
