#!/usr/bin/env python3
"""Adapters of every family of bases cross between fedpeft and peft, as export_parity.py asserts of BERT's.

Small random bases, because what differs is names: of linears, of heads and of what peft has to save whole. Runs leave
target_modules out, but for RoBERTa's, whose `dense` is also a layer of its classifier. Ordinarily three families, by a
seed that is printed (FEDPEFT_SEED repeats it); FEDPEFT_FULL asks for all.
"""
import os
import pathlib
import random
import sys
import tempfile

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from export_parity import PHRASES, SETTINGS, SUBJECTS, check_in, check_out, write_rows
from model_cells import CELLS, make_base, quiet_torch
from programs import Programs

FAMILIES = ["roberta", "distilbert", "gpt2", "llama", "mistral", "qwen2", "qwen3"]
TARGETS = ", target_modules: [query, value]"
OTHER_TARGETS = {"roberta": ", target_modules: [query, dense]"}
DECODER_LORA = {"target_modules": ["q_proj", "k_proj", "down_proj"]}
LORA = {
    "roberta": {"target_modules": ["query", "value"]},
    "distilbert": {"target_modules": ["q_lin", "lin2"], "modules_to_save": ["pre_classifier", "classifier"]},
    "gpt2": {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
}


def write_tokenizer(path):
    """One token a word of the texts; the padding token is RoBERTa's."""
    words = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"]
    split = pre_tokenizers.BertPreTokenizer()
    for text in PHRASES + SUBJECTS:
        words += [word for word, _ in split.pre_tokenize_str(text) if word not in words]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 2)])
    tokenizer.save(str(path))


def check(build, cell, folder):
    base, train, test, run = folder / "base", folder / "train.csv", folder / "test.csv", folder / "run.yaml"
    make_base(cell, base)
    write_tokenizer(base / "tokenizer.json")
    programs = Programs(build, base)
    rng = random.Random(1)
    write_rows(train, 64, rng)
    write_rows(test, 24, rng)
    settings = SETTINGS.replace(TARGETS, OTHER_TARGETS.get(cell.family, ""))
    run.write_text(f"name: export\nseed: 1\n{programs.run_client('inspect', '--data', train)}{settings}",
                   encoding="utf-8")
    ours, theirs = folder / f"{cell.family}_of_fedpeft", folder / f"{cell.family}_of_peft"
    programs.run_client("train", run, ours, "--data", train, "--eval-data", test)
    check_out(programs, ours, test, folder / "saved", pad_token_id=1)
    check_in(programs, theirs, test, LORA.get(cell.family, DECODER_LORA), pad_token_id=1)


def main():
    programs = Programs.of_environment()
    if programs is None:
        return 77
    quiet_torch(threads=2)
    seed = int(os.environ.get("FEDPEFT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}", flush=True)
    families = FAMILIES if os.environ.get("FEDPEFT_FULL") else random.Random(seed).sample(FAMILIES, 3)
    for family in families:
        cell = next(cell for cell in CELLS if cell.family == family)
        cell.config = cell.config | {"vocab_size": 64}
        with tempfile.TemporaryDirectory() as folder:
            check(programs.server.parent.parent, cell, pathlib.Path(folder))
    print(f"export parity of {len(families)} families: keys, probabilities, accuracy and loss agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
