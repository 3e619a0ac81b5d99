#!/usr/bin/env python3
"""Language modelling with LoRA against transformers + peft: scores, loss, gradients, and ten AdamW steps.

Small random bases of every family of decoders that has a head (model_cells.py), every trainable tensor random. Texts of
all lengths from 1 on share a batch, some with a prompt that is not learned; the original gets them padded, its labels
-100 where nothing is learned. Tolerances are model_parity.py's, and so is the slice: one cell of each family by a seed
that is printed (FEDPEFT_SEED repeats it), all with FEDPEFT_FULL.
"""
# parity: timeout=300
import os
import pathlib
import random
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from model_cells import CELLS, encodes, make_base, quiet_torch
from model_parity import (LEARNING_RATE, STEPS, TOLERANCE, WEIGHT_DECAY, Helper, adapted, inputs, no_dropout, padded,
                          trainable, worst, worst_gradient, worst_loss, write_request)

IGNORED = -100


def has_head(cell):
    """`bare` folders have one only where it is tied to the embedding, as GPT-2's is unless told otherwise."""
    tied = cell.config.get("tie_word_embeddings", cell.family == "gpt2")
    return not encodes(cell.family) and (cell.saved_as == "head" or tied)


def make_batch(rng, vocab, lengths):
    ids = [rng.integers(1, vocab, size=n).tolist() for n in lengths]
    prompts = [int(rng.integers(0, n)) if i % 2 else 0 for i, n in enumerate(lengths)]
    return {"ids": ids, "types": [[0] * n for n in lengths], "prompts": prompts}


def labels_of(batch):
    learned = [[IGNORED] * prompt + ids[prompt:] for ids, prompt in zip(batch["ids"], batch["prompts"], strict=True)]
    return padded(learned, max(map(len, learned)), False, IGNORED)


def run_cell(helper, cell, root):
    base, folder = root / "base", root / "work"
    folder.mkdir()
    make_base(cell, base)
    model = adapted(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **no_dropout(cell.family)), cell,
                    "CAUSAL_LM")
    rng = np.random.default_rng(1)
    lengths = [1, cell.longest, 2, 14, 14, 15, cell.longest // 2, 33, cell.longest, cell.longest - 1]
    batches = [make_batch(rng, model.config.vocab_size, lengths)]
    batches += [make_batch(rng, model.config.vocab_size, rng.integers(2, 24, size=8).tolist()) for _ in range(STEPS - 1)]
    write_request(folder, base, cell, dict(type="language_modelling"), batches)
    params = trainable(model)
    save_file({name: p.detach().clone() for name, p in params.items()}, folder / "params.safetensors")
    answer = helper.run(base, folder)
    if answer != "ok":
        return f"FAILED  {answer}", False
    found = compare(model.eval(), cell, folder, batches, params)
    good = all(value < TOLERANCE[kind] for kind, value in found.items())
    return f"{'ok' if good else 'FAILED':7} " + "  ".join(f"{k} {v:.0e}" for k, v in found.items()), good


def compare(model, cell, folder, batches, params):
    ours, found, losses = load_file(folder / "out.safetensors"), {}, []
    ours.pop("hidden"), ours.pop("scores")
    optimizer = torch.optim.AdamW(params.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        labels = labels_of(batch)
        out = model(**inputs(cell.family, batch, False), labels=labels)
        out.loss.backward()
        losses.append(out.loss.item())
        if number == 0:
            predicts = torch.nn.functional.pad(labels, (0, 1), value=IGNORED)[:, 1:] != IGNORED
            found["logits"] = worst(ours.pop("logits"), out.logits[predicts])
            found["gradients"] = worst_gradient(ours, params)
        optimizer.step()
    found["losses"] = worst_loss(folder, losses)
    return found


def main():
    quiet_torch(threads=2)
    seed = int(os.environ.get("FEDPEFT_SEED") or random.SystemRandom().randrange(1 << 32))
    rng = random.Random(seed)
    cells = [cell for cell in CELLS if has_head(cell)]
    if not os.environ.get("FEDPEFT_FULL"):
        families = dict.fromkeys(cell.family for cell in cells)
        cells = [rng.choice([cell for cell in cells if cell.family == family]) for family in families]
    print(f"seed {seed}; logits and losses: worst differences, gradients: relative", flush=True)
    helper, failed = Helper(os.environ.get("FEDPEFT_BUILD", "build/dev")), 0
    for cell in cells:
        with tempfile.TemporaryDirectory() as folder:
            text, good = run_cell(helper, cell, pathlib.Path(folder))
        failed += not good
        print(f"{cell.family:10} {cell.name:47} {text}", flush=True)
    print(f"language parity: {len(cells)} cells, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
