#!/usr/bin/env python3
"""Every base + LoRA + head against transformers + peft: logits, hidden states, scores of the language-model head,
gradients, and the losses of ten AdamW steps.

Small random bases of every family (model_cells.py), and BERT's real one. Every trainable tensor is random and none is
zero. The first batch holds lengths 1 to the longest the base can take; both sides get the same token ids, the original
padded with a mask: on the right, and on the left. (Of encoders `left` compares hidden states only: transformers'
classifiers read what stands first, which is then padding.) Tolerances: outputs 1e-4 absolute, each gradient 1e-3 of
its norm, each loss 1e-3: float32 sums of a few dozen terms in another order, and in the losses their effect on ten
steps.

Ordinarily a slice: one cell of each family and two refusals, by a seed that is printed (FEDPEFT_SEED repeats it).
FEDPEFT_FULL asks for the whole matrix.
"""
# parity: timeout=600
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from model_cells import CELLS, REFUSED, Cell, encodes, make_base, quiet_torch, write_run

LABELS, RANK, ALPHA, LEARNING_RATE, WEIGHT_DECAY, STEPS = 5, 4, 12, 1e-3, 0.01, 10
TOLERANCE = {"logits": 1e-4, "left": 1e-4, "hidden": 1e-4, "scores": 1e-4, "gradients": 1e-3, "losses": 1e-3}
PAD = 0


def make_batch(rng, cell, vocab, lengths):
    """Token ids at random, the padding token among them but for decoders, whose classifier in transformers takes it for
    the end; with token types, every second text is a pair."""
    ids = [rng.integers(1 if not encodes(cell.family) else 0, vocab, size=n).tolist() for n in lengths]
    pairs = cell.family == "bert"
    types = [[int(pairs and i % 2 == 1 and t >= n // 2) for t in range(n)] for i, n in enumerate(lengths)]
    return {"ids": ids, "types": types, "labels": rng.integers(0, LABELS, size=len(lengths)).tolist()}


def padded(rows, width, left, value=0):
    return torch.tensor([[value] * (width - len(row)) * left + row + [value] * (width - len(row)) * (not left)
                         for row in rows])


def inputs(family, batch, left):
    width = max(map(len, batch["ids"]))
    mask = padded([[1] * len(row) for row in batch["ids"]], width, left)
    fill = 1 if family == "roberta" else PAD
    given = {"input_ids": padded(batch["ids"], width, left, fill), "attention_mask": mask}
    if family == "bert":
        given["token_type_ids"] = padded(batch["types"], width, left)
    if family != "roberta":  # which counts the tokens that are not padding itself
        given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
    return given


def trainable(model):
    """By the names that peft saves."""
    names = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            names[name.replace(".default", "").replace(".modules_to_save", "")] = p
    return names


def no_dropout(family):
    if family == "distilbert":
        return dict(dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0)
    if family == "gpt2":
        return dict(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    if family in ("bert", "roberta"):
        return dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return {}


def adapted(model, cell, task, **more):
    model = get_peft_model(model, LoraConfig(task_type=task, r=RANK, lora_alpha=ALPHA, lora_dropout=0.0,
                                             target_modules=cell.targets, fan_in_fan_out=cell.family == "gpt2", **more))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in trainable(model).values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    return model


def reference_model(base, cell):
    pad = {"pad_token_id": PAD} if not encodes(cell.family) else {}
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=LABELS, dtype=torch.float32, **pad,
                                                               **no_dropout(cell.family))
    heads = {"modules_to_save": ["pre_classifier", "classifier"]} if cell.family == "distilbert" else {}
    return adapted(model, cell, "SEQ_CLS", **heads)


def write_request(folder, base, cell, problem, batches):
    write_run(folder, base, problem, dict(lora=dict(rank=RANK, alpha=ALPHA, target_modules=cell.targets)),
              dict(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY))
    (folder / "request.json").write_text(json.dumps({"batches": batches}))


def make_request(folder, base, cell, longest):
    """Writes what the C++ side reads; the batches, and the original with the same parameters."""
    model = reference_model(base, cell)
    rng = np.random.default_rng(1)
    lengths = [1, longest, 2, 14, 14, 15, longest // 2, 33 % longest, longest, longest - 1]
    batches = [make_batch(rng, cell, model.config.vocab_size, lengths)]
    batches += [make_batch(rng, cell, model.config.vocab_size, rng.integers(1, 24, size=8).tolist())
                for _ in range(STEPS - 1)]
    write_request(folder, base, cell, dict(labels=[str(i) for i in range(LABELS)]), batches)
    save_file({name: p.detach().clone() for name, p in trainable(model).items()}, folder / "params.safetensors")
    return model, batches


def token_outputs(model, cell, base, batch):
    """Hidden states and language-model scores of all tokens, sequence after sequence."""
    task = model.base_model.model
    out = {}
    for kind, left in (("left", True), ("hidden", False)):
        given = inputs(cell.family, batch, left)
        tokens = given["attention_mask"].bool()
        out[kind] = getattr(task, task.base_model_prefix)(**given).last_hidden_state[tokens]
    if not encodes(cell.family):
        language = adapted(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), cell, "CAUSAL_LM")
        params = trainable(model)
        with torch.no_grad():
            for name, p in trainable(language).items():
                p.copy_(params[name])
        out["scores"] = language.eval()(**given).logits[tokens]
    return out


def worst(ours, wanted):
    return (ours - wanted).abs().max().item()


def compare(model, cell, base, folder, batches):
    """The worst differences by kind. A decoder's steps alternate between padding on the right and on the left."""
    ours, params = load_file(folder / "out.safetensors"), trainable(model)
    found = {}
    model.eval()  # no dropout either way
    with torch.no_grad():
        outputs = token_outputs(model, cell, base, batches[0])
        if "scores" not in ours:  # saved without its head, and not tied: there is none to compare
            outputs.pop("scores", None)
        found["left"] = worst(ours["hidden"], outputs.pop("left"))
        for kind, wanted in outputs.items():
            found[kind] = worst(ours.pop(kind), wanted)
    optimizer = torch.optim.AdamW(params.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    losses = []
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        left = not encodes(cell.family) and number % 2 == 1
        out = model(**inputs(cell.family, batch, left), labels=torch.tensor(batch["labels"]))
        out.loss.backward()
        losses.append(out.loss.item())
        if number == 0:
            found["logits"] = worst(ours.pop("logits"), out.logits)
            found["gradients"] = worst_gradient(ours, params)
        optimizer.step()
    found["losses"] = worst_loss(folder, losses)
    return found


def worst_gradient(ours, params):
    """Relative, of the tensors in `ours`, which are those of `params`."""
    assert set(ours) == set(params), set(ours) ^ set(params)
    return max(((p.grad - ours[name]).norm() / p.grad.norm()).item() for name, p in params.items())


def worst_loss(folder, losses):
    ours = json.loads((folder / "losses.json").read_text())
    return max(abs(a - b) for a, b in zip(losses, ours, strict=True))


class Helper:
    """model_main, asked case by case."""

    def __init__(self, build):
        self.process = subprocess.Popen([f"{build}/tests/parity/model_main"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def run(self, base, folder):
        self.process.stdin.write(f"{base} {folder}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip() or "model_main died"


def run_cell(helper, cell, root, base=None, longest=None):
    """A line of the matrix and whether it is as it should be."""
    folder = root / "work"
    folder.mkdir()
    if base is None:
        base = root / "base"
        make_base(cell, base)
    model, batches = make_request(folder, base, cell, longest or cell.longest)
    answer = helper.run(base, folder)
    if answer != "ok":
        return f"FAILED  {answer}", False
    found = compare(model, cell, base, folder, batches)
    good = all(value < TOLERANCE[kind] for kind, value in found.items())
    texts = [f"{kind} {found[kind]:.0e}" if kind in found else f"{kind} -" for kind in TOLERANCE]
    return f"{'ok' if good else 'FAILED':7} {'  '.join(texts)}", good


def run_refused(helper, refused, root):
    base, folder = root / "base", root / "work"
    folder.mkdir()
    make_base(refused, base)
    answer = helper.run(base, folder).replace(str(base) + ": ", "")
    good = answer != "ok" and refused.names in answer
    return f"{'refused' if good else 'FAILED'} {answer}", good


def choose(rng):
    if os.environ.get("FEDPEFT_FULL"):
        return CELLS + REFUSED
    families = list(dict.fromkeys(cell.family for cell in CELLS))
    cells = [rng.choice([cell for cell in CELLS if cell.family == family]) for family in families]
    return cells + rng.sample(REFUSED, 2)


def main():
    quiet_torch(threads=2)
    build, minilm = os.environ.get("FEDPEFT_BUILD", "build/dev"), os.environ.get("FEDPEFT_BASE")
    seed = int(os.environ.get("FEDPEFT_SEED") or random.SystemRandom().randrange(1 << 32))
    chosen = choose(random.Random(seed))
    print(f"seed {seed}; outputs and losses: worst differences, gradients: relative", flush=True)
    helper, failed = Helper(build), 0
    for cell in chosen:
        with tempfile.TemporaryDirectory() as folder:
            run = run_cell if isinstance(cell, Cell) else run_refused
            text, good = run(helper, cell, pathlib.Path(folder))
        failed += not good
        print(f"{cell.family:10} {cell.name:47} {text}", flush=True)
    if minilm:
        cell = dataclasses.replace(CELLS[0], name="MiniLM")
        with tempfile.TemporaryDirectory() as folder:
            text, good = run_cell(helper, cell, pathlib.Path(folder), minilm, longest=128)
        failed += not good
        print(f"{cell.family:10} {cell.name:47} {text}", flush=True)
    else:
        print("MiniLM is left out: FEDPEFT_BASE is not set")
    print(f"model parity: {len(chosen) + bool(minilm)} cells, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
