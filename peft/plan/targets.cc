#include "peft/plan/targets.h"

#include <algorithm>
#include <set>

#include "peft/io/adapter_tensors.h"

namespace fedpeft {

namespace {

/// The last path components, which is what people write as targets.
std::string KnownNames(const std::vector<Site>& sites) {
  std::set<std::string> names;
  for (const Site& site : sites) names.insert(site.path.substr(site.path.rfind('.') + 1));
  std::string text;
  for (const std::string& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

}  // namespace

bool MatchesAnyTarget(std::string_view path, const std::vector<std::string>& targets) {
  return std::any_of(targets.begin(), targets.end(), [&](const std::string& t) { return MatchesModule(path, t); });
}

Result<std::vector<Site>> SitesAt(const std::vector<std::string>& targets, const std::vector<Site>& sites,
                                  const std::string& key) {
  if (targets.size() == 1 && targets[0] == kAllLinear) return sites;
  for (const std::string& target : targets) {
    if (std::none_of(sites.begin(), sites.end(), [&](const Site& site) { return MatchesModule(site.path, target); })) {
      return InvalidArgument(key + ": \"" + target +
                             "\" matches no linear layer of the base (known names: " + KnownNames(sites) + ")");
    }
  }
  std::vector<Site> chosen;
  std::copy_if(sites.begin(), sites.end(), std::back_inserter(chosen),
               [&](const Site& site) { return MatchesAnyTarget(site.path, targets); });
  return chosen;
}

}  // namespace fedpeft
