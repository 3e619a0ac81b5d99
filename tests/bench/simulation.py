#!/usr/bin/env python3
"""A simulated federation beside Flower's: MiniLM and LoRA on BANKING77, 100 clients, 10 a round, 20 rounds of an epoch
each, in wall time from nothing to the last round's end, on the same machine one after the other. What both learned is
evaluated afterwards; the row counts only where accuracies are within --tolerance. Prints a line and writes
build/bench/simulation.json.

Flower 1.41 with its simulation extra, whose clients train by transformers and peft (simulation_flower.py), in
build/venv-flower: scripts/setup.sh --flower. FEDPEFT_DATA is the folder with the data sets, FEDPEFT_BASE the base,
FEDPEFT_BUILD the release build. Leave the machine alone meanwhile.

Usage: FEDPEFT_DATA=DIR build/venv/bin/python tests/bench/simulation.py [--rounds N] [--clients N] [--cohort N]
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/parity"))
from programs import Federation, Programs  # noqa: E402

RUN = ROOT / "configs/banking77.yaml"
RATE = 0.01
GOAL = 5


def ours(programs, args, folder):
    """Seconds, and the test accuracy."""
    settings = {"seed": 1, "schedule.0.rounds": args.rounds, "schedule.0.participation.cohort": args.cohort,
                "schedule.0.participation.min_clients": args.cohort, "schedule.0.participation.deadline_s": 7200,
                "train.learning_rate": RATE, "evaluation.every": 0, "evaluation.min_evaluators": 0}
    began = time.perf_counter()
    with Federation(programs, RUN, folder / "ours", settings) as federation:
        federation.join("trainers", args.data / "banking77/train.csv", "--virtual-clients", args.clients, "--threads",
                        args.threads)
        federation.run()
        seconds = time.perf_counter() - began
    programs.export(folder / "ours/state", folder / "adapter")
    said = programs.run_client("evaluate", "--adapter", folder / "adapter", "--data", args.data / "banking77/test.csv")
    return seconds, float(re.search(r"accuracy +([\d.]+)", said)[1])


def flowers(programs, args, folder):
    job = folder / "job.json"
    job.write_text(json.dumps({
        "base": str(programs.base), "data": str(args.data / "banking77"), "clients": args.clients, "cohort": args.cohort,
        "rounds": args.rounds, "rate": RATE, "batch": 32, "rank": 8, "alpha": 16, "max_length": 64, "cores": args.threads}))
    began = time.perf_counter()
    with open(folder / "flower.log", "w", encoding="utf-8") as log, subprocess.Popen(
            [ROOT / "build/venv-flower/bin/python", ROOT / "tests/bench/simulation_flower.py", job],
            stdout=subprocess.PIPE, stderr=log, text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "tests/bench"), "FLWR_TELEMETRY_ENABLED": "0", "RAY_DISABLE_METRICS": "1"}) as process:
        seconds = accuracy = None
        for line in process.stdout:
            if line.startswith("simulated"):
                seconds = time.perf_counter() - began
            elif line.startswith("accuracy"):
                accuracy = float(line.split()[1])
    if process.returncode != 0 or seconds is None or accuracy is None:
        raise RuntimeError(f"flower: exit status {process.returncode}\n{(folder / 'flower.log').read_text()[-4000:]}")
    return seconds, accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=os.environ.get("FEDPEFT_DATA"),
                        required="FEDPEFT_DATA" not in os.environ)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--cohort", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tolerance", type=float, default=0.03, help="of accuracies (default 0.03)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench/simulation.json")
    args = parser.parse_args()
    if (programs := Programs.of_environment()) is None:
        return 2
    if not (ROOT / "build/venv-flower/bin/python").exists():
        print("simulation: left out, build/venv-flower is not there (scripts/setup.sh --flower)")
        return 0
    print(f"simulation: {args.clients} clients, {args.cohort} a round, {args.rounds} rounds, {args.threads} threads, load "
          f"{os.getloadavg()[0]:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        ours_s, ours_accuracy = ours(programs, args, folder)
        print(f"  fedpeft: {ours_s:.1f} s, accuracy {100 * ours_accuracy:.2f} %", flush=True)
        flower_s, flower_accuracy = flowers(programs, args, folder)
    ratio = flower_s / ours_s
    alike = abs(ours_accuracy - flower_accuracy) <= args.tolerance
    verdict = "accuracies differ: does not count" if not alike else "reached" if ratio >= GOAL else "short"
    print(f"  Flower with transformers + peft: {flower_s:.1f} s, accuracy {100 * flower_accuracy:.2f} %\n"
          f"  x {ratio:.2f}, goal {GOAL}: {verdict}")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({
        "clients": args.clients, "cohort": args.cohort, "rounds": args.rounds, "threads": args.threads, "goal": GOAL,
        "ours": {"seconds": ours_s, "accuracy": ours_accuracy},
        "flower": {"seconds": flower_s, "accuracy": flower_accuracy}, "ratio": ratio, "accuracies_alike": alike},
        indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
