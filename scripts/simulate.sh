#!/usr/bin/env bash
# Simulates a federation on this machine, over the same protocol and with the same programs as a real one: a
# coordinator, client processes that hold N virtual clients between them, and an evaluator. Waits for the end, exports
# the adapter, and leaves no process behind, also on Ctrl-C.
#
# Usage: scripts/simulate.sh RUN.yaml --clients N --data FILE [OPTION]...
#   --clients N         virtual clients, among which FILE's rows are dealt
#   --data FILE         .csv, .tsv or .jsonl
#   --processes M       client processes (default 1); their weights are not shared, those of one process's clients are
#   --eval-data FILE    held-out rows, for an evaluator process, or, in a run that leaves parts of the model to its clients,
#                       dealt to these as their own rows are; without it, the run must have evaluation.every=0
#   --partition P       iid (default), dirichlet:ALPHA or column:NAME; a draw of the run's seed, whatever M is
#   --base DIR          the run's base model (default: FEDPEFT_BASE, or build/base/minilm)
#   --out DIR           state, adapter and logs (default runs/simulation); an earlier simulation becomes DIR.previous
#   --threads T         threads of each client process (default: the cores shared out among the processes)
#   --set KEY=VALUE     changes a key of the run, as for fedpeft-server; may be repeated
#
# Example:
#   scripts/simulate.sh configs/quickstart.yaml --clients 20 --processes 2 --partition dirichlet:0.5 \
#     --data runs/quickstart/data/train.csv --eval-data runs/quickstart/data/test.csv \
#     --set schedule.0.participation.cohort=5
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/scripts/federation.sh"

RUN=
CLIENTS=
PROCESSES=1
DATA=
EVAL_DATA=
PARTITION=iid
BASE=$(base_folder)
OUT=$ROOT/runs/simulation
THREADS=
SETTINGS=()
# Whether clients keep parts of the model, so that they alone can evaluate it.
PERSONAL=false

parse_arguments() {
  while (($#)); do
    case $1 in
      --clients | --processes | --data | --eval-data | --partition | --base | --out | --threads | --set)
        option_value "$1" $#
        case $1 in
          --clients) CLIENTS=$2 ;;
          --processes) PROCESSES=$2 ;;
          --data) DATA=$2 ;;
          --eval-data) EVAL_DATA=$2 ;;
          --partition) PARTITION=$2 ;;
          --base) BASE=$2 ;;
          --out) OUT=$2 ;;
          --threads) THREADS=$2 ;;
          --set) SETTINGS+=(--set "$2") ;;
        esac
        shift
        ;;
      -h | --help) usage && exit ;;
      -*) die "$1: unknown option (see --help)" ;;
      *)
        [[ -z $RUN ]] || die "$1: got a second run, want one (see --help)"
        RUN=$1
        ;;
    esac
    shift
  done
}

want_file() { [[ -f $2 ]] || die "$1: got ${2:-nothing}, want a file (see --help)"; }

check_arguments() {
  want_file RUN.yaml "$RUN"
  want_file --data "$DATA"
  if [[ -n $EVAL_DATA ]]; then want_file --eval-data "$EVAL_DATA"; fi
  want_count --clients "$CLIENTS"
  want_count --processes "$PROCESSES"
  ((PROCESSES <= CLIENTS)) || die "--processes: got $PROCESSES, want at most the $CLIENTS clients"
  # The start is evaluated too, so it waits for the evaluator.
  if [[ -n $EVAL_DATA ]]; then SETTINGS=(--set evaluation.min_evaluators=1 "${SETTINGS[@]}"); fi
  if [[ -z $THREADS ]]; then THREADS=$(($(nproc) / PROCESSES > 1 ? $(nproc) / PROCESSES : 1)); fi
  want_count --threads "$THREADS"
  [[ -f $BASE/config.json ]] || die "--base $BASE: has no config.json, want a model folder (scripts/setup.sh prepares one)"
  local summary
  summary=$("$SERVER" check "$RUN" "${SETTINGS[@]}") || die "$RUN: is not a run that can be served (see above)"
  if grep -q '^  personal ' <<<"$summary"; then PERSONAL=true; fi
}

# start_clients: process p of M holds the clients from N·p/M up to N·(p+1)/M.
start_clients() {
  local process first end
  local -a held_out=()
  if $PERSONAL && [[ -n $EVAL_DATA ]]; then held_out=(--eval-data "$EVAL_DATA"); fi
  for ((process = 0; process < PROCESSES; process++)); do
    first=$((CLIENTS * process / PROCESSES)) end=$((CLIENTS * (process + 1) / PROCESSES))
    start_client "process-$process" --base "$BASE" --data "$DATA" --threads "$THREADS" \
      --virtual-clients "$CLIENTS" --client-range "$first:$end" --partition "$PARTITION" "${held_out[@]}"
  done
  if [[ -n $EVAL_DATA ]] && ! $PERSONAL; then
    start_client evaluator --role evaluator --base "$BASE" --data "$EVAL_DATA" --threads "$THREADS"
  fi
}

main() {
  parse_arguments "$@"
  need_programs
  check_arguments
  new_folder "$OUT"
  end_children_on_exit
  say "simulation: $CLIENTS clients ($PARTITION) in $PROCESSES processes with $THREADS threads each, in $OUT"
  start_coordinator "$RUN" "${SETTINGS[@]}"
  start_clients
  run_to_the_end
  "$SERVER" export --state "$OUT/state" "$OUT/adapter"
}

main "$@"
