// A run small enough to do by hand: LoRA of rank 2 on one layer of width 4, three labels.
#pragma once

#include "configs/run.h"

namespace fedpeft::server::testing {

inline RunSpec SmallRun(std::uint32_t rounds = 3, std::uint32_t clients = 3) {
  RunSpec run;
  run.name = "small";
  run.seed = 7;
  run.problem.labels = {"a", "b", "c"};
  run.plan.base = {"bert", 4, 1, 2, 8, 16, 16};
  run.plan.method = LoraConfig{2, 4, 0, {"query"}};
  run.plan.labels = 3;
  run.train.learning_rate = 0.1;
  PhaseSpec phase;
  phase.rounds = rounds;
  phase.min_clients = clients;
  phase.deadline_s = 60;
  run.schedule = {phase};
  run.evaluation.every = 0;
  run.limits = {.max_clients = 100,
                .max_virtual_clients = 100,
                .upload_window_bytes = 1 << 20,
                .max_attempts = 5,
                .keep_rounds = 2,
                .client_timeout_s = 15};
  return run;
}

}  // namespace fedpeft::server::testing
