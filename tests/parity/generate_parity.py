#!/usr/bin/env python3
"""`fedpeft-client generate` against `generate` of transformers: 64 tokens, greedy, every id equal, and the text.

Small random decoders of every family (model_cells.py) with a byte-level tokenizer, as they are and with an adapter of
peft's whose tensors are all random; on both sides with the cache of keys and values and without. Then each folder names
one of these tokens as the end of text, behind which both have to stop. A folder without a language-model head has to be
refused.

Ordinarily one cell of each family with one method, by a seed that is printed (FEDPEFT_SEED repeats it). FEDPEFT_FULL asks
for all cells with LoRA, and for each family with every method of peft's.
"""
# parity: timeout=300
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from model_cells import CELLS, encodes, make_base, quiet_torch
from method_parity import randomise
from method_matrix import METHODS
from programs import Programs
from tokenizer_kinds import gpt2

NEW_TOKENS = 64
VOCAB, POSITIONS = 300, 128
PROMPT = "The ward is quiet \u2013 na\u00efve, they said, "
TRAINING_TEXTS = [PROMPT, "They said it was the quiet ward.", "Where is the ward they said was there?"]


def with_room(cell):
    """The cell's base, large enough for the tokenizer and the text, and without an end of text."""
    positions = "n_positions" if cell.family == "gpt2" else "max_position_embeddings"
    cell.config = cell.config | {"vocab_size": VOCAB, positions: POSITIONS, "eos_token_id": None, "bos_token_id": None}
    return cell


def has_head(cell):
    return cell.saved_as == "head" or cell.config.get("tie_word_embeddings", cell.family == "gpt2")


def wanted_ids(model, prompt, cache):
    given = torch.tensor([prompt])
    with torch.no_grad():
        out = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=NEW_TOKENS, do_sample=False,
                             use_cache=cache)
    return out[0, len(prompt):].tolist()


def our_text(programs, *options):
    return json.loads(programs.run_client("generate", "--prompt", PROMPT, "--max-new-tokens", NEW_TOKENS, "--threads",
                                          1, "--json", *options))


def compare(programs, tokenizer, model, options):
    """The ids, when both sides agree on them in all ways."""
    prompt = tokenizer.encode(PROMPT).ids
    wanted = wanted_ids(model, prompt, cache=True)
    assert len(wanted) == NEW_TOKENS
    if not getattr(model, "active_peft_config", None) or not model.active_peft_config.is_prompt_learning:
        assert wanted_ids(model, prompt, cache=False) == wanted, "transformers with and without its cache"
    for cache in ([], ["--no-cache"]):
        ours = our_text(programs, *options, *cache)
        assert ours["prompt_ids"] == prompt
        assert ours["ids"] == wanted, f"{options + cache}: got {ours['ids']}, want {wanted}"
        assert ours["stopped_by"] == "max new tokens"
        assert PROMPT + ours["text"] == tokenizer.decode(prompt + wanted)
    return wanted


def compare_end(programs, tokenizer, base, wanted):
    """Both stop behind the first of two tokens that the folder names."""
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [VOCAB - 1, wanted[NEW_TOKENS // 2]]}))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    stopped = wanted_ids(model, tokenizer.encode(PROMPT).ids, cache=True)
    ours = our_text(programs)
    assert len(stopped) < NEW_TOKENS and ours["stopped_by"] == "end of text"
    assert ours["ids"] == stopped, f"end of text: got {ours['ids']}, want {stopped}"


def check(programs, tokenizer, cell, methods, folder):
    """What there is to say of a cell that is as it should be."""
    base, adapter = folder / "base", folder / "adapter"
    programs.base = base
    make_base(cell, base)
    tokenizer.save(str(base / "tokenizer.json"))
    if not has_head(cell):
        refused = subprocess.run([programs.client, "generate", "--base", base, "--prompt", PROMPT], text=True,
                                 capture_output=True)
        assert refused.returncode == 1 and "no language-model head" in refused.stderr, refused.stderr
        return "refused, as its folder has no language-model head"
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    plain = compare(programs, tokenizer, model.eval(), [])
    compare_end(programs, tokenizer, base, plain)
    (base / "generation_config.json").unlink()
    for method in methods:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        model, tensors = method.attach(model, cell, language=True)
        randomise(tensors)
        model.save_pretrained(adapter, save_embedding_layers=False)
        tuned = compare(programs, tokenizer, model.eval(), ["--adapter", adapter])
        # A window of a few tokens does not reach what stands before the text.
        unseen = cell.config.get("sliding_window") and method.name.startswith(("prefix", "prompt"))
        assert unseen or tuned != plain, f"{method.name}: no change"
    return f"{NEW_TOKENS} ids equal, {len(set(plain))} different ones; and with {', '.join(m.name for m in methods)}"


def choose(rng):
    """Cells, and the methods to try on each."""
    decoders = [with_room(cell) for cell in CELLS if not encodes(cell.family)]
    def in_peft(cell):
        return [method for method in METHODS if method.in_peft(cell)]

    families = dict.fromkeys(cell.family for cell in decoders)
    if os.environ.get("FEDPEFT_FULL"):
        firsts = [next(cell for cell in decoders if cell.family == family and has_head(cell)) for family in families]
        # What peft has on some bases of a family alone is tried there.
        return [(cell, [method for method in in_peft(cell) if cell in firsts or method is METHODS[0] or
                        not all(method.in_peft(first) for first in firsts)]) for cell in decoders]
    chosen = [rng.choice([cell for cell in decoders if cell.family == family and has_head(cell)]) for family in families]
    return [(cell, [rng.choice(in_peft(cell))]) for cell in chosen]


def main():
    programs = Programs(os.environ.get("FEDPEFT_BUILD", "build/release"), "")
    if not programs.client.exists():
        print(f"left out: there is no {programs.client} (set FEDPEFT_BUILD)")
        return 77
    quiet_torch(threads=1)
    seed = int(os.environ.get("FEDPEFT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}", flush=True)
    tokenizer: Tokenizer = gpt2(TRAINING_TEXTS, VOCAB - 10)
    failed, chosen = 0, choose(random.Random(seed))
    for cell, methods in chosen:
        with tempfile.TemporaryDirectory() as folder:
            try:
                text = check(programs, tokenizer, cell, methods, pathlib.Path(folder))
            except (AssertionError, RuntimeError) as error:
                failed, text = failed + 1, f"FAILED  {error}"
        print(f"{cell.family:10} {cell.name:47} {text}", flush=True)
    print(f"generate parity: {len(chosen)} cells, each with and without adapter and cache, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
