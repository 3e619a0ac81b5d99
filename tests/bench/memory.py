#!/usr/bin/env python3
"""The memory forecast of `fedpeft-client inspect` beside the measured peak of `fedpeft-client train`.

MiniLM and a random Llama (8 layers of 384, 32,000 tokens, a head of its own); texts that are all longer than the run's
max_length; two steps and an evaluation. The last line has the worst ratios.

Usage: build/venv/bin/python tests/bench/memory.py [--build build/release] [--base build/base/minilm]
"""
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ENCODER_ALL = "query, key, value, attention.output.dense, intermediate.dense, output.dense"
DECODER_ALL = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
CLASSES, TEXT = "labels: [a, b]", "type: language_modelling"
# base, problem, targets, batch, length, dtype
ROWS = [
    ("minilm", CLASSES, "query, value", 2, 16, "float32"),
    ("minilm", CLASSES, "query, value", 32, 64, "float32"),
    ("minilm", CLASSES, "query, value", 32, 128, "float32"),
    ("minilm", CLASSES, "query, value", 8, 512, "float32"),
    ("minilm", CLASSES, ENCODER_ALL, 32, 128, "float32"),
    ("minilm", CLASSES, "query, value", 32, 128, "bfloat16"),
    ("llama", TEXT, "q_proj, v_proj", 1, 16, "float32"),
    ("llama", TEXT, "q_proj, v_proj", 8, 512, "float32"),
    ("llama", TEXT, DECODER_ALL, 8, 512, "float32"),
    ("llama", TEXT, DECODER_ALL, 2, 2048, "float32"),
    ("llama", CLASSES, "q_proj, v_proj", 8, 512, "float32"),
]
RUN = """name: memory
{base}problem: {{{problem}, max_length: {length}}}
peft: {{lora: {{rank: 8, alpha: 16, target_modules: [{targets}]}}}}
train: {{batch_size: {batch}, base_dtype: {dtype}}}
schedule: [{{rounds: 1}}]
"""


def make_llama(folder):
    """In a process of its own: a child's peak begins with the memory that its parent has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM
    LlamaForCausalLM(LlamaConfig(
        vocab_size=32000, hidden_size=384, num_hidden_layers=8, num_attention_heads=6, num_key_value_heads=2,
        intermediate_size=1024, max_position_embeddings=2048, tie_word_embeddings=False)).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({byte: number for number, byte in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    tokenizer.save(f"{folder}/tokenizer.json")


def output_and_peak(command):
    """Standard output, and the largest resident memory in MiB."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                               env=os.environ | {"OMP_WAIT_POLICY": "passive"})
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: failed")
    return text, usage.ru_maxrss / 1024


def measure(client, base, row, folder):
    """Forecast and peak in MiB."""
    _, problem, targets, batch, length, dtype = row
    data, run = folder / "data.csv", folder / "run.yaml"
    text = "so it was " * (length // 3 + 1)
    data.write_text("text,label\n" + "".join(f"{text},{'ab'[i % 2]}\n" for i in range(2 * batch)))
    block = re.search(r"^base:\n(?:[ ].*\n)+", output_and_peak([client, "inspect", "--base", base])[0], re.MULTILINE)[0]
    run.write_text(RUN.format(base=block, problem=problem, length=length, targets=targets, batch=batch, dtype=dtype))
    inspected, _ = output_and_peak([client, "inspect", "--base", base, "--run", run])
    _, peak = output_and_peak([client, "--log-level", "error", "train", run, folder / "out", "--base", base, "--data",
                               data, "--eval-data", data])
    return int(re.search(r"memory for training, at most: about (\d+) MiB", inspected)[1]), peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default="build/release")
    parser.add_argument("--base", type=pathlib.Path, default="build/base/minilm", help="MiniLM's folder")
    parser.add_argument("--make-llama", metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make_llama:
        return make_llama(args.make_llama)
    ratios = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        bases = {"minilm": args.base, "llama": folder / "llama"}
        subprocess.run([sys.executable, __file__, "--make-llama", bases["llama"]], check=True,
                       stderr=subprocess.DEVNULL)
        print("| base | problem | adapted | batch | forecast, MiB | peak, MiB | ratio |\n"
              "| --- | --- | --- | --- | ---: | ---: | ---: |")
        for row in ROWS:
            name, problem, targets, batch, length, dtype = row
            forecast, peak = measure(args.build / "client/fedpeft-client", bases[name], row, folder)
            ratios.append(forecast / peak)
            adapted = "all linears" if targets in (ENCODER_ALL, DECODER_ALL) else targets
            print(f"| {name}, {dtype} | {'two classes' if problem == CLASSES else 'next token'} | {adapted} | "
                  f"{batch} × {length} | {forecast} | {peak:.0f} | {ratios[-1]:.2f} |", flush=True)
    print(f"forecast / peak: {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    sys.exit(main())
