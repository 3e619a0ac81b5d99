#!/usr/bin/env python3
"""Speed of fedpeft's tokenizers beside the `tokenizers` package's, on one thread, in one run.

Each kind of tokenizer of tests/parity/tokenizer_kinds.py, trained on the texts, encodes all of them a few times; texts a
second of both, best of three, and their ratio are printed. FEDPEFT_DATA is the folder with the data sets.

Usage: FEDPEFT_DATA=DIR build/venv/bin/python tests/bench/tokenizer_bench.py --binary BUILD/tests/parity/fedpeft_tokenize
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "parity"))
from tokenizer_kinds import kinds  # noqa: E402
from tokenizer_parity import data_texts  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def ours(binary, path, texts, repeats):
    lines = "\n".join(json.dumps({"a": text}) for text in texts) + "\n"
    done = subprocess.run([binary, "--time", str(repeats), path], input=lines, capture_output=True, text=True, check=True)
    return float(re.match(r"(\d+) texts/s", done.stderr)[1])


def theirs(content, texts, repeats):
    tokenizer = Tokenizer.from_str(content)
    start = time.perf_counter()
    for _ in range(repeats):
        tokenizer.encode_batch_fast(texts)  # no offsets; in one call, so that Python counts for little
    return len(texts) * repeats / (time.perf_counter() - start)


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--data", default=os.environ.get("FEDPEFT_DATA"), required="FEDPEFT_DATA" not in os.environ)
    parser.add_argument("--texts", type=int, default=20000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    every = data_texts(args.data)
    texts = every[::max(1, len(every) // args.texts)]
    print(f"{len(texts)} texts, {sum(map(len, texts)) / len(texts):.0f} characters each\n{'':34}    ours  theirs  ratio")
    for name, content in kinds(texts[:5000], size=8000).items():
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as handle:
            handle.write(content)
            handle.flush()
            pairs = [(ours(args.binary, handle.name, texts, args.repeats), theirs(content, texts, args.repeats))
                     for _ in range(3)]
        mine, other = (max(column) for column in zip(*pairs))
        print(f"{name:34}{mine:8.0f}{other:8.0f}{mine / other:7.2f}", flush=True)


if __name__ == "__main__":
    main()
