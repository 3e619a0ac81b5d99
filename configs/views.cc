#include "configs/views.h"

#include <algorithm>
#include <string>

namespace fedpeft {

Result<RunViews> RunViews::Make(const PeftPlan& plan, const std::vector<PhaseSpec>& schedule,
                                std::shared_ptr<const ParamLayout> layout) {
  RunViews out;
  out.shared_.assign(layout->tensors().size(), false);
  out.personal_ = out.shared_;
  for (const TensorSpec& spec : layout->tensors()) {
    out.masks_.push_back(spec.role == Role::kRankMask);
    out.scores_.push_back(spec.role == Role::kRankScore);
  }
  out.layout_ = std::move(layout);
  std::uint32_t first = 1;
  const std::vector<PhaseSpec> phases = schedule.empty() ? std::vector<PhaseSpec>(1) : schedule;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    ASSIGN_OR_RETURN(Phase phase, out.MakePhase(plan, phases[i], first, "schedule." + std::to_string(i) + ".views."));
    out.phases_.push_back(std::move(phase));
    first += phases[i].rounds;
  }
  return out;
}

Result<RunViews::Phase> RunViews::MakePhase(const PeftPlan& plan, const PhaseSpec& spec, std::uint32_t first,
                                            const std::string& key) {
  Phase phase{first, spec.reducer.max_abs, {}};
  const std::size_t views = std::max<std::size_t>(1, spec.views.size());
  for (std::size_t j = 0; j < views; ++j) {
    const Result<ViewSpec> view = PlanView(plan, *layout_, ViewAt(spec, static_cast<std::uint32_t>(j)));
    if (!view.ok()) return Status(view.status().code(), key + std::to_string(j) + "." + view.status().message());
    const bool comes = j < std::max(spec.rounds, 1u);
    for (std::size_t t = 0; comes && t < view->train.size(); ++t) {
      if (view->share[t]) shared_[t] = true;
      if (view->train[t] && !view->share[t]) personal_[t] = true;
    }
    phase.views.push_back(*view);
  }
  return phase;
}

const RunViews::Phase& RunViews::PhaseOf(std::uint32_t round) const {
  const auto after = std::find_if(phases_.begin() + 1, phases_.end(), [&](const Phase& p) { return p.first > round; });
  return *(after - 1);
}

const ViewSpec& RunViews::At(std::uint32_t round) const {
  const Phase& phase = PhaseOf(round);
  const std::uint32_t index = std::max(round, 1u) - phase.first;
  return phase.views[index % phase.views.size()];
}

PayloadLayout RunViews::Update(std::uint32_t round, const KeptRanks& kept) const {
  std::vector<bool> travels = At(round).share;
  for (std::size_t i = 0; i < travels.size(); ++i) travels[i] = travels[i] || scores_[i];
  return DensePayload(*layout_, travels, PhaseOf(round).max_abs, kept);
}

PayloadLayout RunViews::Masks() const {
  return DensePayload(*layout_, masks_, /*max_abs=*/1);
}

PayloadLayout RunViews::Broadcast(const KeptRanks& kept) const {
  return DensePayload(*layout_, shared_, phases_.front().max_abs, kept);
}

std::uint64_t RunViews::max_update_bytes() const {
  std::uint64_t most = 0;
  for (const Phase& phase : phases_) {
    for (std::uint32_t i = 0; i < phase.views.size(); ++i) {
      most = std::max<std::uint64_t>(most, Update(phase.first + i).size * sizeof(float));
    }
  }
  return most;
}

bool RunViews::all_shared() const {
  return std::find(shared_.begin(), shared_.end(), false) == shared_.end();
}

bool RunViews::any_personal() const {
  return std::find(personal_.begin(), personal_.end(), true) != personal_.end();
}

}  // namespace fedpeft
