#!/usr/bin/env python3
"""Federated PEFT methods beside each other, and each beside itself in one place: accuracy, parameters, bytes.

MiniLM; twenty virtual clients, five of them a round; label skew of Dirichlet 1.0 (mild) and 0.1 (most clients have one
class or few). Runs are configs/methods/METHOD.yaml, which are for SST-2; for Banking77 they get the problem of
configs/banking77.yaml and twice the rounds. `centralised` is `fedpeft-client train` of the same run with AdamW, on as
many examples as all clients together. A row says how many parameters are trained and sent, what a run sends, and
the test accuracy after the last round (with several seeds: mean ± half the range).

A cell is a method, a data set, a place and a seed: one JSON file in the folder of cells. What is there is not computed
again; a cell that was cut off is. Several of these may run at once: each takes cells that no other one has. The exit
status is 1 when cells are missing, or the last accuracy of one is hardly better than a guess.

Usage: FEDPEFT_DATA=DIR build/venv/bin/python tests/bench/methods.py [--full] [--report] [--methods lora full] …
"""
import dataclasses
import re
import shlex
import shutil
import sys
import time

import yaml

from cells import ROOT, SST2, Data, commit, last_accuracy, make_parser, parse, run_experiment, shown_accuracy
from programs import Federation, checked, setting_options  # in tests/parity, which cells has found

METHODS = ("lora", "adapter", "prefix", "prompt", "bitfit", "full")
CENTRALISED = "centralised"
PLACES = ("dirichlet:1.0", "dirichlet:0.1", CENTRALISED)
CLIENTS = 20
EVALUATIONS = 5  # in a run; the last one is reported
# In one place there is no server that scales the steps: AdamW, at these rates, on batches of this size.
CENTRALISED_BATCH = 16
CENTRALISED_RATES = {"lora": 2e-3, "adapter": 1e-3, "prefix": 3e-2, "prompt": 0.3, "bitfit": 3e-3, "full": 1e-4}
LEARNS_BY = 0.1  # a start is a guess (1 of 2, 1 of 77); the least that a cell has to gain on it
TRAIN_LINE = re.compile(r"^round (\d+)/\d+  loss ([\d.]+)  test accuracy ([\d.]+)  test loss ([\d.]+).*?  ([\d.]+) s",
                        re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Cell:
    method: str
    data: Data
    place: str
    seed: int

    @property
    def name(self):
        return f"{self.data.name}_{self.method}_{self.place.replace(':', '')}_seed{self.seed}"

    @property
    def run(self):
        return ROOT / f"configs/methods/{self.method}.yaml"

    def settings(self):
        """What the cell changes of the method's run."""
        run = yaml.safe_load(self.run.read_text(encoding="utf-8"))
        train, rounds = run["train"], run["schedule"][0]["rounds"] * self.data.length
        settings = {"seed": self.seed, **self.data.problem()}
        if self.place == CENTRALISED:  # a round of it is all that is between two evaluations
            examples = train["batch_size"] * train["steps"] * run["schedule"][0]["participation"]["cohort"] * rounds
            settings |= {"schedule.0.rounds": EVALUATIONS, "train.batch_size": CENTRALISED_BATCH,
                         "train.steps": examples // (CENTRALISED_BATCH * EVALUATIONS), "train.optimizer": "adamw",
                         "train.learning_rate": CENTRALISED_RATES[self.method]}
        else:  # however busy the machine is, everybody is in, and all is evaluated
            settings |= {"schedule.0.rounds": rounds, "evaluation.every": rounds // EVALUATIONS,
                         "evaluation.min_evaluators": 1, "evaluation.deadline_s": 7200,
                         "schedule.0.participation.deadline_s": 7200}
        return settings


class Runner:
    """Computes cells."""

    def __init__(self, cells, programs, data, threads):
        self.cells, self.programs, self.data, self.threads = cells, programs, data, threads

    def run(self, cell):
        started = time.monotonic()
        parameters, sent = self._sizes(cell)
        work = self.cells.folder / f"{cell.name}.run"
        shutil.rmtree(work, ignore_errors=True)  # of a cell that was cut off
        rounds = (self.train if cell.place == CENTRALISED else self._federate)(cell, work)
        shutil.rmtree(work)
        result = {
            "method": cell.method, "data": cell.data.name, "place": cell.place, "seed": cell.seed, "commit": commit(),
            "command": shlex.join(["tests/bench/methods.py", "--data", cell.data.name, "--methods", cell.method, "--only",
                                   cell.place, "--seeds", str(cell.seed), "--threads", str(self.threads)]),
            "settings": cell.settings(), "trained_parameters": parameters, "sent_parameters": sent,
            "bytes_up": sum(row.get("bytes_up", 0) for row in rounds),
            "bytes_down": sum(row.get("bytes_down", 0) for row in rounds),
            "seconds": round(time.monotonic() - started, 1), "rounds": rounds}
        self.cells.write(cell, result)
        return result

    def _sizes(self, cell):
        """Parameters that are trained, and how many of them a client sends a round."""
        output = checked([self.programs.server, "check", cell.run, *setting_options(cell.settings())])
        trained = re.search(r"layout .* (\d+) parameters", output)[1]
        sent = re.search(r"an update +(\d+) bytes", output)[1]
        return int(trained), int(sent) // 4

    def train(self, cell, work):
        output = self.programs.run_client("train", cell.run, work, "--data", self.data / cell.data.train, "--eval-data",
                                          self.data / cell.data.test, "--threads", self.threads,
                                          *setting_options(cell.settings()))
        return [{"round": int(number), "loss": float(loss), "accuracy": float(accuracy), "seconds": float(seconds)}
                for number, loss, accuracy, _, seconds in TRAIN_LINE.findall(output)]

    def _federate(self, cell, work):
        with Federation(self.programs, cell.run, work, cell.settings()) as federation:
            federation.join("trainers", self.data / cell.data.train, "--virtual-clients", CLIENTS, "--partition",
                            cell.place, "--threads", self.threads)
            federation.join("evaluator", self.data / cell.data.test, "--role", "evaluator", "--threads", self.threads)
            federation.run()
        return [{"round": line["round"], "loss": line["train_loss"], "accuracy": line.get("eval_accuracy"),
                 "seconds": line["seconds"], "bytes_up": line["bytes_up"], "bytes_down": line["bytes_down"]}
                for line in federation.rounds()]


def report(cells, args):
    """Prints the tables; returns what is wrong with the cells, missing ones too."""
    wrong = []
    for data in args.data:
        seeds = args.seeds
        print(f"\n{data.title}, seeds {', '.join(map(str, seeds))}: test accuracy in %\n")
        print(f"| method | parameters | MB up | MB down | {' | '.join(args.only)} |")
        print(f"| --- | ---: | ---: | ---: | {' | '.join('---:' for _ in args.only)} |")
        for method in args.methods:
            rows = {place: [cells.read(Cell(method, data, place, seed)) for seed in seeds] for place in args.only}
            print_row(method, rows)
            wrong += [text for place in args.only for seed, result in zip(seeds, rows[place], strict=True)
                      if (text := complaint(Cell(method, data, place, seed), result))]
    return wrong


def print_row(method, rows):
    federated = [result for place, results in rows.items() if place != CENTRALISED for result in results if result]
    anywhere = [result for results in rows.values() for result in results if result]
    parameters = f"{anywhere[0]['trained_parameters']:,}" if anywhere else "-"
    up, down = (f"{federated[0][key] / 1e6:,.1f}" if federated else "-" for key in ("bytes_up", "bytes_down"))
    print(f"| {method} | {parameters} | {up} | {down} | {' | '.join(map(shown_accuracy, rows.values()))} |")


def complaint(cell, result):
    if result is None:
        return f"{cell.name}: is missing"
    start = 1 / (2 if cell.data is SST2 else 77)
    if last_accuracy(result) < start + LEARNS_BY:
        return f"{cell.name}: got accuracy {last_accuracy(result):.4f}, want {LEARNS_BY} more than a guess's {start:.4f}"
    return None


def main():
    parser = make_parser(__doc__, "methods", METHODS, full="Banking77 too, and seeds 1, 2 and 3")
    parser.add_argument("--only", nargs="+", choices=PLACES, default=PLACES, metavar="PLACE", help=", ".join(PLACES))
    args = parse(parser, short_data=(SST2,))
    chosen = [Cell(method, data_set, place, seed) for data_set in args.data for seed in args.seeds for place in args.only
              for method in args.methods]
    return run_experiment(args, chosen, Runner, report)


if __name__ == "__main__":
    sys.exit(main())
