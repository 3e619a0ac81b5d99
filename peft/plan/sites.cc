#include "peft/plan/sites.h"

#include <algorithm>

#include "peft/plan/architecture.h"

namespace fedpeft {

namespace {

const Architecture& Of(const BaseShape& shape) {
  const Result<const Architecture*> found = FindArchitecture(shape.model_type);
  FEDPEFT_CHECK(found.ok());  // the precondition of every function here
  return **found;
}

}  // namespace

BaseSites SitesOf(const BaseShape& shape) {
  BaseSites sites;
  const Architecture& architecture = Of(shape);
  architecture.sites(shape, sites);
  if (architecture.predicts_next_token && !shape.tie_word_embeddings) {
    sites.language_head = TableSite{"lm_head", shape.vocab_size, shape.hidden_size};
  }
  return sites;
}

std::vector<Site> LinearSites(const BaseShape& shape) {
  return SitesOf(shape).linears;
}

std::vector<HeadLayer> HeadLayers(const BaseShape& shape, std::int64_t labels) {
  return Of(shape).head(shape, labels);
}

bool PredictsNextToken(const BaseShape& shape) {
  const Result<const Architecture*> architecture = FindArchitecture(shape.model_type);
  return architecture.ok() && (*architecture)->predicts_next_token;
}

std::vector<std::string> HeadModules(const BaseShape& shape) {
  std::vector<std::string> modules;
  for (const HeadLayer& layer : HeadLayers(shape, /*labels=*/1)) {
    std::string module = layer.path.substr(0, layer.path.find('.'));
    if (std::find(modules.begin(), modules.end(), module) == modules.end()) modules.push_back(std::move(module));
  }
  return modules;
}

std::vector<std::string> DefaultTargets(const BaseShape& shape) {
  const auto& targets = Of(shape).default_targets;
  return {targets.begin(), targets.end()};
}

std::vector<std::string> DefaultIa3Targets(const BaseShape& shape) {
  const auto& targets = Of(shape).ia3_targets;
  return {targets.begin(), targets.end()};
}

std::vector<std::string> DefaultIa3FeedForward(const BaseShape& shape) {
  return {std::string(Of(shape).ia3_targets.back())};
}

}  // namespace fedpeft
