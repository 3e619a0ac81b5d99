# shellcheck shell=bash
# What the scripts share: messages, paths, child processes that never outlive the script.
#
# Sourced, never run:  source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# Sets ROOT (the checkout), VENV and BUILD, and keeps every cache inside the checkout unless the caller chose another.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck disable=SC2034  # read by the scripts that source this file
VENV=$ROOT/build/venv BUILD=$ROOT/build/release
export CCACHE_DIR=${CCACHE_DIR:-$ROOT/build/ccache} CCACHE_BASEDIR=${CCACHE_BASEDIR:-$ROOT}
# Without these, ccache never reuses a unit that has a precompiled header.
export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros,include_file_ctime,include_file_mtime}
export HF_HUB_OFFLINE=1 HF_HOME=$ROOT/build/huggingface TMPDIR=$ROOT/build/tmp
mkdir -p "$TMPDIR"

say() { printf '%s\n' "$*"; }
header() { printf '\n== %s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  warn "$*"
  exit 1
}

# need TOOL HINT: dies unless TOOL is on PATH.
need() { command -v "$1" >/dev/null || die "$1: not found (${2:-run scripts/setup.sh})"; }

# usage: the calling script's opening comment, without the '# ', is its help text.
usage() { sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"; }

# option_value NAME VALUES_LEFT: dies when the option NAME is the last argument.
option_value() { [[ $2 -ge 2 ]] || die "$1: got no value, want one (see --help)"; }

# want_count NAME VALUE: VALUE is a number from 1 on.
want_count() { [[ $2 =~ ^[1-9][0-9]*$ ]] || die "$1: got ${2:-nothing}, want a number from 1 on (see --help)"; }

# base_folder: the base model's folder: FEDPEFT_BASE, or the one setup.sh prepares.
base_folder() { printf '%s\n' "${FEDPEFT_BASE:-$ROOT/build/base/minilm}"; }

# build_jobs: compilers to run at once: one a core, but each needs up to 1.5 GB of memory.
build_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo)
  if ((by_memory < 1)); then by_memory=1; fi
  printf '%s\n' "$((cores < by_memory ? cores : by_memory))"
}

# --- Child processes. Each runs in a process group of its own, so that its children can be ended with it. ---

CHILDREN=()

# start LOG COMMAND...: runs COMMAND in the background, output to LOG ('-': ours); its process id is then in STARTED.
start() {
  local log=$1
  shift
  set -m
  if [[ $log == - ]]; then "$@" & else "$@" >"$log" 2>&1 & fi
  STARTED=$!
  set +m
  CHILDREN+=("$STARTED")
}

# wait_child PID: waits for a started process and returns its status; what it left running ends with it.
wait_child() {
  local pid status=0
  local -a others=()
  wait "$1" || status=$?
  kill -KILL -- "-$1" 2>/dev/null || true
  for pid in "${CHILDREN[@]}"; do
    if ((pid != $1)); then others+=("$pid"); fi
  done
  CHILDREN=("${others[@]}")
  return "$status"
}

# watched COMMAND...: runs COMMAND to its end and returns its status; a signal to us ends it too.
watched() {
  start - "$@"
  wait_child "$STARTED"
}

alive() { kill -0 -- "-$1" 2>/dev/null; }

# stop_children: asks every started process group to end, and kills what is still there after 10 s.
stop_children() {
  local pid deadline=$((SECONDS + 10))
  for pid in "${CHILDREN[@]}"; do kill -TERM -- "-$pid" 2>/dev/null || true; done
  for pid in "${CHILDREN[@]}"; do
    while alive "$pid" && ((SECONDS < deadline)); do sleep 0.05; done
    kill -KILL -- "-$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  CHILDREN=()
}

# end_children_on_exit: from here on no child outlives the script, however it ends.
end_children_on_exit() {
  trap stop_children EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}
