#!/usr/bin/env bash
# Builds and runs the benchmarks: training and a simulation beside the peers, what coordination costs, the speed of
# kernels, sums and masks.
#
# Usage: scripts/bench.sh [--quick] [--only PART] [--rounds N] [CLIENTS...]
#   --quick      under three minutes: two rows of training, few turns and rounds, no simulation
#   --only PART  training, simulation, rounds, kernels or sums
#   --rounds N   rounds a measurement (default 50)
#   CLIENTS      cohort sizes (default: 10 100)
#
# training: tests/bench/training.py, side by side with transformers, peft, adapters and opacus; left out, and said so,
# without FEDPEFT_DATA. simulation: tests/bench/simulation.py, beside Flower's; needs it too. rounds: for each cohort size
# a coordinator runs on loopback with a state folder of its own (SQLite commits included), one process answers for all
# clients without training, and the time a round and the coordinator's peak memory are printed. All results of a run are also in build/bench/summary.json. Leave the machine alone meanwhile.
#
# Environment: FEDPEFT_DATA, FEDPEFT_LIBTORCH, FEDPEFT_BASE as for scripts/test.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly OUT=$ROOT/build/bench
ROUNDS=50
COHORTS=()
QUICK=false
ONLY=

parse_arguments() {
  while (($#)); do
    case $1 in
      --rounds)
        option_value "$1" $#
        want_count "$1" "$2"
        ROUNDS=$2
        shift
        ;;
      --quick) QUICK=true ROUNDS=20 ;;
      --only)
        option_value "$1" $#
        ONLY=$2
        [[ $ONLY =~ ^(training|simulation|rounds|kernels|sums)$ ]] ||
          die "--only: got $ONLY, want training, simulation, rounds, kernels or sums"
        shift
        ;;
      -h | --help) usage && exit ;;
      *)
        want_count CLIENTS "$1"
        COHORTS+=("$1")
        ;;
    esac
    shift
  done
  if ((${#COHORTS[@]} == 0)); then COHORTS=(10 100); fi
}

# coordination CLIENTS: one measurement. Until the clients have seen the end of the run, the coordinator's peak memory is
# read again and again.
coordination() {
  local clients=$1 state=$ROOT/runs/bench/$1 server bench port peak=0 now
  rm -rf "$state" && mkdir -p "$state"
  start "$state/server.log" "$BUILD/server/fedpeft-server" serve "$ROOT/configs/banking77.yaml" \
    --state "$state/state" --listen 127.0.0.1:0 --set "schedule.0.rounds=$ROUNDS" \
    --set "schedule.0.participation.min_clients=$clients" --set "schedule.0.participation.cohort=$clients" \
    --set evaluation.min_evaluators=0
  server=$STARTED
  until port=$(sed -nE 's/.*on port ([0-9]+).*/\1/p' "$state/server.log") && [[ -n $port ]]; do
    alive "$server" || die "the coordinator ended (see $state/server.log)"
    sleep 0.05
  done
  start - "$BUILD/tests/bench/round_bench" "127.0.0.1:$port" "$clients" "$OUT/rounds-$clients.json"
  bench=$STARTED
  while alive "$bench"; do
    if now=$(awk '/^VmHWM:/ { print $2 }' "/proc/$server/status" 2>/dev/null) && [[ -n $now ]]; then peak=$now; fi
    sleep 0.05
  done
  wait_child "$bench" || die "the clients failed (see above, and $state/server.log)"
  wait_child "$server" || die "the coordinator failed (see $state/server.log)"
  say "  coordinator's peak memory: $((peak / 1024)) MiB"
  sed -i "s/}\$/,\"coordinator_peak_mib\":$((peak / 1024))}/" "$OUT/rounds-$clients.json"
}

training() {
  local -a options=()
  header "Training beside the peers"
  if [[ -z ${FEDPEFT_DATA:-} ]]; then
    say "left out: FEDPEFT_DATA is not set, BANKING77 is not there"
    return
  fi
  if $QUICK; then options=(--turns 8 --rows lora evaluation); fi
  FEDPEFT_BASE=$(base_folder) FEDPEFT_BUILD=$BUILD watched "$VENV/bin/python" "$ROOT/tests/bench/training.py" "${options[@]}"
}

simulation() {
  header "A simulated federation beside Flower's"
  if [[ -z ${FEDPEFT_DATA:-} ]] || $QUICK; then
    say "simulation: left out ($($QUICK && printf 'by --quick' || printf 'FEDPEFT_DATA is not set'))"
    return
  fi
  FEDPEFT_BASE=$(base_folder) FEDPEFT_BUILD=$BUILD watched "$VENV/bin/python" "$ROOT/tests/bench/simulation.py"
}

rounds() {
  local clients
  header "Rounds without training"
  for clients in "${COHORTS[@]}"; do coordination "$clients"; done
}

kernels() {
  header "Kernels of a training step"
  watched "$BUILD/tests/bench/kernels_bench" "--benchmark_out=$OUT/kernels.json"
}

sums() {
  header "The integer sum, and masks"
  watched "$BUILD/tests/bench/integer_sum_bench" "--benchmark_out=$OUT/integer_sum.json"
  watched "$BUILD/tests/bench/masks_bench" "--benchmark_out=$OUT/masks.json"
}

# summary PATTERN...: what this run measured, as one file; of each part the results as they are.
summary() {
  "$VENV/bin/python" - "$OUT" "$(git -C "$ROOT" rev-parse --short HEAD 2>/dev/null || true)" "$@" <<'END'
import json, pathlib, sys
folder, commit = pathlib.Path(sys.argv[1]), sys.argv[2]
parts = {path.stem: json.loads(path.read_text(encoding="utf-8"))
         for pattern in sys.argv[3:] for path in sorted(folder.glob(pattern))}
(folder / "summary.json").write_text(json.dumps({"commit": commit, **parts}, indent=1) + "\n", encoding="utf-8")
END
  say "summary: build/bench/summary.json"
}

wanted() { [[ -z $ONLY || $ONLY == "$1" ]]; }

parse_arguments "$@"
end_children_on_exit
needed=()
if wanted training && ! $QUICK; then needed+=(--adapters); fi
if wanted simulation && ! $QUICK; then needed+=(--flower); fi
"$ROOT/scripts/setup.sh" "${needed[@]}"
"$ROOT/scripts/build.sh" fedpeft-server fedpeft-client round_bench integer_sum_bench kernels_bench masks_bench training_bench
mkdir -p "$OUT"
declare -A results=([training]="training.json" [simulation]="simulation.json" [rounds]="rounds-*.json" [kernels]="kernels.json"
  [sums]="integer_sum.json masks.json")
measured=()
for part in training simulation rounds kernels sums; do
  if wanted "$part"; then
    # shellcheck disable=SC2086  # names and patterns
    (cd "$OUT" && rm -f ${results[$part]})
    "$part"
    # shellcheck disable=SC2206
    measured+=(${results[$part]})
  fi
done
summary "${measured[@]}"
