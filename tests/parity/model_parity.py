#!/usr/bin/env python3
"""BERT + LoRA + head against transformers + peft: logits, gradients, and the losses of 20 AdamW steps.

Every trainable tensor is random and none is zero. One batch mixes lengths 1 to 128 and pairs with type ids; both sides
get the same token ids, the original padded with a mask. Tolerances: logits 1e-4 absolute, each gradient 1e-3 of its
norm, each loss 1e-3: float32 sums of a few hundred terms in another order, and in the losses their effect on 20 steps.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

LABELS, RANK, ALPHA, LEARNING_RATE, WEIGHT_DECAY, STEPS = 7, 4, 12, 1e-3, 0.01, 20
# First batch: extremes, near and equal lengths; the others are shorter, for speed.
FIRST_LENGTHS = [1, 128, 2, 14, 14, 15, 64, 33, 128, 90]


def make_batch(rng, vocab, lengths):
    """Token ids at random; every second text is a pair, whose second half has type 1."""
    ids = [rng.integers(0, vocab, size=n).tolist() for n in lengths]
    types = [[int(i % 2 == 1 and t >= n // 2) for t in range(n)] for i, n in enumerate(lengths)]
    return {"ids": ids, "types": types, "labels": rng.integers(0, LABELS, size=len(lengths)).tolist()}


def padded(rows, width):
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def forward(model, batch):
    width = max(map(len, batch["ids"]))
    mask = padded([[1] * len(row) for row in batch["ids"]], width)
    return model(input_ids=padded(batch["ids"], width), token_type_ids=padded(batch["types"], width),
                 attention_mask=mask, labels=torch.tensor(batch["labels"]))


def reference_model(base, targets):
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=LABELS, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=RANK, lora_alpha=ALPHA, lora_dropout=0.0,
                                             target_modules=targets))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in trainable(model).values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
    return model


def trainable(model):
    """By the names that peft saves."""
    names = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            names[name.replace(".default", "").replace(".modules_to_save", "")] = p
    return names


def run_ours(helper, base, folder, targets, params, batches):
    request = {"rank": RANK, "alpha": ALPHA, "targets": targets, "labels": LABELS, "learning_rate": LEARNING_RATE,
               "weight_decay": WEIGHT_DECAY, "batches": batches}
    (folder / "request.json").write_text(json.dumps(request))
    save_file({name: p.detach().clone() for name, p in params.items()}, folder / "params.safetensors")
    subprocess.run([helper, base, folder], check=True)
    return load_file(folder / "out.safetensors"), json.loads((folder / "losses.json").read_text())


def compare(helper, base, targets):
    """The worst differences: logits, gradients (relative), losses."""
    model = reference_model(base, targets)
    params = trainable(model)
    rng = np.random.default_rng(1)
    vocab = model.config.vocab_size
    batches = [make_batch(rng, vocab, FIRST_LENGTHS)]
    batches += [make_batch(rng, vocab, rng.integers(1, 24, size=8).tolist()) for _ in range(STEPS - 1)]
    with tempfile.TemporaryDirectory() as folder:
        ours, our_losses = run_ours(helper, base, pathlib.Path(folder), targets, params, batches)

    optimizer = torch.optim.AdamW(params.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses, gradients = [], 0.0
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        out = forward(model, batch)
        out.loss.backward()
        losses.append(out.loss.item())
        if number == 0:
            logits = (out.logits - ours.pop("logits")).abs().max().item()
            assert set(ours) == set(params), set(ours) ^ set(params)
            for name, p in params.items():
                gradients = max(gradients, ((p.grad - ours[name]).norm() / p.grad.norm()).item())
        optimizer.step()
    return logits, gradients, max(abs(a - b) for a, b in zip(losses, our_losses, strict=True))


def main():
    build, base = os.environ.get("FEDPEFT_BUILD", "build/dev"), os.environ.get("FEDPEFT_BASE")
    if not base:
        print("model parity: left out, FEDPEFT_BASE is not set")
        return 77
    torch.set_num_threads(2)
    failed = False
    for targets in (["query", "value"], ["query", "key", "value", "dense"]):
        logits, gradients, losses = compare(f"{build}/tests/parity/model_main", base, targets)
        print(f"model parity {','.join(targets)}: logits {logits:.1e}, gradients {gradients:.1e}, "
              f"{STEPS} losses {losses:.1e}", flush=True)
        failed |= not (logits < 1e-4 and gradients < 1e-3 and losses < 1e-3)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
