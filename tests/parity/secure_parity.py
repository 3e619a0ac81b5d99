#!/usr/bin/env python3
"""A run under secure aggregation gives what it gives in the clear, but for the rounding of values.

MiniLM on Banking77, five clients with uniform weights, 32 bits an element; LoRA, adapters, prefix, prompt. After the first
round the mean updates of both runs, as vectors, differ by at most 1e-5 relative, and no value of theirs by more than a
step of the grid; after the last one the exported adapters predict the same label for at least 99 % of the test rows.
"""
# parity: timeout=600
import csv
import os
import pathlib
import random
import sys
import tempfile

import numpy
import yaml
from safetensors.numpy import load_file

from programs import Federation, Programs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CLIENTS = 5
BITS = 32
RANGE = 1.0
RELATIVE = 1e-5
AGREEMENT = 0.99
METHODS = {
    "lora": {"method": "lora", "lora": {"rank": 8, "alpha": 16, "target_modules": ["query", "value"]}},
    "adapter": {"method": "adapter", "adapter": {"size": 16}},
    "prefix": {"method": "prefix", "prefix": {"length": 8}},
    "prompt": {"method": "prompt", "prompt": {"length": 8}},
}


def write_rows(source, path, count, rng):
    with open(source, newline="", encoding="utf-8") as handle:
        header, *rows = list(csv.reader(handle))
    with open(path, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rng.sample(rows, min(count, len(rows)))])


def write_run(path, method, rounds, secure):
    run = yaml.safe_load((ROOT / "configs/banking77.yaml").read_text(encoding="utf-8"))
    run["name"] = f"secure-{method}"
    run["problem"]["max_length"] = 64
    run["peft"] = METHODS[method]
    run["schedule"] = [{"rounds": rounds, "participation": {"cohort": CLIENTS, "min_clients": CLIENTS},
                        "reducer": {"weights": "uniform"}}]
    run["train"]["base_dtype"] = "float32"
    run["evaluation"] = {"every": 0}
    if secure:
        run["secure_aggregation"] = {"mode": "pairwise", "bits": str(BITS), "range": RANGE}
    path.write_text(yaml.safe_dump(run, sort_keys=False), encoding="utf-8")


def federate(programs, folder, method, data, rounds, secure):
    """The state folder of the run."""
    folder.mkdir()
    write_run(folder / "run.yaml", method, rounds, secure)
    with Federation(programs, folder / "run.yaml", folder / "run", {}) as federation:
        federation.join("clients", data, "--virtual-clients", CLIENTS, "--threads", 1, "--state", folder / "clients")
        federation.run()
        threats = {line["threat"] for line in federation.rounds()[1:]}
        saturated = sum(line.get("saturated", 0) for line in federation.rounds())
    expected = "semi_malicious" if secure else "trusted"
    if threats != {expected} or saturated:
        raise RuntimeError(f"{method}: threats {threats}, {saturated} values saturated, want {expected} and none")
    return federation.state


def values(state, number):
    tensors = load_file(state / f"params/round-{number:06}.safetensors")
    return numpy.concatenate([tensors[name].ravel() for name in sorted(tensors) if not name.startswith("server_optimizer/")])


def predictions(programs, state, folder, data):
    programs.export(state, folder)
    lines = programs.run_client("predict", "--adapter", folder, "--data", data).splitlines()
    return [line.split("\t")[0] for line in lines]


def compare(programs, folder, method, train, test, rounds):
    """What differs too much, in words."""
    clear, secure = (federate(programs, folder / f"{method}-{side}", method, train, rounds, side == "secure")
                     for side in ("clear", "secure"))
    start = values(clear, 0)
    update, masked = (values(state, 1).astype(numpy.float64) - start for state in (clear, secure))
    relative = numpy.linalg.norm(masked - update) / numpy.linalg.norm(update)
    worst = numpy.abs(masked - update).max()
    level = (2 ** (BITS - 1) - 1) // CLIENTS
    step = 2.0 ** -numpy.floor(numpy.log2(level / RANGE))
    largest = max(numpy.abs(values(state, 1)).max() for state in (clear, secure))
    bound = step + numpy.spacing(largest, dtype=numpy.float32)  # parameters are float32
    said = [predictions(programs, state, folder / f"{method}-{side}-adapter", test)
            for state, side in ((clear, "clear"), (secure, "secure"))]
    agree = sum(a == b for a, b in zip(*said, strict=True)) / len(said[0])
    print(f"{method}: first update differs by {relative:.1e} relative, {worst:.1e} at most (bound {bound:.1e}); "
          f"{100 * agree:.1f} % of {len(said[0])} predictions agree after {rounds} rounds")
    wrong = []
    if not relative <= RELATIVE:
        wrong.append(f"{method}: first updates differ by {relative:.1e} relative, want at most {RELATIVE:g}")
    if not worst <= bound:
        wrong.append(f"{method}: a value of the first update differs by {worst:.1e}, want at most {bound:.1e}")
    if not agree >= AGREEMENT:
        wrong.append(f"{method}: {100 * agree:.1f} % of predictions agree, want at least {100 * AGREEMENT:g} %")
    return wrong


def main():
    if not (data := os.environ.get("FEDPEFT_DATA")):
        print("left out: FEDPEFT_DATA is not set, Banking77 is not there")
        return 77
    if (programs := Programs.of_environment()) is None:
        return 77
    full = bool(os.environ.get("FEDPEFT_FULL"))
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    methods = METHODS if full else [rng.choice(list(METHODS))]
    wrong = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        train, test = folder / "train.csv", folder / "test.csv"
        write_rows(pathlib.Path(data) / "banking77/train.csv", train, 2_500 if full else 600, rng)
        write_rows(pathlib.Path(data) / "banking77/test.csv", test, 3_080 if full else 300, rng)
        for method in methods:
            wrong += compare(programs, folder, method, train, test, 3 if full else 2)
    for text in wrong:
        print(text)
    if not wrong:
        print(f"secure parity: {', '.join(methods)} in the clear and under secure aggregation agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
