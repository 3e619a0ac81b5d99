#!/usr/bin/env python3
"""Every method on every base: logits, each trainable tensor's gradient and the losses of ten AdamW steps, equal to
`peft` on `transformers`; where peft lacks a method, to its published equations written as hooks on `transformers`
(method_references.py; the list is method_matrix.py).

Small random bases (model_cells.py), one of each family, for classification and, of decoders, for language modelling;
all trainable tensors random and none zero. The original gets each text by itself, so that nothing is padded: a prompt
and padding on the left do not go together in peft. Tolerances are model_parity.py's.

Ordinarily a slice: each method on one base, by a seed that is printed (FEDPEFT_SEED repeats it); FEDPEFT_FULL asks for
the whole matrix. A cell that is refused says why.
"""
# parity: timeout=900
import dataclasses
import os
import pathlib
import random
import sys
import tempfile

import json
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from method_matrix import METHODS
from model_cells import CELLS, encodes, make_base, quiet_torch, write_run
from model_parity import LABELS, LEARNING_RATE, STEPS, TOLERANCE, Helper, make_batch, no_dropout, worst, worst_loss

VIRTUAL_TOKENS = 3  # the most that a method puts before a text
BASES = [next(cell for cell in CELLS if cell.family == family) for family in dict.fromkeys(c.family for c in CELLS)]
BASES += [next(cell for cell in CELLS if cell.name == name) for name in (
    "biases, as many keys as queries", "all linears, tied", "heads as wide as the base",
    "window of 7, heads as wide as the base")]


@dataclasses.dataclass(frozen=True)
class Case:
    method: object
    base: object
    language: bool

    def __str__(self):
        return f"{self.method.name:26} {self.base.family + ', ' + self.base.name:42} {'text' if self.language else 'class'}"


def load(case, folder):
    options = dict(dtype=torch.float32) | no_dropout(case.base.family)
    if case.language:
        return AutoModelForCausalLM.from_pretrained(folder, **options)
    if not encodes(case.base.family):
        options["pad_token_id"] = 0
    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=LABELS, **options)


def randomise(tensors):
    """Random values around where a tensor's method starts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in tensors.values():
            noise = tensor.spread * torch.randn(tensor.param.shape, generator=generator)
            tensor.param.copy_(noise if tensor.origin is None else tensor.origin + noise)


def outputs(case, model, batch):
    """Of a batch, text by text: the logits that count, and the loss."""
    logits, targets = [], []
    for ids, types, label in zip(batch["ids"], batch["types"], batch["labels"], strict=True):
        given = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
        if case.base.family == "bert":
            given["token_type_ids"] = torch.tensor([types])
        scores = model(**given).logits[0]
        if not case.language:
            logits.append(scores.view(1, -1))
            targets.append(torch.tensor([label]))
            continue
        before = scores.shape[0] - len(ids)  # a prompt predicts the first token too
        logits.append(scores[max(before - 1, 0):-1])
        targets.append(torch.tensor(ids[0 if before else 1:], dtype=torch.long))
    logits = torch.cat(logits)
    loss = torch.nn.functional.cross_entropy(logits, torch.cat(targets))
    return logits, loss + case.method.penalty(model, case.language)


def make_batches(case, vocab):
    rng = np.random.default_rng(1)
    longest = case.base.longest - VIRTUAL_TOKENS
    batches = [make_batch(rng, case.base, vocab, [1, longest, 2, 14, 15, longest - 1])]
    batches += [make_batch(rng, case.base, vocab, rng.integers(2, 16, size=3).tolist()) for _ in range(STEPS - 1)]
    for batch in batches:
        if case.base.family == "roberta":  # whose padding token has no position, and a prompt's text no ids
            batch["ids"] = [[max(i, 2) for i in ids] for ids in batch["ids"]]
        batch["prompts"] = [0] * len(batch["ids"])
    return batches


def run_case(helper, case, root):
    base, folder = root / "base", root / "work"
    folder.mkdir()
    make_base(case.base, base)
    model = load(case, base)
    vocab = model.config.vocab_size
    model, tensors = case.method.attach(model, case.base, case.language)
    randomise(tensors)
    batches = make_batches(case, vocab)
    problem = dict(type="language_modelling") if case.language else dict(labels=[str(i) for i in range(LABELS)])
    write_run(folder, base, problem, case.method.peft(case.base), dict(learning_rate=LEARNING_RATE))
    (folder / "request.json").write_text(json.dumps({"batches": batches}))
    save_file({name: t.value() for name, t in tensors.items()}, folder / "params.safetensors")
    answer = helper.run(base, folder)
    if reason := case.method.refused(case.base):
        good = reason in answer
        return f"{'refused' if good else 'FAILED'} {answer}", good
    if answer != "ok":
        return f"FAILED  {answer}", False
    found = compare(case, model.eval(), tensors, folder, batches)
    good = all(value < TOLERANCE[kind] for kind, value in found.items())
    return f"{'ok' if good else 'FAILED':7} " + "  ".join(f"{k} {v:.0e}" for k, v in found.items()), good


def compare(case, model, tensors, folder, batches):
    ours, found, losses = load_file(folder / "out.safetensors"), {}, []
    params = [t.param for t in tensors.values()]
    optimizer = torch.optim.AdamW(params, lr=LEARNING_RATE, weight_decay=0)
    for number, batch in enumerate(batches):
        optimizer.zero_grad()
        logits, loss = outputs(case, model, batch)
        loss.backward()
        losses.append(loss.item())
        if number == 0:
            found["logits"] = worst(ours["logits"], logits)
            found["gradients"] = max(gradient_error(ours[name], t.param.grad) for name, t in tensors.items())
            extra = set(ours) - set(tensors) - {"logits", "hidden", "scores"}
            assert not extra, extra
        optimizer.step()
        case.method.stepped(model)
    found["losses"] = worst_loss(folder, losses)
    if (wanted := case.method.scores(model)) is not None:
        scores = torch.tensor(json.loads((folder / "scores.json").read_text()))
        found["scores"] = ((scores - wanted).abs() / wanted.abs().max()).max().item()
    return found


def gradient_error(ours, wanted):
    """Relative; a gradient that is zero but for rounding (of a key's bias) against one."""
    wanted = torch.zeros_like(ours) if wanted is None else wanted
    return ((wanted - ours).norm() / wanted.norm().clamp(min=1e-3)).item()


def choose(rng):
    cases = [Case(method, base, language) for method in METHODS for base in BASES
             for language in ((False,) if encodes(base.family) else (False, True))]
    # A folder saved without its head has none unless it is tied.
    cases = [c for c in cases if not (c.language and c.base.saved_as == "bare" and not
                                      c.base.config.get("tie_word_embeddings", c.base.family == "gpt2"))]
    if os.environ.get("FEDPEFT_FULL"):
        return cases
    return [case for method in METHODS for case in rng.sample([c for c in cases if c.method is method], 1)]


def main():
    quiet_torch(threads=2)
    seed = int(os.environ.get("FEDPEFT_SEED") or random.SystemRandom().randrange(1 << 32))
    cases = choose(random.Random(seed))
    if len(sys.argv) > 1:
        cases = [case for case in cases if sys.argv[1] in str(case)]
    print(f"seed {seed}; logits and losses: worst differences, gradients: relative", flush=True)
    helper, failed = Helper(os.environ.get("FEDPEFT_BUILD", "build/dev")), 0
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            text, good = run_case(helper, case, pathlib.Path(folder))
        failed += not good
        print(f"{case!s} {text}", flush=True)
    print(f"method parity: {len(cases)} cells, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
