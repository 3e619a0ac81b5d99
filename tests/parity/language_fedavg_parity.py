#!/usr/bin/env python3
"""Language models: federated tuning on real text reaches what the same FedAvg loop with `peft` does.

A small Llama reads WikiText-2 for some minutes (make_small_llama.py). `shakespeare`: eight clients with whole speakers
learn the plays; `gsm8k`: eight clients learn to answer, as instructions, the questions left out of the loss. Held-out
perplexity falls below 0.8 of the base's, stays within 2 % of the loop's (language_fedavg_peft.py: the same start, the
same examples in the same order) in every round, and the gap to tuning in one place is shown.

What is in --folder is not computed again. About half an hour altogether on two quiet cores.
"""
# parity: full
# parity: timeout=3600
import argparse
import csv
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from programs import Federation, Programs, checked

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
CLIENTS = 8
TOLERANCE = 0.02
WELL_BELOW = 0.8
TRAINERS = "trainers"
HELD_OUT = 10  # one speech, or question, in so many
CENTRALISED_LINE = re.compile(r"^round (\d+)/\d+ .*?perplexity ([\d.]+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Experiment:
    name: str
    partition: str
    rounds: int
    learning_rate: float
    max_length: int = 256
    rows: int | None = None  # of the training data, so many
    prompt: str = ""
    response: str = "{text}"


EXPERIMENTS = {e.name: e for e in (
    Experiment("shakespeare", "column:speaker", rounds=4, learning_rate=5e-3),
    Experiment("gsm8k", "iid", rounds=3, learning_rate=5e-3, max_length=384, rows=1500,
               prompt="Question: {question}\nAnswer:", response=" {answer}</s>"),
)}

RUN = """
name: {name}
{base}
problem:
  type: language_modelling
  max_length: {max_length}
  prompt: {prompt}
  response: {response}
peft:
  lora: {{rank: 8, alpha: 16, target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]}}
train: {{learning_rate: {learning_rate}, batch_size: 4, base_dtype: float32}}
schedule:
  - rounds: {rounds}
    participation: {{cohort: {clients}, min_clients: {clients}, deadline_s: 7200}}
evaluation: {{min_evaluators: 1, deadline_s: 7200}}
"""


def make_shakespeare(source, folder):
    """Speeches: CSV of speaker and text. One in HELD_OUT is held out."""
    speeches = []
    for block in source.read_text(encoding="utf-8").split("\n\n"):
        speaker, _, text = block.strip().partition(":\n")
        if text:
            speeches.append((speaker, text))
    for name, keep in (("train.csv", lambda i: i % HELD_OUT), ("test.csv", lambda i: not i % HELD_OUT)):
        with open(folder / name, "w", newline="", encoding="utf-8") as handle:
            rows = csv.writer(handle)
            rows.writerow(["speaker", "text"])
            rows.writerows(speech for i, speech in enumerate(speeches) if keep(i))
    return folder / "train.csv", folder / "test.csv"


def make_gsm8k(source, folder, rows):
    """The first rows to learn from; one in HELD_OUT of the test set."""
    for name, keep in (("train.jsonl", lambda i: i < rows), ("test.jsonl", lambda i: not i % HELD_OUT)):
        lines = (source / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / name).write_text("".join(line for i, line in enumerate(lines) if keep(i)), encoding="utf-8")
    return folder / "train.jsonl", folder / "test.jsonl"


class Bench:
    """One experiment in its folder."""

    def __init__(self, experiment, programs, data, folder, threads):
        self.experiment, self.programs, self.threads = experiment, programs, threads
        self.folder = folder / experiment.name
        self.folder.mkdir(parents=True, exist_ok=True)
        if experiment.name == "gsm8k":
            self.train, self.test = make_gsm8k(data / "gsm8k", self.folder, experiment.rows)
        else:
            self.train, self.test = make_shakespeare(data / "shakespeare/input.txt", self.folder)
        self.run = self.folder / "run.yaml"
        self.run.write_text(RUN.format(
            name=experiment.name, base=self._base_block(), max_length=self.experiment.max_length, prompt=json.dumps(experiment.prompt),
            response=json.dumps(experiment.response), learning_rate=experiment.learning_rate, rounds=experiment.rounds,
            clients=CLIENTS), encoding="utf-8")

    def _base_block(self):
        text = checked([self.programs.client, "inspect", "--base", self.programs.base])
        return re.search(r"^base:\n(?:[ ].*\n)+", text, re.MULTILINE)[0]

    def ours(self):
        """Perplexities, of the start and of each round."""
        with Federation(self.programs, self.run, self.folder / "ours.run", {}) as federation:
            federation.join(TRAINERS, self.train, "--virtual-clients", CLIENTS, "--partition",
                            self.experiment.partition, "--threads", self.threads)
            federation.join("evaluator", self.test, "--role", "evaluator", "--threads", self.threads)
            federation.run()
            return [line["eval_perplexity"] for line in federation.rounds()]

    def peft(self):
        start, batches, out = (self.folder / name for name in ("start", "batches", "peft.rows"))
        with Federation(self.programs, self.run, self.folder / "start.run", {}) as federation:
            federation.wait_until_listening()
        shutil.rmtree(start, ignore_errors=True)
        self.programs.export(self.folder / "start.run/state", start, "--round", 0)
        batches.write_text(checked([self.programs.batches, self.run, self.programs.base, self.train, TRAINERS, CLIENTS,
                                    self.experiment.partition]), encoding="utf-8")
        command = [sys.executable, FOLDER / "language_fedavg_peft.py", "--base", self.programs.base, "--start", start,
                   "--batches", batches, "--train", self.train, "--test", self.test, "--out", out, "--lr",
                   self.experiment.learning_rate, "--threads", self.threads, "--max-length", self.experiment.max_length, "--prompt",
                   self.experiment.prompt, "--response", self.experiment.response]
        subprocess.run(list(map(str, command)), check=True, env=os.environ | {"OMP_WAIT_POLICY": "passive"})
        return [json.loads(line)["perplexity"] for line in out.read_text(encoding="utf-8").splitlines()]

    def centralised(self):
        text = self.programs.run_client("train", self.run, self.folder / "centralised.adapter", "--data", self.train,
                                        "--eval-data", self.test, "--threads", self.threads)
        return [float(value) for _, value in CENTRALISED_LINE.findall(text)]

    def kept(self, name):
        path = self.folder / f"{name}.json"
        if not path.exists():
            print(f"running {self.experiment.name}, {name}", flush=True)
            path.write_text(json.dumps(getattr(self, name)()), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))


def report(name, ours, peft, centralised):
    """Prints the table; returns what is wrong."""
    print(f"\n{name}: held-out perplexity\n| round | fedpeft | peft | difference | centralised |\n"
          "| ---: | ---: | ---: | ---: | ---: |")
    worst = 0.0
    for number, (left, right) in enumerate(zip(ours, peft, strict=True)):
        worst = max(worst, abs(left / right - 1))
        alone = f"{centralised[number - 1]:.2f}" if number else ""
        print(f"| {number} | {left:.2f} | {right:.2f} | {100 * (left / right - 1):+.2f} % | {alone} |")
    print(f"gap to tuning in one place: {100 * (ours[-1] / centralised[-1] - 1):+.1f} %")
    wrong = []
    if worst > TOLERANCE:
        wrong.append(f"{name}: perplexities differ by {100 * worst:.2f} %, want at most {100 * TOLERANCE:g} %")
    if ours[-1] > WELL_BELOW * ours[0]:
        wrong.append(f"{name}: perplexity {ours[-1]:.2f}, want below {WELL_BELOW} of the base's {ours[0]:.2f}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    parser.add_argument("--folder", type=pathlib.Path, default=ROOT / "build/experiments/language")
    parser.add_argument("--threads", type=int, default=min(os.cpu_count(), 4))
    args = parser.parse_args()
    if not (data := os.environ.get("FEDPEFT_DATA")):
        print("left out: FEDPEFT_DATA is not set, WikiText-2, Shakespeare and GSM8K are not there")
        return 77
    if (programs := Programs.of_environment()) is None:
        return 77
    data, programs.base = pathlib.Path(data), args.folder / "base"
    if not (programs.base / "tokenizer.json").exists():
        subprocess.run([sys.executable, FOLDER / "make_small_llama.py", "--text", data / "wikitext2/valid.txt", "--out",
                        programs.base], check=True)
    wrong = []
    for name in args.experiments:
        bench = Bench(EXPERIMENTS[name], programs, data, args.folder, args.threads)
        wrong += report(name, *(bench.kept(side) for side in ("ours", "peft", "centralised")))
    for text in wrong:
        print(text)
    if not wrong:
        print("language fedavg parity: every experiment is within its tolerance")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
