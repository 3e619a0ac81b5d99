#!/usr/bin/env python3
"""Gradients of single examples, from one pass of a batch: equal to those of `transformers` and `peft` for each text by
itself, and to those of `opacus` (GradSampleModule, the batch padded) where it supports the method's layers.

On a small random BERT, all trainable tensors random, each method of method_matrix.py that example-level privacy takes;
and LoRA on FEDPEFT_BASE, where that is set. An example's gradient, all tensors together, within 1e-5 of its norm; the
originals compute in float64, but for opacus's, whose float32 is allowed 1e-5 more on its own part.
"""
# parity: timeout=600
import json
import os
import pathlib
import sys
import tempfile

import numpy as np
import torch
from opacus import GradSampleModule
from safetensors.torch import load_file, save_file

from method_matrix import METHODS
from method_parity import LEARNING_RATE, Case, load, randomise
from model_cells import CELLS, make_base, quiet_torch, write_run
from model_parity import LABELS, Helper, inputs, make_batch

TOLERANCE = 1e-5
BERT = next(cell for cell in CELLS if cell.family == "bert")
EXAMPLES = "examples."  # what model_main puts before a tensor's name
# By name in METHODS: whether opacus has all layers that are trained.
CHOSEN = {"lora, patterns, rslora": True, "lora, all-linear": True, "lora, a layer": True, "dora": False, "ia3": False,
          "houlsby": False, "pfeiffer": False, "parallel": False, "prefix": False, "prompt": False, "prompt, text": False,
          "bitfit": True, "norm": True}


def method_named(name):
    return next(method for method in METHODS if method.name in (name, f"adapter, {name}"))


def convert(model, tensors, dtype):
    """The model, and what is trained beside its modules."""
    model.to(dtype)
    for tensor in tensors.values():
        tensor.param.data = tensor.param.data.to(dtype)


def alone(model, batch, tensors):
    """By name [B, …]: one backward pass a text, in float64."""
    convert(model, tensors, torch.float64)
    found = {name: [] for name in tensors}
    for ids, types, label in zip(batch["ids"], batch["types"], batch["labels"], strict=True):
        for tensor in tensors.values():
            tensor.param.grad = None
        logits = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types]),
                       attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits
        torch.nn.functional.cross_entropy(logits, torch.tensor([label])).backward()
        for name, tensor in tensors.items():
            param = tensor.param
            found[name].append(torch.zeros_like(param) if param.grad is None else param.grad.clone())
    convert(model, tensors, torch.float32)
    return {name: torch.stack(grads) for name, grads in found.items()}


def by_opacus(model, batch, tensors):
    """By name [B, …]: one backward pass of all."""
    wrapped = GradSampleModule(model.train(), loss_reduction="sum", strict=False)
    logits = wrapped(**inputs("bert", batch, left=False)).logits
    torch.nn.functional.cross_entropy(logits, torch.tensor(batch["labels"]), reduction="sum").backward()
    return {name: tensor.param.grad_sample.detach() for name, tensor in tensors.items()}


def flat(grads, names):
    return torch.cat([grads[name].double().flatten(1) for name in names], dim=1)


def worst(ours, wanted):
    """Of an example's gradient, relative."""
    names = sorted(wanted)
    mine, theirs = flat(ours, names), flat(wanted, names)
    return ((mine - theirs).norm(dim=1) / theirs.norm(dim=1)).max().item()


def run_case(helper, name, root, base_folder=None, longest=None):
    case = Case(method_named(name), BERT, language=False)
    base, folder = root / "base", root / "work"
    folder.mkdir()
    if base_folder is None:
        make_base(case.base, base)
    else:
        base = base_folder
    model = load(case, base)
    rng = np.random.default_rng(1)
    longest = longest or case.base.longest - 3
    lengths = [1, longest, 2, 14, 14, 15, longest // 2, longest - 1]
    batch = make_batch(rng, case.base, model.config.vocab_size, lengths) | {"prompts": [0] * len(lengths)}
    model, tensors = case.method.attach(model, case.base, case.language)
    randomise(tensors)
    write_run(folder, base, dict(labels=[str(i) for i in range(LABELS)]), case.method.peft(case.base),
              dict(learning_rate=LEARNING_RATE))
    (folder / "request.json").write_text(json.dumps({"batches": [batch], "examples": True}))
    save_file({name: t.value() for name, t in tensors.items()}, folder / "params.safetensors")
    if (answer := helper.run(base, folder)) != "ok":
        return f"FAILED  {answer}", False
    ours = {key.removeprefix(EXAMPLES): value for key, value in load_file(folder / "out.safetensors").items()
            if key.startswith(EXAMPLES)}
    assert set(ours) == set(tensors), set(ours) ^ set(tensors)
    found = {"alone": worst(ours, alone(model.eval(), batch, tensors))}
    if CHOSEN[name]:
        found["opacus"] = worst(ours, by_opacus(model, batch, tensors))
    good = found["alone"] < TOLERANCE and found.get("opacus", 0) < 2 * TOLERANCE
    return f"{'ok' if good else 'FAILED':7} " + "  ".join(f"{k} {v:.0e}" for k, v in found.items()), good


def main():
    quiet_torch(threads=2)
    helper, failed = Helper(os.environ.get("FEDPEFT_BUILD", "build/dev")), 0
    cases = [(name, name, {}) for name in CHOSEN]
    if base := os.environ.get("FEDPEFT_BASE"):
        cases.append(("MiniLM, lora", "lora, all-linear", dict(base_folder=pathlib.Path(base), longest=128)))
    print("an example's gradient: relative difference at most", flush=True)
    for title, name, options in cases:
        with tempfile.TemporaryDirectory() as folder:
            text, good = run_case(helper, name, pathlib.Path(folder), **options)
        failed += not good
        print(f"{title:26} {text}", flush=True)
    left_out = "" if os.environ.get("FEDPEFT_BASE") else "; MiniLM is left out: FEDPEFT_BASE is not set"
    print(f"example gradients parity: {len(cases)} cells, {failed} failed{left_out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
