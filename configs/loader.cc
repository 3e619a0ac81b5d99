#include "configs/loader.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "configs/overrides.h"
#include "configs/reader.h"
#include "configs/validate.h"
#include "configs/yaml_tree.h"
#include "peft/core/files.h"

namespace fedpeft::configs {

namespace {

/// Whether `path` is `top` or a key below it.
bool IsWithin(const std::string& path, const std::string& top) {
  return path.starts_with(top) && (path.size() == top.size() || (!top.empty() && path[top.size()] == '.'));
}

/// Adds what Validate says, with places. What lies on the path of a key that was refused when it was read is not judged
/// again.
void AddValidation(const v1::RunConfig& config, const Places& places, std::vector<Finding>* findings) {
  const std::size_t read = findings->size();
  for (Finding& finding : Validate(config)) {
    const auto refused = [&](const Finding& earlier) {
      return IsWithin(finding.path, earlier.path) || IsWithin(earlier.path, finding.path);
    };
    if (std::any_of(findings->begin(), findings->begin() + static_cast<std::ptrdiff_t>(read), refused)) continue;
    finding.place = FindPlace(places, finding.path);
    findings->push_back(std::move(finding));
  }
}

/// In the order of the file, then of the `--set`s.
void Sort(std::vector<Finding>* findings) {
  std::stable_sort(findings->begin(), findings->end(), [](const Finding& a, const Finding& b) {
    return std::tie(a.place.set, a.place.line, a.place.column) < std::tie(b.place.set, b.place.line, b.place.column);
  });
}

}  // namespace

Result<LoadedRun> LoadRunText(std::string_view text, std::string_view file, const std::vector<std::string>& overrides) {
  std::vector<Finding> findings;
  YamlNode root = ParseYaml(text, &findings);
  // Without a tree there is nothing more to say.
  if (root.kind == YamlNode::Kind::kBad) return ToStatus(file, findings);
  for (std::size_t i = 0; i < overrides.size(); ++i) {
    ApplyOverride(overrides[i], static_cast<int>(i + 1), &root, &findings);
  }
  LoadedRun run;
  ReadTree(root, &run.config, &run.places, &findings);
  FillDefaults(run.places, &run.config);
  AddValidation(run.config, run.places, &findings);
  if (findings.empty()) return run;
  Sort(&findings);
  return ToStatus(file, findings);
}

Result<LoadedRun> LoadRun(const std::string& path, const std::vector<std::string>& overrides) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxYamlBytes));
  return LoadRunText(text, path, overrides);
}

}  // namespace fedpeft::configs
