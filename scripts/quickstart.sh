#!/usr/bin/env bash
# From nothing to a federation that learns: installs what is missing, builds a release, makes text of WordNet, and runs
# a coordinator, five clients with a part of the text each and an evaluator as processes of their own on loopback. Then
# the same training on all the text in one place, to compare. About three minutes on two cores after the build.
#
# Usage: scripts/quickstart.sh [--no-build]
#   --no-build   neither installs nor builds: uses build/release as it is
#
# Everything it makes is in runs/quickstart (an earlier one becomes runs/quickstart.previous) and build/.
# summary.json there: accuracy_start, accuracy_end, accuracy_centralised, rounds, clients, seconds (all of it after the
# build), bytes_up, bytes_down. Fails when the federation did not learn: less than 0.85 of the centralised accuracy, or
# less than 20 points above the start.
#
# Environment: FEDPEFT_BASE=DIR takes the base model from DIR; it must be the MiniLM-L6 that configs/quickstart.yaml names.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/scripts/federation.sh"

readonly RUN=$ROOT/configs/quickstart.yaml OUT=$ROOT/runs/quickstart
readonly DATA=$OUT/data
readonly CLIENTS=5 TRAIN_ROWS=1500 TEST_ROWS=600
# One optimiser that goes on over all the text wants smaller steps than five that start afresh in each round.
readonly CENTRALISED=(--set train.learning_rate=0.003)
BUILD_FIRST=true

parse_arguments() {
  while (($#)); do
    case $1 in
      --no-build) BUILD_FIRST=false ;;
      -h | --help) usage && exit ;;
      *) die "$1: unknown option (see --help)" ;;
    esac
    shift
  done
}

prepare_programs() {
  if ! $BUILD_FIRST; then return 0; fi
  header "install what is missing"
  "$ROOT/scripts/setup.sh" --build-only
  header "build a release (the first time takes some minutes)"
  watched "$ROOT/scripts/build.sh" fedpeft-server fedpeft-client
}

# prepare_data: the test text, and each client's own file of training text.
prepare_data() {
  python3 "$ROOT/scripts/wordnet_csv.py" --out "$DATA" --train-size "$TRAIN_ROWS" --test-size "$TEST_ROWS"
  awk -v clients="$CLIENTS" -v folder="$DATA" '
    NR == 1 { for (i = 1; i <= clients; i++) print > (folder "/client-" i ".csv"); next }
    { print > (folder "/client-" (NR - 2) % clients + 1 ".csv") }' "$DATA/train.csv"
}

run_federation() {
  local i
  start_coordinator "$RUN"
  for ((i = 1; i <= CLIENTS; i++)); do
    start_client "client-$i" --base "$(base_folder)" --data "$DATA/client-$i.csv" --threads 1
  done
  start_client evaluator --role evaluator --base "$(base_folder)" --data "$DATA/test.csv"
  run_to_the_end
  "$SERVER" export --state "$OUT/state" "$OUT/adapter"
}

run_centralised() {
  watched "$CLIENT" train "$RUN" "$OUT/centralised" --base "$(base_folder)" --data "$DATA/train.csv" \
    --eval-data "$DATA/test.csv" "${CENTRALISED[@]}" 2>"$OUT/centralised.log" ||
    die_with_log "$OUT/centralised.log" "the centralised training failed"
  "$CLIENT" evaluate --base "$(base_folder)" --adapter "$OUT/centralised" --data "$DATA/test.csv" --json \
    >"$OUT/centralised.json" 2>>"$OUT/centralised.log" ||
    die_with_log "$OUT/centralised.log" "the centralised adapter could not be evaluated"
}

# write_summary SECONDS: summary.json, and what it says in words.
write_summary() {
  python3 - "$OUT" "$CLIENTS" "$1" <<'PYTHON'
import json, pathlib, sys

folder, clients, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rounds = [json.loads(line) for line in (folder / "state/rounds.jsonl").read_text().splitlines()]
start, end = rounds[0]["eval_accuracy"], rounds[-1]["eval_accuracy"]
centralised = json.loads((folder / "centralised.json").read_text())["accuracy"]
summary = {
    "accuracy_start": start, "accuracy_end": end, "accuracy_centralised": centralised,
    "rounds": rounds[-1]["round"], "clients": clients, "seconds": seconds,
    "bytes_up": sum(r["bytes_up"] for r in rounds), "bytes_down": sum(r["bytes_down"] for r in rounds),
}
(folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
print(f"accuracy on held-out text: {start:.1%} at the start, {end:.1%} after {summary['rounds']} rounds of {clients} clients; "
      f"{centralised:.1%} with all the text in one place.")
print(f"The clients sent {summary['bytes_up'] / 1e6:.1f} MB and were sent {summary['bytes_down'] / 1e6:.1f} MB; "
      f"their text stayed where it was. {seconds} s.")
if end < 0.85 * centralised or end < start + 0.2:
    sys.exit("quickstart: the federation did not learn as it should (look at runs/quickstart/*.log)")
PYTHON
}

# tell_where: paths as one who stands in the checkout writes them.
tell_where() {
  local base
  base=$(base_folder)
  cat <<TEXT

In $ROOT:
  runs/quickstart/adapter          the adapter, as Hugging Face PEFT loads it
  runs/quickstart/state            the coordinator's state: database, parameters, rounds.jsonl
  runs/quickstart/*.log            the logs of the coordinator (server.log) and of each client
  runs/quickstart/summary.json     the numbers above

Look at them with:
  build/release/server/fedpeft-server rounds --state runs/quickstart/state
  build/release/server/fedpeft-server show   --state runs/quickstart/state
  build/release/server/fedpeft-server export --state runs/quickstart/state --round 1 runs/quickstart/adapter-1
  build/release/client/fedpeft-client predict --base ${base#"$ROOT"/} --adapter runs/quickstart/adapter --data runs/quickstart/data/test.csv
TEXT
}

main() {
  parse_arguments "$@"
  end_children_on_exit
  say "quickstart: installs what is missing, builds build/release, runs a federation in runs/quickstart"
  prepare_programs
  need_programs
  need python3
  new_folder "$OUT"

  local began=$SECONDS
  header "text: $CLIENTS clients' files and held-out text, of WordNet's glosses"
  prepare_data
  header "federation: $CLIENTS clients, a coordinator and an evaluator on loopback"
  run_federation
  header "the same training on all the text in one place"
  run_centralised
  header "result"
  write_summary $((SECONDS - began))
  tell_where
}

main "$@"
