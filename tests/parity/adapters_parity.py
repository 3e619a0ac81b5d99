#!/usr/bin/env python3
"""Bottleneck adapters and Compacter cross between fedpeft and the `adapters` library, both ways, without a change.

Out: `fedpeft-client train --format adapters`, and of BERT `fedpeft-server export` after a federation, write each kind of
adapter on each family that both know. The library loads it with no key missing and none unexpected, saves it again
as the same configuration and bits, and gives the log probabilities of `predict`; of a language model the same greedy
text as `generate`. In: an adapter of each of its configurations that means one of our kinds, all tensors random, gives
the same in `predict`, with the labels that its head names. Configurations that mean something else are refused by the
setting, pickles by their name, and a language model's adapter whose head was trained too.

Tolerance: 1e-4 on log probabilities, float32 sums in another order.
"""
# parity: full
# parity: timeout=300
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import torch

from export_parity import LABELS, PHRASES, SETTINGS, SUBJECTS, TOLERANCE, federate, read_rows, write_rows
from families_export_parity import write_tokenizer
from model_cells import CELLS, make_base, quiet_torch
from programs import Programs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / "build/venv-adapters/bin/python"
FAMILIES = ["bert", "roberta", "distilbert", "gpt2", "llama", "mistral"]
LANGUAGE_FAMILIES = ["gpt2", "llama"]  # one with the head tied, one without
# Ours: the settings of peft.adapter. A size that divides the width of 36, and some that do not.
OUT = {
    "houlsby": dict(kind="houlsby", size=5, activation="silu"),
    "pfeiffer": dict(kind="pfeiffer", size=7, activation="relu"),
    "parallel": dict(kind="parallel", size=12, activation="gelu_new", scale=4),
    "compacter": dict(kind="houlsby", size=8, activation="gelu", phm_dim=4),
    "compacter++": dict(kind="pfeiffer", size=6, activation="gelu", phm_dim=2, phm_rank=3),
    "parallel compacter": dict(kind="parallel", size=8, activation="relu", phm_dim=4),
}
# Theirs: a configuration by name, and what of it is changed.
PHM = dict(phm_layer=True, init_weights="bert")
IN = {
    "double_seq_bn": ("double_seq_bn", {}),
    "seq_bn": ("seq_bn", dict(reduction_factor=7.2, non_linearity="gelu_new")),
    "par_bn": ("par_bn", {}),
    "compacter": ("compacter", dict(reduction_factor=9)),
    "compacter++": ("compacter++", dict(reduction_factor=4.5, phm_dim=2, phm_rank=2)),
    "par_bn, phm": ("par_bn", PHM | dict(reduction_factor=3, phm_dim=3)),
}
REFUSED = {
    "config.original_ln_before": ("double_seq_bn", dict(original_ln_before=True)),
    "config.residual_before_ln": ("seq_bn", dict(residual_before_ln="post_add")),
    "config.scaling": ("par_bn", dict(scaling="learned")),
    "config.leave_out": ("seq_bn", dict(leave_out=[1])),
    "config.inv_adapter": ("seq_bn_inv", dict(inv_adapter_reduction_factor=2)),
    "config.use_gating": ("seq_bn", dict(use_gating=True)),
    "config.reduction_factor": ("seq_bn", dict(reduction_factor={"0": 9, "default": 12})),
    "config.factorized_phm_rule": ("compacter", dict(reduction_factor=9, factorized_phm_rule=True)),
    "config.shared_W_phm": ("compacter", dict(reduction_factor=9, shared_W_phm=True)),
    "config.architecture": ("lora", {}),
}


class Worker:
    """adapters_worker.py under the library's own Python."""

    def __init__(self):
        script = pathlib.Path(__file__).with_name("adapters_worker.py")
        self.process = subprocess.Popen([PYTHON, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def do(self, **job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the adapters library failed at {job}"
        return json.loads(line)


class Case:
    """A family's base, its data, and what both sides say of its adapters."""

    def __init__(self, worker, build, family, language, folder):
        self.worker, self.family, self.language, self.folder = worker, family, language, folder
        cell = next(cell for cell in CELLS if cell.family == family)
        cell.config = cell.config | {"vocab_size": 64}
        make_base(cell, folder / "base")
        write_tokenizer(folder / "base/tokenizer.json")
        self.programs = Programs(build, folder / "base")
        self.train, self.test, self.run = folder / "train.csv", folder / "test.csv", folder / "run.yaml"
        rng = random.Random(1)
        write_rows(self.train, 64, rng)
        write_rows(self.test, 12, rng)
        self.texts = [phrase.format(SUBJECTS[0]) for phrase in PHRASES[:3]] if language else read_rows(self.test)[0]
        self.labels = None if language else LABELS

    def write_run(self, adapter):
        block = f"peft: {json.dumps(dict(method='adapter', adapter=adapter))}\n"
        blocks = self.programs.run_client("inspect", *([] if self.language else ["--data", self.train]))
        settings = block + SETTINGS[SETTINGS.index("train:"):].replace("epochs: 1", "epochs: 4")
        if self.language:
            settings += "problem: {type: language_modelling, max_length: 24}\n"
        self.run.write_text(f"name: export\nseed: 1\n{blocks}{settings}", encoding="utf-8")

    def job(self, do, adapter, **more):
        return self.worker.do(do=do, base=str(self.programs.base), adapter=str(adapter), texts=self.texts,
                              language=self.language, labels=self.labels, **more)

    def check_out(self, name, adapter):
        found = self.job("out", adapter)
        assert not found["missing"] and not found["unexpected"], (name, found)
        assert not found["differs"], (name, found["differs"])
        if self.language:  # with the base's head beside it, as the library saves it
            adapter = adapter.with_name(adapter.name + "_saved")
        self.compare(f"{name} of fedpeft", adapter, found["answers"])

    def compare(self, name, adapter, answers):
        name = f"{self.family}, {name}"
        if self.language:
            ours = [self.programs.run_client("generate", "--adapter", adapter, "--prompt", text, "--max-new-tokens", 8)
                    for text in self.texts]
            assert [text.split() for text in ours] == [text.split() for text in answers], (name, ours, answers)
            print(f"{name}: {len(ours)} continuations are the same", flush=True)
            return
        rows = self.programs.run_client("predict", "--adapter", adapter, "--data", self.test, "--json").splitlines()
        ours = torch.tensor([[json.loads(row)["probabilities"][label] for label in self.labels] for row in rows]).log()
        theirs = torch.tensor(answers)
        worst = (ours - theirs).abs().max().item()
        print(f"{name}: log probabilities of {len(rows)} rows differ by {worst:.1e}", flush=True)
        assert worst < TOLERANCE, name
        assert theirs.exp().std(0).max() > 0.002, "the adapter says the same of every row, so that nothing is compared"

    def check_refused(self, adapter, says):
        try:
            self.programs.run_client("evaluate", "--adapter", adapter, "--data", self.test)
        except RuntimeError as error:
            assert says in str(error), (says, str(error))
            return
        raise AssertionError(f"{adapter} was not refused: {says}")


def check_family(worker, build, family, language, folder):
    case = Case(worker, build, family, language, folder)
    for number, (name, settings) in enumerate(OUT.items()):
        case.write_run(settings)
        ours = folder / f"ours_{number}"
        case.programs.run_client("train", case.run, ours, "--format", "adapters", "--data", case.train, "--eval-data",
                                 case.test)
        case.check_out(name, ours)
    if not language:
        case.labels = ["it", "says", "its", "names"]
    for number, (name, (config, changes)) in enumerate(IN.items()):
        theirs = folder / f"theirs_{number}"
        answer = case.job("in", theirs, config=config, changes=changes)
        case.compare(f"{name} of adapters", theirs, answer["answers"])
    if family == "llama" and language:
        trained = case.job("in", folder / "trained", config="seq_bn", changes={}, trained_head=True)
        assert trained["answers"]
        case.check_refused(folder / "trained", "lm_head.weight is not the base's")


def check_federation(worker, build, folder):
    """From a coordinator's state, by `export --format adapters`; and what is refused."""
    case = Case(worker, build, "bert", False, folder)
    case.write_run(OUT["compacter"])
    federate(case.programs, case.run, case.train, case.test, folder)
    case.programs.export(folder / "state", folder / "exported", "--format", "adapters")
    case.check_out("compacter, federated", folder / "exported")
    folders = {says: folder / f"refused_{number}" for number, says in enumerate(REFUSED)}
    for says, (config, changes) in REFUSED.items():
        case.job("in", folders[says], config=config, changes=changes)
        case.check_refused(folders[says], says)
    case.job("in", folder / "pickle", config="seq_bn", changes={}, pickle=True)
    case.check_refused(folder / "pickle", "pytorch_adapter.bin: is a pickle")
    print(f"{len(REFUSED)} configurations and a pickle are refused", flush=True)


def main():
    programs = Programs.of_environment()
    if programs is None:
        return 77
    if not PYTHON.exists():
        print(f"left out: there is no {PYTHON} (scripts/setup.sh --adapters makes it)")
        return 77
    quiet_torch(threads=2)
    build = programs.server.parent.parent
    cells = [(family, False) for family in FAMILIES] + [(family, True) for family in LANGUAGE_FAMILIES]
    with Worker() as worker:
        with tempfile.TemporaryDirectory() as folder:
            check_federation(worker, build, pathlib.Path(folder))
        for family, language in cells:
            with tempfile.TemporaryDirectory() as folder:
                check_family(worker, build, family, language, pathlib.Path(folder))
    print(f"adapters parity: {len(OUT)} kinds and {len(IN)} configurations on {len(cells)} bases agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
