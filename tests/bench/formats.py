#!/usr/bin/env python3
"""What the number format of the base costs in accuracy: the same training in one place in float32 and narrower.

MiniLM and LoRA on Banking77, as in the centralised cells of methods.py; `train.base_dtype` differs, nothing else. A cell
is a format and a seed: one JSON file in the folder of cells. What is there is not computed again; a cell that was cut off
is. The exit status is 1 when cells are missing, or a format is more than half a point worse than float32 in means over
the seeds.

Usage: FEDPEFT_DATA=DIR build/venv/bin/python tests/bench/formats.py [--formats float32 int8] [--seeds 1 2 3] [--report]
"""
import dataclasses
import shlex
import shutil
import statistics
import sys
import time

import methods
from cells import BANKING77, commit, last_accuracy, make_parser, parse, run_experiment, shown_accuracy

FORMATS = ("float32", "bfloat16", "int8")
DEFAULT = ("float32", "int8")  # bfloat16 is slow on a processor without instructions for it
WORSE_BY = 0.005


@dataclasses.dataclass(frozen=True)
class Cell:
    format: str
    seed: int

    @property
    def name(self):
        return f"{self.format}_seed{self.seed}"

    @property
    def training(self):
        return methods.Cell("lora", BANKING77, methods.CENTRALISED, self.seed)

    @property
    def run(self):
        return self.training.run

    @property
    def data(self):
        return BANKING77

    def settings(self):
        return self.training.settings() | {"train.base_dtype": self.format}


class Runner(methods.Runner):
    def run(self, cell):
        started = time.monotonic()
        work = self.cells.folder / f"{cell.name}.run"
        shutil.rmtree(work, ignore_errors=True)  # of a cell that was cut off
        rounds = self.train(cell, work)
        shutil.rmtree(work)
        result = {
            "format": cell.format, "seed": cell.seed, "commit": commit(),
            "command": shlex.join(["tests/bench/formats.py", "--formats", cell.format, "--seeds", str(cell.seed),
                                   "--threads", str(self.threads)]),
            "settings": cell.settings(), "seconds": round(time.monotonic() - started, 1), "rounds": rounds}
        self.cells.write(cell, result)
        return result


def report(cells, args):
    """Prints the table; returns what is wrong with the cells, missing ones too."""
    results = {form: [cells.read(Cell(form, seed)) for seed in args.seeds] for form in args.formats}
    wrong = [f"{Cell(form, seed).name}: is missing" for form, of_seeds in results.items()
             for seed, result in zip(args.seeds, of_seeds, strict=True) if result is None]
    print("\n| format | test accuracy in % | mean loss of each fifth of the training |\n| --- | ---: | --- |")
    for form, of_seeds in results.items():
        there = [result for result in of_seeds if result]
        losses = zip(*[[row["loss"] for row in result["rounds"]] for result in there], strict=True)
        print(f"| {form} | {shown_accuracy(there)} | {', '.join(f'{statistics.mean(loss):.4f}' for loss in losses)} |")
    if wrong:
        return wrong
    means = {form: statistics.mean(map(last_accuracy, of_seeds)) for form, of_seeds in results.items()}
    return [f"{form}: mean accuracy {mean:.4f}, want at most {WORSE_BY} below float32's {means['float32']:.4f}"
            for form, mean in means.items() if "float32" in means and mean < means["float32"] - WORSE_BY]


def main():
    parser = make_parser(__doc__, "formats", ("lora",), full="all formats")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, metavar="NAME", help=", ".join(FORMATS))
    parser.set_defaults(seeds=[1, 2, 3])
    args = parse(parser, short_data=(BANKING77,))
    args.formats = args.formats or (FORMATS if args.full else DEFAULT)
    return run_experiment(args, [Cell(form, seed) for seed in args.seeds for form in args.formats], Runner, report)


if __name__ == "__main__":
    sys.exit(main())
