#!/usr/bin/env python3
"""What a step of training under example-level privacy takes: beside a plain step, and beside `opacus`, which does the
same work on `transformers` + `peft`. LoRA of rank 8 on query and value, a classifier of 77 classes, batches of 32 texts
as they come, AdamW, one thread.

All four take turns on each batch, and seconds are of processor time, so that a busy machine disturbs them little and
alike; printed are medians of seconds and of the ratios within a turn. FEDPEFT_DATA is the folder with the data sets (banking77), FEDPEFT_BASE the base.

Usage: FEDPEFT_DATA=DIR FEDPEFT_BASE=build/base/minilm build/venv/bin/python tests/bench/example_level_bench.py \\
           --binary build/release/tests/bench/example_level_bench
"""
import argparse
import csv
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "parity"))
from model_cells import quiet_torch  # noqa: E402

BATCH, LABELS, LONGEST = 32, 77, 128


def read_batches(data, base, count):
    with open(pathlib.Path(data) / "banking77/train.csv", encoding="utf-8", newline="") as handle:
        rows = [(row["text"], row["category"]) for row in csv.DictReader(handle)]
    labels = {name: i for i, name in enumerate(sorted({label for _, label in rows}))}
    tokenizer = Tokenizer.from_file(str(pathlib.Path(base) / "tokenizer.json"))
    tokenizer.no_padding()
    random.Random(1).shuffle(rows)
    rows = [dict(ids=tokenizer.encode(text).ids[:LONGEST], label=labels[label]) for text, label in rows[:count * BATCH]]
    return [rows[at:at + BATCH] for at in range(0, len(rows), BATCH)]


class Ours:
    def __init__(self, binary, base, batches, folder):
        sets = pathlib.Path(folder) / "sets.json"
        sets.write_text(json.dumps(batches))
        self.process = subprocess.Popen([binary, base, sets, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self, kind, index):
        self.process.stdin.write(f"{kind} {index}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Theirs:
    def __init__(self, base, batches, private):
        model = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=LABELS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.0,
                                                 target_modules=["query", "value"])).train()
        self.batches, self.model = batches, GradSampleModule(model, strict=False) if private else model
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
        if private:
            self.optimizer = DPOptimizer(self.optimizer, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=BATCH)

    def step(self, index):
        rows = self.batches[index]
        began = time.process_time()
        width = max(len(row["ids"]) for row in rows)
        ids = torch.tensor([row["ids"] + [0] * (width - len(row["ids"])) for row in rows])
        mask = torch.tensor([[1] * len(row["ids"]) + [0] * (width - len(row["ids"])) for row in rows])
        logits = self.model(input_ids=ids, attention_mask=mask).logits
        self.optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, torch.tensor([row["label"] for row in rows])).backward()
        self.optimizer.step()
        return time.process_time() - began


def main():
    quiet_torch(threads=1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--data", default=os.environ.get("FEDPEFT_DATA"), required="FEDPEFT_DATA" not in os.environ)
    parser.add_argument("--base", default=os.environ.get("FEDPEFT_BASE"), required="FEDPEFT_BASE" not in os.environ)
    parser.add_argument("--turns", type=int, default=15)
    args = parser.parse_args()
    batches = read_batches(args.data, args.base, args.turns)
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(args.binary, args.base, batches, folder)
        plain, private = (Theirs(args.base, batches, kind) for kind in (False, True))
        steps = {"ours, plain": lambda i: ours.step("plain", i), "ours, private": lambda i: ours.step("private", i),
                 "theirs, plain": plain.step, "theirs, opacus": private.step}
        for step in steps.values():
            step(0)  # the first is slower
        turns = [{name: step(i) for name, step in steps.items()} for i in range(args.turns)]
        ours.process.stdin.close()
        ours.process.wait()
    tokens = sum(len(row["ids"]) for batch in batches for row in batch) / len(batches)
    print(f"{args.turns} turns, {BATCH} texts of {tokens / BATCH:.1f} tokens; load {os.getloadavg()[0]:.1f}")
    for name in steps:
        print(f"{name:16}{statistics.median(turn[name] for turn in turns):8.3f} s")
    for over, under in (("ours, private", "ours, plain"), ("theirs, opacus", "theirs, plain"),
                        ("theirs, opacus", "ours, private")):
        ratio = statistics.median(turn[over] / turn[under] for turn in turns)
        print(f"{over} / {under}: {ratio:.2f}")


if __name__ == "__main__":
    main()
