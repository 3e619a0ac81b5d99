#!/usr/bin/env bash
# Builds and runs the benchmarks that need no base model: what coordination costs, and the speed of sums and masks.
#
# Usage: scripts/bench.sh [--rounds N] [CLIENTS...]
#   --rounds N  rounds a measurement (default 50)
#   CLIENTS     cohort sizes (default: 10 100)
#
# For each cohort size a coordinator runs on loopback with a state folder of its own (SQLite commits included), one
# process answers for all clients without training, and the time a round and the coordinator's peak memory are printed.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ROUNDS=50
COHORTS=()

parse_arguments() {
  while (($#)); do
    case $1 in
      --rounds)
        option_value "$1" $#
        want_count "$1" "$2"
        ROUNDS=$2
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
  start - "$BUILD/tests/bench/round_bench" "127.0.0.1:$port" "$clients"
  bench=$STARTED
  while alive "$bench"; do
    if now=$(awk '/^VmHWM:/ { print $2 }' "/proc/$server/status" 2>/dev/null) && [[ -n $now ]]; then peak=$now; fi
    sleep 0.05
  done
  wait_child "$bench" || die "the clients failed (see above, and $state/server.log)"
  wait_child "$server" || die "the coordinator failed (see $state/server.log)"
  say "  coordinator's peak memory: $((peak / 1024)) MiB"
}

parse_arguments "$@"
end_children_on_exit
"$ROOT/scripts/build.sh" fedpeft-server round_bench integer_sum_bench masks_bench
header "Rounds without training"
for clients in "${COHORTS[@]}"; do coordination "$clients"; done
header "The integer sum"
watched "$BUILD/tests/bench/integer_sum_bench"
watched "$BUILD/tests/bench/masks_bench"
