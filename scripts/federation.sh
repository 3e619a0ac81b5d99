# shellcheck shell=bash
# A federation of processes on this machine, on loopback: what quickstart.sh and simulate.sh share.
#
# Sourced after lib.sh, never run. The caller sets OUT, an empty folder for logs and state, calls start_coordinator,
# start_client for each process, and run_to_the_end. Every process is a child in the sense of lib.sh.

SERVER=$BUILD/server/fedpeft-server CLIENT=$BUILD/client/fedpeft-client
COORDINATOR=
PORT=
declare -A CLIENT_NAME=()

# How long clients may take to say good-bye after the run's end, in seconds.
readonly FAREWELL_SECONDS=10

need_programs() {
  [[ -x $SERVER && -x $CLIENT ]] || die "build/release: has no fedpeft-server and fedpeft-client (run scripts/build.sh)"
}

# hold_folder DIR: locks DIR, which a script of ours made, until we end, as file descriptor 9.
hold_folder() {
  exec 9>>"$1/.fedpeft"
  flock -n 9 || die "$1: is in use by another run of this script"
}

# new_folder DIR: an empty DIR, held; what was there, if a script of ours made it, becomes DIR.previous.
new_folder() {
  local folder=${1%/} previous=${1%/}.previous found
  if [[ -e $folder && -n $(ls -A "$folder") ]]; then
    for found in "$folder" "$previous"; do
      [[ ! -e $found || -e $found/.fedpeft ]] ||
        die "$found: is not empty and was not made by this script (choose another folder)"
    done
    hold_folder "$folder"  # or we would move it away under a run
    rm -rf "$previous"
    mv "$folder" "$previous"
  fi
  mkdir -p "$folder"
  hold_folder "$folder"
}

# die_with_log LOG MESSAGE: dies, and shows how LOG ends.
die_with_log() {
  tail -n 15 "$1" >&2
  die "$2 (the log: $1)"
}

serve() {
  exec "$SERVER" serve "$@" --state "$OUT/state" --listen 127.0.0.1:0 2>"$OUT/server.log"
}

# start_coordinator RUN.yaml SERVE_OPTION...: on a free port of loopback; returns once it listens. Sets PORT.
start_coordinator() {
  local deadline=$((SECONDS + 30))
  start "$OUT/rounds.txt" serve "$@" 9>&-
  COORDINATOR=$STARTED
  until PORT=$(sed -n 's/^serving run .* on port \([0-9]*\),.*/\1/p' "$OUT/rounds.txt") && [[ -n $PORT ]]; do
    alive "$COORDINATOR" || die_with_log "$OUT/server.log" "the coordinator did not start"
    ((SECONDS < deadline)) || die_with_log "$OUT/server.log" "the coordinator does not listen after 30 s"
    sleep 0.05
  done
}

# start_client NAME JOIN_OPTION...: a client process of that name; --data and what else it needs are the caller's.
start_client() {
  local name=$1
  shift
  start "$OUT/$name.log" "$CLIENT" join --server "127.0.0.1:$PORT" --name "$name" --state "$OUT/clients/$name" \
    "$@" 9>&-
  CLIENT_NAME[$STARTED]=$name
}

# run_to_the_end: shows the coordinator's lines as they come, until the run is finished and the clients have left. Dies
# when a process fails.
run_to_the_end() {
  local ended pid status deadline
  start - tail -n +1 -f -s 0.2 --pid="$COORDINATOR" "$OUT/rounds.txt" 9>&-
  local shown=$STARTED
  while true; do
    status=0
    wait -n -p ended "$COORDINATOR" "${!CLIENT_NAME[@]}" || status=$?
    if [[ $ended == "$COORDINATOR" ]]; then break; fi
    if ((status != 0)); then
      die_with_log "$OUT/${CLIENT_NAME[$ended]}.log" "client process ${CLIENT_NAME[$ended]} failed"
    fi
    unset "CLIENT_NAME[$ended]"
  done
  wait_child "$shown" || true
  ((status == 0)) || die_with_log "$OUT/server.log" "the run failed"

  deadline=$((SECONDS + FAREWELL_SECONDS))
  for pid in "${!CLIENT_NAME[@]}"; do
    while alive "$pid" && ((SECONDS < deadline)); do sleep 0.05; done
  done
  stop_children
}
