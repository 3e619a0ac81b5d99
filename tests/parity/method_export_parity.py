#!/usr/bin/env python3
"""Adapters of every method that peft has cross between it and fedpeft, as export_parity.py asserts of LoRA's.

Small random bases of BERT, whose adapters come from a federation, GPT-2 and Llama: what differs by base is names. Methods
that peft lacks come back to fedpeft alone: `evaluate` says of a folder what its training last did.
Methods that are a change of the base's parameters are merged too, and a federation starts from BERT's adapters of peft.
"""
# parity: full
# parity: timeout=600
import json
import pathlib
import random
import re
import shutil
import sys
import tempfile

import torch
from peft import PeftModel, PromptTuningConfig
from transformers import AutoModelForCausalLM

from export_parity import (SETTINGS, TOLERANCE, base_model, check_in_of, check_merged, check_out, check_predictions,
                           federate, write_rows)
from families_export_parity import write_tokenizer
from language_export_parity import check_loss
from method_matrix import METHODS, virtual_tokens
from method_references import LlamaAdapter
from model_cells import CELLS, make_base, quiet_torch
from peft_methods import Peft
from programs import Federation, Programs

FAMILIES = ["bert", "gpt2", "llama"]
# Which tokens a seed draws, only fedpeft knows.
VOCABULARY = Peft("prompt, vocabulary", lambda base, _: PromptTuningConfig(**virtual_tokens(base)),
                  lambda base: dict(method="prompt", prompt=dict(length=3, init="vocabulary")))
UNMERGED = ("adapter", "compacter", "prefix", "prompt", "llama adapter")


def block_text(block):
    """A `peft:` block as YAML, which JSON is."""
    return f"peft: {json.dumps(block)}\n"


def check(programs, cell, method, folder, files):
    train, test, run = files["train"], files["test"], folder / "run.yaml"
    rate = {"norm": 0.1, "full": 0.003}.get(method.name, 0.01)
    settings = SETTINGS.replace("learning_rate: 0.01", f"learning_rate: {rate}")
    settings = re.sub(r"peft:\n(?:  .*\n)+", block_text(method.peft(cell)), settings)
    blocks = re.sub("max_length: .*", "max_length: 36", programs.run_client("inspect", "--data", train))
    run.write_text(f"name: export\nseed: 1\n{blocks}{settings}", encoding="utf-8")
    name = f"{cell.family}_{re.sub('[^a-z0-9]+', '_', method.name)}"
    ours = folder / f"{name}_of_fedpeft"
    if cell.family == "bert":
        federate(programs, run, train, test, folder).rename(ours)
        best = max(rounds(folder), key=lambda line: line["eval_accuracy"])  # the first of equals, which is exported
        loss = f"{best['eval_loss']:.4f}"
    else:
        said = programs.run_client("train", run, ours, "--data", train, "--eval-data", test)
        loss = re.findall(r"test loss ([\d.]+)", said)[-1]
    if not method.name.startswith(UNMERGED):
        check_merged(programs, ours, test, folder / "merged")
    if isinstance(method, Peft):
        pad = {} if cell.family == "bert" else {"pad_token_id": 1}
        check_out(programs, ours, test, folder / "saved", **pad)
        config = method.config(cell, base_model(programs.base))
        config.task_type = "SEQ_CLS"
        theirs = folder / f"{name}_of_peft"
        loss = check_in_of(programs, theirs, test, config, **pad)
        if cell.family == "bert" and "encoder" not in method.name:
            check_start(programs, run, theirs, train, test, folder / "started", loss)
        return
    again = programs.run_client("evaluate", "--adapter", ours, "--data", test)
    assert f"loss {loss}" in again, (method.name, loss, again)
    print(f"{ours.name}: loss {loss} again", flush=True)


def check_start(programs, run, adapter, train, test, folder, loss):
    """A federation begins where peft's adapter is, and goes on from its state alone."""
    shutil.copytree(adapter, folder / "start")
    options = ["--start", folder / "start", "--base", programs.base]
    with Federation(programs, run, folder, {}, options) as federation:
        federation.wait_until_listening()
    shutil.rmtree(folder / "start")
    with Federation(programs, run, folder, {}, options) as federation:
        federation.join("trainers", train, "--virtual-clients", 2)
        federation.join("evaluator", test, "--role", "evaluator")
        federation.run()
    began = rounds(folder)[0]["eval_loss"]
    print(f"{adapter.name}: a federation starts at loss {began:.4f}, which differs by {abs(began - loss):.1e}", flush=True)
    assert abs(began - loss) < TOLERANCE, (began, loss)


def check_llama_adapter(programs, cell, method, folder, files):
    """Of a base whose LLaMA-Adapter is peft's. peft neither trains nor saves a classifier's head with it, but loads it."""
    train, test, run = files["train"], files["test"], folder / "run.yaml"
    settings = re.sub(r"peft:\n(?:  .*\n)+", block_text(method.peft(cell)), SETTINGS)
    blocks = re.sub("max_length: .*", "max_length: 36", programs.run_client("inspect", "--data", train))
    run.write_text(f"name: export\nseed: 1\n{blocks}{settings}", encoding="utf-8")
    programs.run_client("train", run, folder / "classifier", "--data", train, "--eval-data", test)
    model = PeftModel.from_pretrained(base_model(programs.base, pad_token_id=1), folder / "classifier")
    check_predictions(programs, folder / "classifier", test, model, "in peft")

    text = folder / "text.txt"
    text.write_text("where is my card\ntell me about the transfer please\n", encoding="utf-8")
    base = programs.run_client("inspect").split("\n#")[0]
    run.write_text(f"name: export\nseed: 1\n{base}\nproblem: {{type: language_modelling, max_length: 36}}\n{settings}",
                   encoding="utf-8")
    programs.run_client("train", run, folder / "text", "--data", text, "--eval-data", text)
    check_loss(programs, folder / "text", text, folder / "saved",
               [{"text": line} for line in text.read_text().splitlines()])
    # As peft saves one, all tensors random.
    model, tensors = method.attach(AutoModelForCausalLM.from_pretrained(programs.base, dtype=torch.float32), cell, True)
    with torch.no_grad():
        for tensor in tensors.values():
            tensor.param.normal_(generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder / "of_peft", save_embedding_layers=False)
    check_loss(programs, folder / "of_peft", text, folder / "saved_again",
               [{"text": line} for line in text.read_text().splitlines()])


def rounds(folder):
    return [json.loads(line) for line in (folder / "state/rounds.jsonl").read_text(encoding="utf-8").splitlines()]


def make_world(build, cell, root):
    """A base with a tokenizer, and data."""
    cell.config = cell.config | {"vocab_size": 64}
    make_base(cell, root / "base")
    write_tokenizer(root / "base/tokenizer.json")
    rng = random.Random(1)
    files = {name: root / f"{name}.csv" for name in ("train", "test")}
    write_rows(files["train"], 64, rng)
    write_rows(files["test"], 24, rng)
    return Programs(build, root / "base"), files


def main():
    programs = Programs.of_environment()
    if programs is None:
        return 77
    quiet_torch(threads=2)
    build, wanted = programs.server.parent.parent, sys.argv[1] if len(sys.argv) > 1 else ""
    gated = next(method for method in METHODS if isinstance(method, LlamaAdapter))
    cells = [next(cell for cell in CELLS if cell.family == family) for family in FAMILIES]
    for cell in [*cells, next(cell for cell in CELLS if gated.in_peft(cell))]:
        with tempfile.TemporaryDirectory() as temporary:
            root = pathlib.Path(temporary)
            ours, files = make_world(build, cell, root)
            if cell not in cells:
                check_llama_adapter(ours, cell, gated, root, files)
                continue
            for i, method in enumerate([*METHODS, VOCABULARY]):
                if method.refused(cell) or wanted not in method.name:
                    continue
                (root / str(i)).mkdir()
                check(ours, cell, method, root / str(i), files)
    print(f"method export parity: {len(METHODS)} methods on {len(FAMILIES)} bases agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
