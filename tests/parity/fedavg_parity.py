#!/usr/bin/env python3
"""Classification: our federation learns as fast as the same FedAvg loop written in-process with peft (fedavg_peft.py).

`iid`: Banking77, ten clients, all in every round, twelve rounds of one local epoch. Ours is a coordinator, a process with
ten virtual clients and an evaluator. The means over the seeds differ by at most 1.5 points of accuracy in every round.
`centralised`: five epochs over all the data, `fedpeft-client train`; at most 1 point. `dirichlet`: `iid` with label
skew 0.5, ours alone; its gap to `iid` is reported. `sst2` and `sst2_centralised`: SST-2, ten clients, ours alone, and in
one place, at most 1 point. The coordinator's peak memory stays under 64 MiB.

A pair of cells starts from the same values, deals the rows alike and trains on the same batches in the same order, those
of ours: each of these alone is worth up to five points of accuracy in the first rounds, which would hide all else.

A cell is one side of one experiment with one seed: a file of JSON lines, one a round, whose name says the settings.
What is there is not computed again, and a run that was cut off goes on (centralised training of ours: from the start).
As a test, without options: `iid`, three rounds of one seed, a quarter of an hour on two quiet cores. The tables of
README.md are --all: about three hours. Without --report, a missing cell is computed; with it, only what is there is
shown and compared.
"""
# parity: full
# parity: timeout=3600
import argparse
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

from programs import Federation, Programs, checked, setting_options

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
SIDES = ("ours", "peft")
MEMORY_LIMIT_MIB = 64
TRAINERS_NAME, CENTRALISED_NAME = "trainers", "centralised"  # they name the streams of our batches' order
MAX_LENGTH = 128  # tokens; the longest text has fewer, so neither side truncates
TRAIN_LINE = re.compile(r"^round (\d+)/\d+  loss ([\d.]+)  test accuracy ([\d.]+)  test loss ([\d.]+).*?  ([\d.]+) s",
                        re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A run's YAML, and its rows under FEDPEFT_DATA."""
    name: str
    train: str
    test: str

    @property
    def run(self):
        return ROOT / f"configs/{self.name}.yaml"


BANKING77 = Dataset("banking77", "banking77/train.csv", "banking77/test.csv")
SST2 = Dataset("sst2", "sst2/train.tsv", "sst2/test.tsv")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What both sides do; `tolerance` in points of accuracy, None where the sides are only shown."""
    name: str
    dataset: Dataset
    clients: int
    rounds: int
    learning_rate: float
    seeds: tuple
    tolerance: float | None
    partition: str = "iid"
    sides: tuple = SIDES

    def cell_name(self, side, seed):
        prefix = "" if self.dataset is BANKING77 else f"{self.dataset.name}_"
        return (f"{prefix}{side}_clients{self.clients}_{self.partition.replace(':', '')}_lr{self.learning_rate:g}"
                f"_rounds{self.rounds}_seed{seed}")


EXPERIMENTS = (
    Experiment("iid", BANKING77, clients=10, rounds=12, learning_rate=1e-2, seeds=(1, 2, 3), tolerance=1.5),
    Experiment("centralised", BANKING77, clients=1, rounds=5, learning_rate=2e-3, seeds=(1,), tolerance=1),
    Experiment("dirichlet", BANKING77, clients=10, rounds=12, learning_rate=1e-2, seeds=(1,), tolerance=None,
               partition="dirichlet:0.5", sides=("ours",)),
    Experiment("sst2", SST2, clients=10, rounds=8, learning_rate=5e-3, seeds=(1,), tolerance=None, sides=("ours",)),
    Experiment("sst2_centralised", SST2, clients=1, rounds=3, learning_rate=1e-3, seeds=(1,), tolerance=1),
)
TEST = dataclasses.replace(EXPERIMENTS[0], rounds=3, seeds=(1,))


class Cells:
    """The folder of results."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, experiment, side, seed):
        return self.folder / f"{experiment.cell_name(side, seed)}.jsonl"

    def rows(self, experiment, side, seed):
        path = self.path(experiment, side, seed)
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def complete(self, experiment, side, seed):
        return len(self.rows(experiment, side, seed)) >= experiment.rounds

    def write(self, experiment, seed, rows):
        path = self.path(experiment, "ours", seed)
        new = path.with_suffix(".new")
        new.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        new.replace(path)


class Runner:
    """Computes cells."""

    def __init__(self, cells, programs, data, threads):
        self.cells, self.programs, self.data, self.threads = cells, programs, data, threads

    def run(self, experiment, side, seed):
        print(f"running {experiment.cell_name(side, seed)}", flush=True)
        self.train, self.test = self.data / experiment.dataset.train, self.data / experiment.dataset.test
        if side == "peft":
            self._run_peft(experiment, seed)
        elif experiment.clients == 1:
            self._train_centralised(experiment, seed)
        else:
            self._federate(experiment, seed)

    def _run_peft(self, experiment, seed):
        options = ["--keep-optimizer"] if experiment.clients == 1 else []
        out = self.cells.path(experiment, "peft", seed)
        start, batches = out.with_suffix(".start"), out.with_suffix(".batches")
        if not out.exists():
            self._export_start(experiment, seed, start)
            batches.write_text(self._batches(experiment, seed), encoding="utf-8")
        command = [sys.executable, FOLDER / "fedavg_peft.py", "--base", self.programs.base, "--start", start,
                   "--batches", batches, "--train", self.train, "--test", self.test, "--out", out, "--lr",
                   experiment.learning_rate, "--threads", self.threads, *options]
        passive = os.environ | {"OMP_WAIT_POLICY": "passive"}  # as fedpeft-client has it: fair on a busy machine
        subprocess.run(list(map(str, command)), check=True, env=passive)

    def _export_start(self, experiment, seed, folder):
        """Makes an adapter folder with the initial values of our run."""
        with Federation(self.programs, experiment.dataset.run, folder.with_suffix(".run"), self._settings(experiment, seed)) as run:
            run.wait_until_listening()
        shutil.rmtree(folder, ignore_errors=True)
        self.programs.export(run.state, folder, "--round", 0)
        shutil.rmtree(run.folder)

    def _batches(self, experiment, seed):
        """Who trains on what in our run, as batches_main.cc prints it."""
        name = CENTRALISED_NAME if experiment.clients == 1 else TRAINERS_NAME
        settings = [f"{key}={value}" for key, value in self._settings(experiment, seed).items()]
        return checked([self.programs.batches, experiment.dataset.run, self.programs.base, self.train, name, experiment.clients,
                        experiment.partition, *settings])

    def _settings(self, experiment, seed):
        return {"seed": seed, "problem.max_length": MAX_LENGTH, "train.learning_rate": experiment.learning_rate,
                "train.base_dtype": "float32", "schedule.0.rounds": experiment.rounds}

    def _train_centralised(self, experiment, seed):
        name = experiment.cell_name("ours", seed)
        output = self.programs.run_client(
            "train", experiment.dataset.run, self.cells.folder / f"{name}.adapter", "--data", self.train, "--eval-data", self.test,
            "--threads", self.threads, *setting_options(self._settings(experiment, seed)))
        rows = [{"round": int(number), "loss": float(loss), "accuracy": float(accuracy), "seconds": float(seconds)}
                for number, loss, accuracy, _, seconds in TRAIN_LINE.findall(output)]
        self.cells.write(experiment, seed, rows)

    def _federate(self, experiment, seed):
        settings = self._settings(experiment, seed) | {
            "schedule.0.participation.cohort": experiment.clients,
            "schedule.0.participation.min_clients": experiment.clients,
            "schedule.0.participation.deadline_s": 7200,  # however busy the machine is, everybody is in
            "evaluation.deadline_s": 7200, "evaluation.min_evaluators": 1}
        folder = self.cells.folder / experiment.cell_name("ours", seed)
        with Federation(self.programs, experiment.dataset.run, folder, settings) as federation:
            federation.join(TRAINERS_NAME, self.train, "--virtual-clients", experiment.clients, "--partition",
                            experiment.partition, "--threads", self.threads)
            federation.join("evaluator", self.test, "--role", "evaluator", "--threads", self.threads)
            federation.run()
        self.cells.write(experiment, seed, federation_rows(federation.rounds(), federation.peak_kib))
        shutil.rmtree(federation.state)


def federation_rows(rounds, peak_kib):
    """A cell of lines of rounds.jsonl; round 0 is the start, before any training."""
    return [{"round": line["round"], "loss": line["train_loss"], "accuracy": line["eval_accuracy"],
             "seconds": line["seconds"], "bytes_up": line["bytes_up"], "bytes_down": line["bytes_down"],
             "coordinator_peak_mib": round(peak_kib / 1024, 1)} for line in rounds if line["round"] > 0]


def percent(value):
    return "     -" if value is None else f"{100 * value:6.2f}"


def mean_accuracies(cells, experiment, side, seeds):
    """Per round, over the seeds that have it; None where none has."""
    out = []
    for at in range(experiment.rounds):
        found = [rows[at]["accuracy"] for seed in seeds if len(rows := cells.rows(experiment, side, seed)) > at]
        out.append(sum(found) / len(found) if found else None)
    return out


def print_table(ours, peft):
    """Accuracies per round and their largest difference, in points, which is returned."""
    print("| round | fedpeft |   peft | difference |\n| ----: | ------: | -----: | ---------: |")
    worst = 0
    for number, (left, right) in enumerate(zip(ours, peft, strict=True), start=1):
        difference = None if left is None or right is None else 100 * (left - right)
        worst = max(worst, abs(difference or 0))
        shown = "-" if difference is None else f"{difference:+.2f}"
        print(f"| {number:5} |  {percent(left)} | {percent(right)} | {shown:>10} |")
    return worst


def report(cells, experiment, seeds):
    """Prints an experiment's table; returns what is wrong with it, missing cells too."""
    there = {side: [seed for seed in seeds if cells.rows(experiment, side, seed)] for side in SIDES}
    worst = 0
    if any(there.values()):
        print(f"\n{experiment.name}: test accuracy in %, mean of our seeds {there['ours']}, peft's {there['peft']}")
        worst = print_table(*(mean_accuracies(cells, experiment, side, seeds) for side in SIDES))
    wrong = [f"{experiment.cell_name(side, seed)}: is missing ({len(cells.rows(experiment, side, seed))} of "
             f"{experiment.rounds} rounds)"
             for side in experiment.sides for seed in seeds if not cells.complete(experiment, side, seed)]
    if experiment.tolerance is not None and worst > experiment.tolerance:
        wrong.append(f"{experiment.name}: means differ by {worst:.2f} points, want at most {experiment.tolerance:g}")
    return wrong + report_memory(cells, experiment, seeds)


def report_memory(cells, experiment, seeds):
    peaks = [row["coordinator_peak_mib"] for seed in seeds for row in cells.rows(experiment, "ours", seed)
             if "coordinator_peak_mib" in row]
    if not peaks:
        return []
    print(f"peak memory of the coordinator: {max(peaks)} MiB (limit {MEMORY_LIMIT_MIB})")
    if max(peaks) < MEMORY_LIMIT_MIB:
        return []
    return [f"{experiment.name}: the coordinator took {max(peaks)} MiB, want less than {MEMORY_LIMIT_MIB}"]


def report_gap(cells):
    """What label skew costs."""
    iid, skewed = EXPERIMENTS[0], EXPERIMENTS[2]
    for side in skewed.sides:
        ends = [mean_accuracies(cells, experiment, side, skewed.seeds)[-1] for experiment in (iid, skewed)]
        if None not in ends:
            print(f"gap of {skewed.partition}, {side}: {100 * (ends[0] - ends[1]):.2f} points "
                  f"after round {skewed.rounds}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SIDES, help="compute cells of this side alone")
    parser.add_argument("--seeds", help="comma-separated (default: each experiment's)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every experiment")
    which.add_argument("--experiments", nargs="+", choices=[e.name for e in EXPERIMENTS], metavar="NAME", default=[],
                       help="these experiments, whole")
    parser.add_argument("--report", action="store_true", help="compute nothing; a missing cell is no failure")
    parser.add_argument("--cells", type=pathlib.Path, default=ROOT / "build/experiments/banking77")
    parser.add_argument("--threads", type=int, default=min(os.cpu_count(), 4))
    return parser.parse_args()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a federation ends what it started
    args = arguments()
    chosen = [experiment for experiment in EXPERIMENTS if args.all or experiment.name in args.experiments] or [TEST]
    seeds = {e.name: tuple(map(int, args.seeds.split(","))) if args.seeds else e.seeds for e in chosen}
    cells = Cells(args.cells)
    if not args.report:
        if not (data := os.environ.get("FEDPEFT_DATA")):
            print("left out: FEDPEFT_DATA is not set, Banking77 and SST-2 are not there")
            return 77
        if (programs := Programs.of_environment()) is None:
            return 77
        args.cells.mkdir(parents=True, exist_ok=True)
        runner = Runner(cells, programs, pathlib.Path(data), args.threads)
        for experiment in chosen:
            for seed in seeds[experiment.name]:
                for side in experiment.sides:
                    if args.only in (None, side) and not cells.complete(experiment, side, seed):
                        runner.run(experiment, side, seed)

    wrong = [text for experiment in chosen for text in report(cells, experiment, seeds[experiment.name])]
    report_gap(cells)
    for text in wrong:
        print(text)
    if not wrong:
        print("fedavg parity: every experiment is within its tolerance")
    return 1 if any(not args.report or "is missing" not in text for text in wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
