// A run's YAML and one `--set`: never a crash, and what loads prints as YAML that loads back to the same run, and
// translates. The input is the file, a zero byte, and the override.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "configs/loader.h"
#include "configs/print.h"
#include "configs/run.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t zero = input.find('\0');
  std::vector<std::string> overrides;
  if (zero != std::string_view::npos) overrides.emplace_back(input.substr(zero + 1));
  const auto run = fedpeft::configs::LoadRunText(input.substr(0, zero), "run.yaml", overrides);
  if (!run.ok()) return 0;
  const auto again = fedpeft::configs::LoadRunText(fedpeft::configs::ToYaml(run->config), "printed.yaml");
  FEDPEFT_CHECK(again.ok());
  FEDPEFT_CHECK(fedpeft::configs::Difference(run->config, again->config).empty());
  FEDPEFT_CHECK(fedpeft::TranslateRun(run->config).ok());
  return 0;
}
