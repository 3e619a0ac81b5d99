#!/usr/bin/env python3
"""Runs the parity tests: every tests/parity/*_parity.py is one test, a program that compares fedpeft with the original.

A parity script takes no arguments and is told everything by environment variables: FEDPEFT_BUILD (the folder with the
programs), FEDPEFT_BASE (the base model), FEDPEFT_DATA (a folder of public data sets, README.md; may be unset) and
FEDPEFT_FULL (set: the whole matrix, else a seeded slice). Its exit status says how it went: 0 passed, 77 left out,
anything else failed; its last line of output is shown, and each that says what was left out or begins with "seed ". A comment line in it declares what is special:

    # parity: full              only run with --full
    # parity: timeout=900       seconds it may take (default 300; ten times as many with --full)

The last line here is "parity: N passed, N failed, N left out"; the exit status is 1 when a script failed.
"""
import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
LEFT_OUT = 77
TAIL_LINES = 60
DECLARATION = re.compile(r"^# parity: (?:(?P<full>full)|timeout=(?P<timeout>\d+))$", re.MULTILINE)


class Script:
    """One parity test and what it declares about itself."""

    def __init__(self, path):
        self.path = path
        self.name = path.stem
        self.full_only = False
        self.timeout_s = 300
        for declared in DECLARATION.finditer(path.read_text(encoding="utf-8")):
            if declared["full"]:
                self.full_only = True
            else:
                self.timeout_s = int(declared["timeout"])


def run(script, environment, timeout_s):
    """(exit status or None when time ran out, output). Whatever the script started ends with it."""
    process = subprocess.Popen([sys.executable, str(script.path)], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                               process_group=0)
    try:
        output, _ = process.communicate(timeout=timeout_s)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        kill_group(process)
        return None, process.communicate()[0]
    finally:
        kill_group(process)


def kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def report(script, status, output, seconds, timeout_s):
    """The lines to show for one finished script: one, or with the end of its output when it failed."""
    lines = output.splitlines() or ["no output"]
    if status == 0:
        shown, end = notes(lines[:-1]), f"ok      {script.name} ({seconds:.1f} s): {lines[-1]}"
    elif status == LEFT_OUT:
        shown, end = [], f"left out {script.name}: {lines[-1]}"
    else:
        why = f"took longer than {timeout_s} s" if status is None else f"exit status {status}"
        shown = notes(lines[:-TAIL_LINES]) + lines[-TAIL_LINES:]
        end = f"FAILED  {script.name} ({seconds:.1f} s): {why}"
    return "\n".join(shown + [end])


def notes(lines):
    """What is worth showing however a script ends."""
    return [line for line in lines if "left out" in line or line.startswith("seed ")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scripts to run, without .py (default: all)")
    parser.add_argument("--full", action="store_true", help="also scripts that are for a full run only")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--log", type=pathlib.Path, help="write what is printed to this file as well")
    arguments = parser.parse_args()

    scripts = [Script(path) for path in sorted(FOLDER.glob("*_parity.py"))]
    if (unknown := set(arguments.names) - {script.name for script in scripts}):
        parser.error(f"no such parity script: {', '.join(sorted(unknown))}")
    chosen = [script for script in scripts
              if (script.name in arguments.names if arguments.names else arguments.full or not script.full_only)]
    if arguments.list:
        for script in chosen:
            print(script.name)
        return 0

    environment = os.environ | ({"FEDPEFT_FULL": "1"} if arguments.full else {})
    environment.setdefault("FEDPEFT_BUILD", str(ROOT / "build/release"))
    environment.setdefault("FEDPEFT_BASE", str(ROOT / "build/base/minilm"))
    for name in ("FEDPEFT_BUILD", "FEDPEFT_BASE", "FEDPEFT_DATA"):  # the scripts run from the checkout's root
        if environment.get(name):
            environment[name] = os.path.abspath(environment[name])
    environment.setdefault("OMP_WAIT_POLICY", "passive")  # or torch's threads spin, many times slower on a busy machine
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that run() still ends what it started
    log = open(arguments.log, "w", encoding="utf-8") if arguments.log else None

    def show(text):
        for stream in filter(None, (sys.stdout, log)):
            print(text, file=stream, flush=True)

    passed = failed = left_out = 0
    for script in chosen:
        timeout_s = script.timeout_s * (10 if arguments.full else 1)
        began = time.monotonic()
        status, output = run(script, environment, timeout_s)
        show(report(script, status, output, time.monotonic() - began, timeout_s))
        passed += status == 0
        left_out += status == LEFT_OUT
        failed += status not in (0, LEFT_OUT)
    show(f"parity: {passed} passed, {failed} failed, {left_out} left out")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
