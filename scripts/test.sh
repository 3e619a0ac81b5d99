#!/usr/bin/env bash
# Installs what is missing, builds, tests; ends with one line "N passed, N failed" and fails when anything did.
#
# Usage: scripts/test.sh [--full] [--fuzz-seconds N]
#   --full            the whole of every matrix, ThreadSanitizer, ten minutes a fuzz target; a full run that was cut off
#                     goes on where it stopped, as long as no file of the checkout changed
#   --fuzz-seconds N  time for each fuzz target (default 30, with --full 600)
#
# In order: unit and integration tests (ctest), parity with the Python packages (tests/parity), the tests of parsers
# (in full: all without LibTorch) under AddressSanitizer and UBSan, the fuzz targets. Logs: build/test-logs. What counts
# as one test: a ctest test, a parity script, a fuzz target, a step that could not be built.
#
# Environment:
#   FEDPEFT_DATA=DIR       public data sets (tests/parity/README.md): tests on them are left out, and say so, without it
#   FEDPEFT_LIBTORCH=DIR, FEDPEFT_BASE=DIR   as for scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly LOGS=$ROOT/build/test-logs
FULL=false
FUZZ_SECONDS=
STAMPS=
PASSED=0
FAILED=0

parse_arguments() {
  while (($#)); do
    case $1 in
      --full) FULL=true ;;
      --fuzz-seconds)
        option_value "$1" $#
        FUZZ_SECONDS=$2
        want_count "$1" "$FUZZ_SECONDS"
        shift
        ;;
      -h | --help) usage && exit ;;
      *) die "$1: unknown option (see --help)" ;;
    esac
    shift
  done
  if $FULL; then : "${FUZZ_SECONDS:=600}"; else : "${FUZZ_SECONDS:=30}"; fi
}

# What a full run has finished is kept as build/test-state/HASH/STEP, "passed failed" inside; HASH covers every file of
# the checkout and what else decides the outcome. Works in a copy without git, too.
open_stamps() {
  local hash
  hash=$(cd "$ROOT" && {
    printf '%s\n' "$FUZZ_SECONDS" "${FEDPEFT_DATA:-}" "${FEDPEFT_LIBTORCH:-}" "${FEDPEFT_BASE:-}"
    find . \( -path ./build -o -path ./runs -o -path ./.git -o -name __pycache__ \) -prune -o -type f -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum | cut -c1-16)
  STAMPS=$ROOT/build/test-state/$hash
  find "$ROOT/build/test-state" -mindepth 1 -maxdepth 1 ! -name "$hash" -exec rm -rf {} + 2>/dev/null || true
  mkdir -p "$STAMPS"
}

# step NAME COMMAND...: runs COMMAND, which adds to PASSED and FAILED by count(). A full run does not repeat a step that
# it finished without a failure.
step() {
  local name=$1 stamp=$STAMPS/${1//[^A-Za-z0-9_.-]/_} began=$SECONDS passed=$PASSED failed=$FAILED
  shift
  if $FULL && [[ -f $stamp ]]; then
    count "$(<"$stamp")" 0
    say "-- $name: passed before, not repeated"
    return
  fi
  header "$name"
  "$@"
  passed=$((PASSED - passed)) failed=$((FAILED - failed))
  say "-- $name: $passed passed, $failed failed ($((SECONDS - began)) s)"
  if $FULL && ((failed == 0)); then printf '%s\n' "$passed" >"$stamp"; fi
}

count() {
  PASSED=$((PASSED + $1))
  FAILED=$((FAILED + $2))
}

# built NAME BUILD_OPTION...: builds, and counts only a failure; true when it is there to be tested. Ninja knows what is
# up to date, so a build is never stamped.
built() {
  local name=$1 began=$SECONDS
  shift
  header "$name"
  if watched "$ROOT/scripts/build.sh" "$@"; then
    say "-- $name: built ($((SECONDS - began)) s)"
  else
    count 0 1
    say "-- $name: FAILED ($((SECONDS - began)) s); its tests are not run"
    return 1
  fi
}

# run_ctest LOG FOLDER CTEST_OPTION...: counts by ctest's own last line.
run_ctest() {
  local log=$LOGS/$1.log folder=$2 summary
  shift 2
  watched ctest --test-dir "$folder" --output-on-failure --output-log "$log" "$@" || true
  summary=$(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests? failed out of ([0-9]+)$/\1 \2/p' "$log")
  if [[ -z $summary ]]; then
    say "$log: ctest ended without a summary"
    count 0 1
  else
    local failed=${summary% *} all=${summary#* }
    count "$((all - failed))" "$failed"
  fi
}

# ctest_steps NAME FOLDER CTEST_OPTION...: one step together, or in a full run, of all tests, one step a test, so that it
# resumes finely.
ctest_steps() {
  local name=$1 folder=$2 test
  local -a tests
  if ! $FULL; then
    step "$name" run_ctest "$name" "$folder" --parallel "$(nproc)" "${@:3}"
    return
  fi
  mapfile -t tests < <(ctest --test-dir "$folder" --show-only | sed -n 's/^ *Test *#[0-9]*: //p')
  for test in "${tests[@]}"; do
    step "$name $test" run_ctest "$name-$test" "$folder" --tests-regex "^$test\$"
  done
}

# run_parity LOG OPTION...: tests/parity/run.py ends with the line "parity: N passed, N failed, N left out".
run_parity() {
  local log=$LOGS/$1.log summary
  shift
  watched "$VENV/bin/python" "$ROOT/tests/parity/run.py" --log "$log" "$@" || true
  summary=$(sed -nE 's/^parity: ([0-9]+) passed, ([0-9]+) failed.*/\1 \2/p' "$log")
  # shellcheck disable=SC2086  # two numbers
  count ${summary:-0 1}
}

parity_steps() {
  local script
  local -a scripts
  if ! $FULL; then
    step parity run_parity parity
    return
  fi
  mapfile -t scripts < <("$VENV/bin/python" "$ROOT/tests/parity/run.py" --full --list)
  for script in "${scripts[@]}"; do
    step "parity $script" run_parity "parity-$script" --full "$script"
  done
}

# fuzz PROGRAM...: all of them at once, each for FUZZ_SECONDS, on a corpus that grows from run to run.
fuzz() {
  local program name corpus folder
  local -a seeds
  local -A running=()
  for program in "$@"; do
    name=${program##*/}
    corpus=$ROOT/build/fuzz-corpus/$name
    seeds=()
    for folder in "$ROOT/tests/fuzz/corpus/$name" "$ROOT/build/asan/tests/fuzz/corpus/$name"; do
      if [[ -d $folder ]]; then seeds+=("$folder"); fi
    done
    mkdir -p "$corpus"
    start "$LOGS/$name.log" "$program" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 \
      -print_final_stats=1 -artifact_prefix="$LOGS/$name-" "$corpus" "${seeds[@]}"
    running[$name]=$STARTED
  done
  for name in "${!running[@]}"; do
    if wait_child "${running[$name]}"; then
      say "ok      $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$LOGS/$name.log") inputs"
      count 1 0
    else
      tail -n 40 "$LOGS/$name.log"
      say "FAILED  $name: the input is in build/test-logs/$name-*"
      count 0 1
    fi
  done
}

# fuzz_steps: as many targets at once as there are cores; in a full run each such handful is a step.
fuzz_steps() {
  local -a programs
  local at cores
  cores=$(nproc)
  mapfile -t programs < <(find "$ROOT/build/asan" -type f -executable -name '*_fuzz' | sort)
  for ((at = 0; at < ${#programs[@]}; at += cores)); do
    local -a handful=("${programs[@]:at:cores}")
    step "fuzz ${handful[*]##*/}" fuzz "${handful[@]}"
  done
}

run_all() {
  header "setup"
  # Not watched: sudo may have to ask for a password, which only the terminal's own process group can.
  local -a more=()
  if $FULL; then more=(--adapters); fi
  "$ROOT/scripts/setup.sh" "${more[@]}" || { count 0 1 && return; }
  say "-- setup: ready ($SECONDS s)"
  FEDPEFT_BASE=$(base_folder)
  export FEDPEFT_BASE

  if built "release build"; then
    ctest_steps ctest "$BUILD"
    parity_steps
  fi
  local -a parsers=(parsers)
  if $FULL; then parsers=(); fi
  if built "asan build" --asan "${parsers[@]}"; then
    ctest_steps asan "$ROOT/build/asan" --label-regex parsers
    fuzz_steps
  fi
  if $FULL && built "tsan build" --tsan; then ctest_steps tsan "$ROOT/build/tsan"; fi
}

main() {
  parse_arguments "$@"
  mkdir -p "$LOGS"
  if [[ -n ${FEDPEFT_DATA:-} ]]; then
    [[ -d $FEDPEFT_DATA ]] || die "FEDPEFT_DATA=$FEDPEFT_DATA: no such folder"
    FEDPEFT_DATA=$(cd "$FEDPEFT_DATA" && pwd -P)
    export FEDPEFT_DATA
  fi
  export FEDPEFT_BUILD=$BUILD UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
  if $FULL; then export FEDPEFT_FULL=1 && open_stamps; fi
  end_children_on_exit
  say "test: set up, build, test$($FULL && printf ' in full'); everything made stays in build/ (data: ${FEDPEFT_DATA:-none, set FEDPEFT_DATA})"
  run_all
  printf '\n%d passed, %d failed\n' "$PASSED" "$FAILED"
  ((FAILED == 0 && PASSED > 0))
}

main "$@"
