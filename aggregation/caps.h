// What a choice of this folder can and cannot do, declared by the choice itself. The one checker that refuses
// meaningless runs (secure aggregation with a rule that must see individuals, central privacy with weights that depend
// on data) reads these and nothing else.
#pragma once

namespace fedpeft::aggregation {

/// What the coordinator must see of the clients' updates.
enum class Needs { kSum, kIndividuals };

/// Where a server optimiser keeps state: nowhere, or one value per payload value. State that follows the payload's
/// coordinates is meaningless after a redistribution that changes their basis.
enum class StateSpace { kNone, kPayload };

struct Caps {
  Needs needs = Needs::kSum;
  /// Weights that depend on the clients' data (their numbers of examples) are in use.
  bool data_dependent_weights = false;
  StateSpace state_space = StateSpace::kNone;
};

}  // namespace fedpeft::aggregation
