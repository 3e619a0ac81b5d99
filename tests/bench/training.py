#!/usr/bin/env python3
"""Training and evaluation beside the peers, in one run: the same texts, batch by batch in turns, one process a
contender, medians and ratios within a turn. Prints a table and writes build/bench/training.json.

Rates are real tokens a second, padding not counted. A row counts only where the losses of both sides fall alike
(averages of the last quarter of the steps within --tolerance). FEDPEFT_DATA is the folder with the data sets
(banking77), FEDPEFT_BASE the base, FEDPEFT_BUILD the release build. The adapters row wants scripts/setup.sh --adapters.

Usage: FEDPEFT_DATA=DIR build/venv/bin/python tests/bench/training.py [--rows lora evaluation …] [--quick]
"""
import argparse
import csv
import dataclasses
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BATCH = 32
LONGEST = 512
LLAMA_VOCAB = 8192
ROOFS = ("roof", "roof_float32")  # commands of training_bench


@dataclasses.dataclass(frozen=True)
class Peer:
    """Who does the same work. `grouped`: its batches are of texts of like length, which it trains on in another order."""
    label: str
    goal: float  # how many times our rate is to be its
    autocast: bool = False
    grouped: bool = False
    venv: str = "venv"


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    method: str
    peers: tuple
    texts: str = "banking77"
    command: str = "step"
    private: bool = False
    over_plain: float = 0  # the most that a private step may take, over a plain one of ours
    roof: float = 0  # the goal for our share of the roof; 0: none
    memory: float = 0  # MiB, the goal for our peak; 0: none
    batch: int = BATCH
    epochs: int = 1


def short(goal):
    return (Peer("transformers + peft, float32", goal), Peer("the same, bfloat16 autocast", goal, autocast=True))


ROWS = (
    Row("lora", "LoRA, short texts", "lora",
        (*short(5), Peer("the same, by length, float32", 2, grouped=True),
         Peer("the same, by length, bfloat16", 2, autocast=True, grouped=True)), roof=0.6, memory=400),
    Row("long", "LoRA, 512 tokens", "lora", (Peer("transformers + peft, float32", 1.5),
                                             Peer("the same, bfloat16 autocast", 1.5, autocast=True)),
        texts="long", roof=0.6, batch=4),
    Row("language", "LoRA, a Llama of 28 M parameters, 1,024 tokens", "lora",
        (Peer("transformers + peft, float32", 1.5), Peer("the same, bfloat16 autocast", 1.5, autocast=True)),
        texts="language", roof=0.6, batch=2),
    Row("adapter", "adapters, short texts", "adapter", (Peer("transformers + adapters, float32", 3, venv="venv-adapters"),)),
    Row("prefix", "prefix, short texts", "prefix", (Peer("transformers + peft, float32", 3),)),
    Row("prompt", "prompt, short texts", "prompt", (Peer("transformers + peft, float32", 3),)),
    Row("bitfit", "BitFit, short texts", "bitfit", (Peer("transformers, float32", 3),)),
    Row("head", "the head alone, short texts, five epochs", "head", short(10), epochs=5),
    Row("top2", "LoRA in the top two layers, short texts, five epochs", "lora_top2", short(10), epochs=5),
    Row("evaluation", "evaluation, short texts", "lora",
        (Peer("transformers + peft, float32", 4), Peer("the same, bfloat16 autocast", 4, autocast=True)), command="evaluate"),
    Row("example_level", "example-level privacy, short texts", "lora", (Peer("opacus, float32", 1),), private=True,
        over_plain=2.5),
)


class Contender:
    """A process that takes steps when it is told to."""

    def __init__(self, command, job, folder):
        path = pathlib.Path(folder) / f"job-{id(self)}.json"
        path.write_text(json.dumps(job))
        self.command = command
        self.began = time.perf_counter()
        self.process = subprocess.Popen([*map(str, command), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env=os.environ | {"OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"})
        self.first = None  # seconds from the start to the first step's end
        self.tokens = [sum(len(row["ids"]) for row in batch) for batch in job["batches"]]

    def do(self, command, batch):
        self.process.stdin.write(f"{command} {batch}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args}: ended")
        if self.first is None:
            self.first = time.perf_counter() - self.began
        return json.loads(line)

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def small_llama(folder):
    """Of random weights: what a step takes does not depend on them."""
    if not (folder / "model.safetensors").exists():
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(1)
        LlamaForCausalLM(LlamaConfig(
            vocab_size=LLAMA_VOCAB, hidden_size=512, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
            intermediate_size=1408, max_position_embeddings=1024, tie_word_embeddings=True)).save_pretrained(folder)
    return folder


class Texts:
    """Batches of a data set's examples."""

    def __init__(self, data, base):
        self.data = pathlib.Path(data)
        self.tokenizer = Tokenizer.from_file(str(pathlib.Path(base) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def rows(self, row, count):
        if row.texts == "language":
            draw = random.Random(1)
            return [{"ids": [draw.randrange(LLAMA_VOCAB) for _ in range(1024)]} for _ in range(count)], 0
        with open(self.data / "banking77/train.csv", encoding="utf-8", newline="") as handle:
            rows = [(line["text"], line["category"]) for line in csv.DictReader(handle)]
        labels = {name: i for i, name in enumerate(sorted({label for _, label in rows}))}
        random.Random(1).shuffle(rows)
        examples = [{"ids": self.tokenizer.encode(text).ids, "label": labels[label]} for text, label in rows]
        if row.texts == "long":
            examples = self._joined(examples, count)
        return examples[:count], len(labels)

    @staticmethod
    def _joined(examples, count):
        """Texts of LONGEST tokens, of as many short ones."""
        joined, at = [], 0
        for _ in range(count):
            ids, label = [], examples[at % len(examples)]["label"]
            while len(ids) < LONGEST:
                ids += examples[at % len(examples)]["ids"]
                at += 1
            joined.append({"ids": ids[:LONGEST], "label": label})
        return joined


def batches_of(rows, size, grouped):
    if grouped:
        rows = sorted(rows, key=lambda row: len(row["ids"]))
    batches = [rows[at:at + size] for at in range(0, len(rows), size)]
    if grouped:
        random.Random(2).shuffle(batches)
    return batches


class Bench:
    def __init__(self, args):
        self.args, self.texts = args, Texts(args.data, args.base)

    def job(self, row, rows, labels, peer=None):
        language = row.texts == "language"
        base = small_llama(ROOT / "build/bench/llama") if language else self.args.base
        return {"base": str(base), "method": row.method, "labels": labels, "language": language,
                "private": row.private, "threads": self.args.threads, "dtype": self.args.dtype, "rate": 1e-3,
                "autocast": bool(peer and peer.autocast),
                "batches": batches_of(rows, row.batch, bool(peer and peer.grouped))}

    def run(self, row):
        turns = self.args.turns
        rows, labels = self.texts.rows(row, (turns + 1) * row.batch)
        with tempfile.TemporaryDirectory() as folder:
            ours = Contender([self.args.build / "tests/bench/training_bench"], self.job(row, rows, labels), folder)
            theirs = {peer: Contender([ROOT / f"build/{peer.venv}/bin/python", ROOT / "tests/bench/training_peer.py"],
                                      self.job(row, rows, labels, peer), folder) for peer in row.peers}
            everybody = {None: ours} | theirs
            if row.over_plain:
                everybody["plain"] = Contender(ours.command, self.job(dataclasses.replace(row, private=False), rows, labels),
                                               folder)
            for contender in everybody.values():
                contender.do(row.command, turns)  # the first is slower: on a batch that is not seen again
            epochs = [[{who: contender.do(row.command, turn) for who, contender in everybody.items()} |
                       ({roof: ours.do(roof, turn) for roof in ROOFS} if row.roof else {}) for turn in range(turns)]
                      for _ in range(row.epochs)]
            result = self.summary(row, [together(steps) for steps in zip(*epochs)], ours, theirs)
            for contender in everybody.values():
                contender.end()
        return result

    def summary(self, row, turns, ours, theirs):
        clock = "cpu" if self.args.cpu_time else "seconds"
        everybody = {None: ours} | theirs

        def rates(who):
            tokens = everybody[who].tokens
            return [row.epochs * tokens[i] / turn[who][clock] for i, turn in enumerate(turns)]

        def late_loss(who):
            return statistics.mean(turn[who]["loss"] for turn in turns[-max(1, len(turns) // 4):])

        result = {"name": row.name, "title": row.title, "tokens_a_text": round(
            sum(ours.tokens) / len(ours.tokens) / row.batch, 1), "ours": spread(rates(None)), "peers": [],
            "dtype": turns[0][None]["dtype"],
            "first_step_s": round(ours.first, 2), "peak_mib": round(ours.peak_mib())}
        for peer, contender in theirs.items():
            pairs = [mine / yours for mine, yours in zip(rates(None), rates(peer))]
            alike = row.command != "step" or row.private or abs(late_loss(None) / late_loss(peer) - 1) <= self.args.tolerance
            result["peers"].append({
                "label": peer.label, "rate": spread(rates(peer)), "ratio": spread(pairs), "goal": peer.goal,
                "losses_alike": alike, "first_step_s": round(contender.first, 2), "peak_mib": round(contender.peak_mib())})
        if row.roof:
            result["roof"] = {"goal": row.roof} | {
                roof: spread([turn[roof][clock] / turn[None][clock] for turn in turns]) for roof in ROOFS}
        if row.over_plain:
            result["over_plain"] = {"times": spread([turn[None][clock] / turn["plain"][clock] for turn in turns]),
                                    "goal": row.over_plain}
        if row.memory:
            result["memory_goal_mib"] = row.memory
        return result


def together(steps):
    """A batch's steps in all epochs: what they took, and the last one's loss."""
    return {who: {clock: sum(step[who][clock] for step in steps) for clock in ("seconds", "cpu")} |
            {key: value for key, value in steps[-1][who].items() if key not in ("seconds", "cpu")} for who in steps[0]}


def spread(values):
    """The median, and between what nine of ten are."""
    ordered = sorted(values)
    cut = len(ordered) // 20
    kept = ordered[cut:len(ordered) - cut]
    return {"median": statistics.median(ordered), "low": kept[0], "high": kept[-1]}


def print_row(result):
    ours = result["ours"]
    print(f"\n{result['title']} ({result['tokens_a_text']} tokens a text): {ours['median']:,.0f} tokens/s in {result['dtype']} "
          f"({ours['low']:,.0f} to {ours['high']:,.0f}), peak {result['peak_mib']} MiB, "
          f"first step after {result['first_step_s']} s")
    for peer in result["peers"]:
        ratio = peer["ratio"]
        verdict = "losses differ: does not count" if not peer["losses_alike"] else (
            "reached" if ratio["median"] >= peer["goal"] else "short")
        print(f"  {peer['label']:38}{peer['rate']['median']:10,.0f} tokens/s  x {ratio['median']:5.2f} "
              f"({ratio['low']:.2f} to {ratio['high']:.2f}), goal {peer['goal']:g}: {verdict}; "
              f"peak {peer['peak_mib']} MiB, first step after {peer['first_step_s']} s")
    if "over_plain" in result:
        times, goal = result["over_plain"]["times"]["median"], result["over_plain"]["goal"]
        print(f"  over a plain step of ours: {times:.2f}, goal at most {goal:g}: {'reached' if times <= goal else 'short'}")
    if "memory_goal_mib" in result:
        print(f"  peak memory: {result['peak_mib']} MiB, goal {result['memory_goal_mib']:g}: "
              f"{'reached' if result['peak_mib'] <= result['memory_goal_mib'] else 'short'}")
    if "roof" in result:
        own, exact = (result["roof"][roof]["median"] for roof in ROOFS)
        print(f"  share of the roof of the matrix products: {own:.0%} in {result['dtype']}, {exact:.0%} in float32, goal "
              f"{result['roof']['goal']:.0%}: {'reached' if own >= result['roof']['goal'] else 'short'}")


def main():
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("FEDPEFT_DATA"), required="FEDPEFT_DATA" not in os.environ)
    parser.add_argument("--base", type=pathlib.Path, default=os.environ.get("FEDPEFT_BASE", ROOT / "build/base/minilm"))
    parser.add_argument("--build", type=pathlib.Path, default=os.environ.get("FEDPEFT_BUILD", ROOT / "build/release"))
    parser.add_argument("--rows", nargs="+", choices=names, default=names)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "int8"), default="auto",
                        help="ours, of the base; auto: what is fastest (default)")
    parser.add_argument("--quick", action="store_true", help="8 turns a row")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of processor time, on a machine that is busy")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of mean losses (default 0.1)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/bench/training.json")
    args = parser.parse_args()
    if args.quick:
        args.turns = 8
    print(f"training: {args.turns} turns a row, {args.threads} threads, load {os.getloadavg()[0]:.1f}, "
          f"{'processor time' if args.cpu_time else 'wall time'}", flush=True)
    bench, results = Bench(args), []
    for row in ROWS:
        if row.name not in args.rows:
            continue
        missing = {peer.venv for peer in row.peers if not (ROOT / f"build/{peer.venv}/bin/python").exists()}
        if missing:
            print(f"\n{row.title}: left out, build/{missing.pop()} is not there (scripts/setup.sh --adapters)")
            continue
        results.append(bench.run(row))
        print_row(results[-1])
        sys.stdout.flush()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"threads": args.threads, "turns": args.turns, "rows": results}, indent=1) + "\n",
                        encoding="utf-8")


if __name__ == "__main__":
    main()
