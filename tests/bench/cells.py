"""Experiments in cells: one JSON file each, which is not computed again; and the data sets that they are on."""
import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/parity"))
from programs import Programs  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set, its rows under FEDPEFT_DATA."""
    name: str
    title: str
    train: str
    test: str
    length: int  # in rounds of the method's run

    def problem(self):
        """What a run for SST-2 has to change."""
        if self is SST2:
            return {}
        problem = yaml.safe_load((ROOT / f"configs/{self.name}.yaml").read_text(encoding="utf-8"))["problem"]
        return {f"problem.{key}": json.dumps(value) for key, value in problem.items()}


SST2 = Data("sst2", "SST-2", "sst2/train.tsv", "sst2/test.tsv", length=1)
BANKING77 = Data("banking77", "Banking77", "banking77/train.csv", "banking77/test.csv", length=2)
DATA = (SST2, BANKING77)


class Cells:
    """The folder of results."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, cell):
        return self.folder / f"{cell.name}.json"

    def read(self, cell):
        """None where it is missing."""
        path = self.path(cell)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def write(self, cell, result):
        new = self.path(cell).with_suffix(".new")
        new.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        new.replace(self.path(cell))

    @contextlib.contextmanager
    def claimed(self, cell):
        """Whether the cell is missing and nobody else computes it, which holds until the end."""
        with open(self.folder / f"{cell.name}.lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield not self.path(cell).exists()


def commit():
    """Of the checkout, for a cell to say where it comes from; `unknown` without git."""
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"],
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def last_accuracy(result):
    return [row["accuracy"] for row in result["rounds"] if row["accuracy"] is not None][-1]


def shown_accuracy(results):
    """Mean in %, and half the range."""
    values = [100 * last_accuracy(result) for result in results if result]
    if not values:
        return "-"
    spread = f" ± {(max(values) - min(values)) / 2:.2f}" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.2f}{spread}"


def compute(runner, cells, chosen):
    missing = [cell for cell in chosen if cells.read(cell) is None]
    print(f"{len(chosen) - len(missing)} of {len(chosen)} cells are there", flush=True)
    for number, cell in enumerate(missing, start=1):
        with cells.claimed(cell) as ours:
            if not ours:
                continue
            print(f"[{number}/{len(missing)}] {cell.name}", flush=True)
            result = runner.run(cell)
            print(f"[{number}/{len(missing)}] {cell.name}: accuracy {100 * last_accuracy(result):.2f} % in "
                  f"{result['seconds']:.0f} s", flush=True)


def make_parser(doc, name, methods, full):
    """Of what all experiments are told; their cells go to build/experiments/NAME."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help=full)
    parser.add_argument("--report", action="store_true", help="compute nothing; a missing cell is no failure")
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods, metavar="NAME")
    parser.add_argument("--data", nargs="+", choices=[data.name for data in DATA], metavar="NAME", help="sst2, banking77")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--cells", type=pathlib.Path, default=ROOT / "build/experiments" / name)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of a training process")
    return parser


def parse(parser, short_data):
    """What was given, `short_data` being the data sets where neither they nor --full are."""
    args = parser.parse_args()
    names = args.data or [data.name for data in (DATA if args.full else short_data)]
    args.data = [data for data in DATA if data.name in names]
    args.seeds = args.seeds or ([1, 2, 3] if args.full else [1])
    return args


def run_experiment(args, chosen, runner, report):
    """The exit status. runner(cells, programs, data folder, threads) computes cells, report(cells, args) prints what is
    there and returns what is wrong with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a federation ends what it started
    cells = Cells(args.cells)
    if not args.report:
        if not (data := os.environ.get("FEDPEFT_DATA")):
            print("FEDPEFT_DATA: got nothing, want the folder of public data sets (see tests/parity/README.md)")
            return 2
        if (programs := Programs.of_environment()) is None:
            return 2
        args.cells.mkdir(parents=True, exist_ok=True)
        compute(runner(cells, programs, pathlib.Path(data), args.threads), cells, chosen)
    wrong = report(cells, args)
    print()
    for text in wrong:
        print(text)
    return 1 if any(not args.report or "is missing" not in text for text in wrong) else 0
