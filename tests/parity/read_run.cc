#include "tests/parity/read_run.h"

#include "configs/loader.h"

namespace fedpeft {

Result<RunSpec> ReadRunSpec(const std::string& path) {
  ASSIGN_OR_RETURN(const configs::LoadedRun loaded, configs::LoadRun(path, {}));
  return TranslateRun(loaded.config);
}

}  // namespace fedpeft
