#!/usr/bin/env python3
"""Adapters cross between fedpeft and peft, both ways, without a change.

Out: an adapter of `fedpeft-client train` and one that `fedpeft-server export` writes after a federation of two clients
load in peft with no key missing and none unexpected, come out of `save_pretrained` under the same names with the same
bits, and give the same probabilities of every label as `fedpeft-client predict`. In: an adapter that peft saved, all
tensors random, is scored by `fedpeft-client evaluate` with peft's accuracy and loss. And a regression's adapter, which
is peft's with `num_labels=1`, gives the same numbers.

And `fedpeft-client merge` makes a model of base and adapter that transformers loads, with the same probabilities.

Tolerance: 1e-4 on logits (as log probabilities) and loss, float32 sums in another order.
"""
import csv
import json
import pathlib
import random
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from programs import Federation, Programs

TOLERANCE = 1e-4
LABELS = ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]  # how peft's own configuration calls them
SUBJECTS = ["my card", "the transfer", "my account", "the exchange rate"]
PHRASES = ["where is {}", "{} does not work, why?", "I want to cancel {}", "tell me about {} please", "Is {} OK",
           "{}: it has not arrived after three days and I would like to know what I have to do now"]
SETTINGS = """
peft:
  method: lora
  head: shared
  lora: {rank: 4, alpha: 12, dropout: 0, target_modules: [query, value]}
train: {learning_rate: 0.01, batch_size: 8, epochs: 1, base_dtype: float32}
schedule:
  - rounds: 2
    participation: {cohort: 2, min_clients: 2}
evaluation: {every: 1, min_evaluators: 1}
"""


def write_rows(path, count, rng):
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["text", "label"])
        for row in range(count):
            label = row % len(LABELS)
            writer.writerow([rng.choice(PHRASES).format(SUBJECTS[label]), LABELS[label]])


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    return [row["text"] for row in rows], torch.tensor([LABELS.index(row["label"]) for row in rows])


def base_model(base, **settings):
    return AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS), dtype=torch.float32,
                                                              **settings)


@torch.no_grad()
def log_probabilities(model, base, texts):
    """Text by text: behind virtual tokens peft does without padding alone."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(base / "tokenizer.json"), pad_token="[PAD]")
    rows = [tokenizer([text], return_tensors="pt", return_token_type_ids=False) for text in texts]
    return torch.cat([model.eval()(**row).logits for row in rows]).log_softmax(-1)


def check_keys(model, adapter, folder):
    """The files' keys are what peft asks for, and what it writes."""
    if not model.active_peft_config.is_prompt_learning:  # of which it has one at a time
        loaded = model.load_adapter(adapter, "again")
        assert not loaded.missing_keys, f"peft misses {loaded.missing_keys}"
        assert not loaded.unexpected_keys, f"peft does not expect {loaded.unexpected_keys}"
    written = load_file(adapter / "adapter_model.safetensors")
    assert set(written) == set(get_peft_model_state_dict(model)), "the names are not those of peft's state"
    model.save_pretrained(folder, selected_adapters=["default"], save_embedding_layers=False)
    saved = load_file(folder / "adapter_model.safetensors")
    assert set(saved) == set(written), f"saved by peft under other names: {set(saved) ^ set(written)}"
    for name, tensor in written.items():
        assert torch.equal(saved[name], tensor), f"{name}: changed by peft's load and save"
    return len(written)


def check_out(programs, adapter, data, folder, **settings):
    """Our adapter in peft, whose base gets the `settings`; prints the worst difference of a log probability."""
    model = PeftModel.from_pretrained(base_model(programs.base, **settings), adapter)
    tensors = check_keys(model, adapter, folder)
    check_predictions(programs, adapter, data, model, f"{tensors} tensors")


def check_merged(programs, adapter, data, folder, *options):
    """Base and adapter as one folder, which transformers loads with all its weights."""
    programs.run_client("merge", "--adapter", adapter, folder, *options)
    model, loading = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    assert [model.config.id2label[i] for i in range(len(LABELS))] == LABELS
    check_predictions(programs, adapter, data, model, f"merged, {len(list(folder.glob('*.safetensors')))} files")


def check_predictions(programs, adapter, data, model, what):
    """`predict` says of each row what the model does."""
    want = log_probabilities(model, programs.base, read_rows(data)[0])
    output = programs.run_client("predict", "--adapter", adapter, "--data", data, "--json")
    rows = [json.loads(line) for line in output.splitlines()]
    got = torch.tensor([[row["probabilities"][label] for label in LABELS] for row in rows]).log()
    worst = (got - want).abs().max().item()
    print(f"{adapter.name}: {what}, log probabilities of {len(rows)} rows differ by {worst:.1e}", flush=True)
    assert worst < TOLERANCE, f"{adapter.name}: log probabilities differ by {worst}"
    assert want.exp().std(0).max() > 0.002, "the adapter says the same of every row, so that nothing is compared"
    for row, best in zip(rows, want.argmax(-1).tolist(), strict=True):
        assert row["label"] == LABELS[best] and row["probability"] == max(row["probabilities"].values()), row


def check_in(programs, adapter, data, lora, **settings):
    check_in_of(programs, adapter, data,
                LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=24, lora_dropout=0.0, **lora), **settings)


def check_in_of(programs, adapter, data, config, **settings):
    """An adapter that peft saved, all tensors random, scored by us."""
    model = get_peft_model(base_model(programs.base, **settings), config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator) * 0.05)
    model.save_pretrained(adapter, save_embedding_layers=False)  # else it asks the hub about the base
    texts, labels = read_rows(data)
    found = log_probabilities(model, programs.base, texts)
    loss = torch.nn.functional.nll_loss(found, labels).item()
    correct = int((found.argmax(-1) == labels).sum())
    ours = json.loads(programs.run_client("evaluate", "--adapter", adapter, "--data", data, "--json"))
    print(f"{adapter.name}: {correct} of {len(texts)} right, loss {loss:.4f}, which differs by "
          f"{abs(ours['loss'] - loss):.1e}", flush=True)
    assert ours["correct"] == correct and ours["examples"] == len(texts), ours
    assert abs(ours["loss"] - loss) < TOLERANCE, ours
    return loss


def federate(programs, run, train, test, folder):
    with Federation(programs, run, folder, {}) as federation:
        federation.join("trainers", train, "--virtual-clients", 2)
        federation.join("evaluator", test, "--role", "evaluator")
        federation.run()
    programs.export(federation.state, folder / "federated", "--base", programs.base)
    return folder / "federated"


def check_regression(programs, train, test, folder):
    """Our adapter in peft with one label, as a regression is there: the same keys, and the same numbers."""
    for name, source in (("train", train), ("test", test)):
        texts, labels = read_rows(source)
        with open(folder / f"{name}_values.csv", "w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([["text", "label"], *zip(texts, (labels * 0.5 - 1).tolist())])
    run, data, adapter = folder / "regression.yaml", folder / "test_values.csv", folder / "regression"
    run.write_text(f"name: regression\nseed: 1\n{programs.run_client('inspect')}problem: {{type: regression}}\n"
                   f"{SETTINGS}", encoding="utf-8")
    programs.run_client("train", run, adapter, "--data", folder / "train_values.csv", "--eval-data", data)
    base = AutoModelForSequenceClassification.from_pretrained(programs.base, num_labels=1, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter)
    check_keys(model, adapter, folder / "saved_regression")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(programs.base / "tokenizer.json"), pad_token="[PAD]")
    texts, labels = read_rows(test)
    batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        want = model.eval()(**batch).logits[:, 0]
    lines = programs.run_client("predict", "--adapter", adapter, "--data", data, "--json").splitlines()
    worst = (torch.tensor([json.loads(line)["value"] for line in lines]) - want).abs().max().item()
    ours = json.loads(programs.run_client("evaluate", "--adapter", adapter, "--data", data, "--json"))
    truth = labels * 0.5 - 1
    pearson = torch.corrcoef(torch.stack([want, truth]))[0, 1].item()
    print(f"regression: values differ by {worst:.1e}, pearson {ours['pearson']:.4f}, peft's {pearson:.4f}", flush=True)
    assert worst < TOLERANCE and want.std() > 0.01, worst
    assert abs(ours["pearson"] - pearson) < TOLERANCE and abs(ours["loss"] - ((want - truth) ** 2).mean()) < TOLERANCE


def main():
    programs = Programs.of_environment()
    if programs is None:
        return 77
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        train, test, run = folder / "train.csv", folder / "test.csv", folder / "run.yaml"
        rng = random.Random(1)
        write_rows(train, 64, rng)
        write_rows(test, 24, rng)
        run.write_text(f"name: export\nseed: 1\n{programs.run_client('inspect', '--data', train)}{SETTINGS}",
                       encoding="utf-8")
        programs.run_client("train", run, folder / "centralised", "--data", train, "--eval-data", test)
        check_out(programs, folder / "centralised", test, folder / "saved_1")
        check_merged(programs, folder / "centralised", test, folder / "merged", "--shard-mib", 32)
        check_out(programs, federate(programs, run, train, test, folder), test, folder / "saved_2")
        check_in(programs, folder / "from_peft", test, {"target_modules": ["query", "key", "value", "dense"]})
        check_regression(programs, train, test, folder)
    print("export parity: keys, probabilities, accuracy and loss agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
