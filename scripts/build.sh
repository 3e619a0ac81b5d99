#!/usr/bin/env bash
# Configures and builds: a release in build/release, or one of the checking builds, each in a folder of its own.
#
# Usage: scripts/build.sh [--asan | --tsan] [--jobs N] [TARGET...]
#   (none)    release, with LibTorch and the benchmarks                                            build/release
#   --asan    AddressSanitizer and UBSan, the targets without LibTorch; libFuzzer programs (clang)  build/asan
#   --tsan    ThreadSanitizer, the targets without LibTorch                                        build/tsan
#   --jobs N  compilers at once (default: one a core, fewer when memory is short)
# TARGETs default to everything.
#
# Environment: FEDPEFT_LIBTORCH=DIR builds against this LibTorch instead of build/venv's.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

KIND=release
JOBS=
TARGETS=()

parse_arguments() {
  while (($#)); do
    case $1 in
      --asan | --tsan) KIND=${1#--} ;;
      --jobs)
        option_value "$1" $#
        JOBS=$2
        want_count "$1" "$JOBS"
        shift
        ;;
      -h | --help) usage && exit ;;
      -*) die "$1: unknown option (see --help)" ;;
      *) TARGETS+=("$1") ;;
    esac
    shift
  done
}

# kind_options: what CMake is told for this kind of build. The checking builds want speed of compiling and of running
# in equal parts, hence -O1, and keep assert(). One build does without precompiled headers and compiles each source alone:
# both hide a missing include.
kind_options() {
  local -a checking=(-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DFEDPEFT_TORCH=OFF)
  case $KIND in
    release) printf '%s\n' -DFEDPEFT_BENCH=ON "-DFEDPEFT_LIBTORCH=${FEDPEFT_LIBTORCH:-}" ;;
    asan)
      printf '%s\n' "${checking[@]}" -DFEDPEFT_SANITIZE=address,undefined -DFEDPEFT_FUZZ=ON \
        -DCMAKE_CXX_COMPILER=clang++
      ;;
    tsan) printf '%s\n' "${checking[@]}" -DFEDPEFT_SANITIZE=thread -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON \
      -DFEDPEFT_UNITY=OFF ;;
  esac
}

configure() {
  local folder=$1 log=$1/configure.log
  local -a options
  mapfile -t options < <(kind_options)
  mkdir -p "$folder"
  watched cmake -S "$ROOT" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release "${options[@]}" >"$log" 2>&1 ||
    { cat "$log" >&2 && die "CMake could not configure ${folder#"$ROOT"/} (see above; scripts/setup.sh installs what is missing)"; }
}

main() {
  parse_arguments "$@"
  need cmake && need ninja && need g++
  [[ $KIND != asan ]] || need clang++
  local folder=$ROOT/build/$KIND jobs=${JOBS:-$(build_jobs)}
  end_children_on_exit
  say "build: build/$KIND with $jobs compilers at once"
  configure "$folder"
  watched ninja -C "$folder" -j "$jobs" "${TARGETS[@]}" || die "build/$KIND: the build failed (see above)"
}

main "$@"
