#!/usr/bin/env python3
"""A language model's adapters in peft: what a federation and `fedpeft-client train` export gives the same loss there.

Small random bases of two families (GPT-2's linears are stored transposed). Two clients and an evaluator federate a
plain text; `fedpeft-client train` learns to answer questions, prompts left out. Each adapter loads in peft with no key
missing and none unexpected, survives its save bit for bit, and has there the loss that `fedpeft-client evaluate` gives
(the federation's also that of its last round, and the
same ΔW in its GGUF file, which the `gguf` package reads); and `predict` answers each question as peft's greedy generation does.
An adapter that trained the head, too, is refused.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from export_parity import TOLERANCE, check_keys, federate
from generate_parity import VOCAB, with_room
from language_fedavg_peft import documents_of, nats, pack
from model_cells import CELLS, make_base, quiet_torch
from programs import Programs
from tokenizer_kinds import gpt2

FAMILIES = {"llama": "q_proj, down_proj", "gpt2": "c_attn, c_proj"}
MAX_LENGTH = 48
NEW_TOKENS = 12
SETTINGS = """
problem: {{type: language_modelling, max_length: {length}, prompt: {prompt}, response: {response}}}
peft: {{lora: {{rank: 4, alpha: 12, use_rslora: true, patterns: [{{module: {last}, rank: 2, alpha: 5}}],
              target_modules: [{targets}]}}}}
train: {{learning_rate: 0.02, batch_size: 4, epochs: 2, base_dtype: float32}}
schedule: [{{rounds: 2, participation: {{cohort: 2, min_clients: 2}}}}]
evaluation: {{every: 1, min_evaluators: 1}}
"""
PROMPT, RESPONSE = "Q: {question}\nA:", " {answer}."
CITIES = ["Oslo", "Lima", "Accra", "Hanoi", "Quito", "Bern", "Doha", "Riga"]


def questions():
    return [{"question": f"Where is the ward of {city}, please?", "answer": f"It is in the north of {city}"}
            for city in CITIES]


def lines():
    return [f"{city} \u2013 {'the ward is quiet, they said, and ' * (number % 5)}that was it"
            for number, city in enumerate(CITIES)]


def write_run(programs, path, targets, prompt, response):
    base = programs.run_client("inspect").split("\n#")[0]
    path.write_text(f"name: export\nseed: 1\n{base}" + SETTINGS.format(
        length=MAX_LENGTH, prompt=json.dumps(prompt), response=json.dumps(response), targets=targets,
        last=targets.split(", ")[-1]), encoding="utf-8")


def peft_loss(model, tokenizer, rows, prompt, response):
    documents = [d for row in rows for d in documents_of(tokenizer, row, prompt, response, MAX_LENGTH)]
    with torch.no_grad():
        mean, tokens = nats(model, pack(documents, MAX_LENGTH))
    return mean.item(), tokens


def check_loss(programs, adapter, data, folder, rows, prompt="", response="{text}"):
    """The adapter in peft, and its loss there and here."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(programs.base, dtype=torch.float32), adapter)
    tensors = check_keys(model, adapter, folder)
    want, tokens = peft_loss(model.eval(), Tokenizer.from_file(str(programs.base / "tokenizer.json")), rows, prompt,
                             response)
    ours = json.loads(programs.run_client("evaluate", "--adapter", adapter, "--data", data, "--json"))
    print(f"{adapter.name}: {tensors} tensors, loss {want:.4f} of {tokens} tokens, which differs by "
          f"{abs(ours['loss'] - want):.1e}", flush=True)
    assert abs(ours["loss"] - want) < TOLERANCE, ours
    return model, ours["loss"]


def check_gguf(path, model, cell):
    """The same ΔW as in peft, rows of a Llama's queries and keys where llama.cpp's converter brings them."""
    reader = gguf.GGUFReader(path)
    alpha = reader.fields["adapter.lora.alpha"].contents()
    assert reader.fields["general.architecture"].contents() == cell.family
    assert reader.fields["general.type"].contents() == "adapter" and reader.fields["adapter.type"].contents() == "lora"
    tensors = {t.name: torch.from_numpy(t.data.copy()) for t in reader.tensors}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[cell.family.upper()], model.config.num_hidden_layers)
    compared = 0
    for path, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        name = names.get_name(path.removeprefix("base_model.model.")) + ".weight"
        a, b = tensors.pop(name + ".lora_a"), tensors.pop(name + ".lora_b")
        want = module.get_delta_weight("default").detach()
        want = want.t() if cell.family == "gpt2" else want
        if cell.family == "llama" and path.endswith(("q_proj", "k_proj")):
            heads = model.config.num_attention_heads if path.endswith("q_proj") else model.config.num_key_value_heads
            want = want.reshape(heads, 2, -1, want.shape[1]).transpose(1, 2).reshape(want.shape)
        assert torch.allclose(alpha / a.shape[0] * b @ a, want, atol=1e-6), name
        assert want.abs().max() > 1e-3, "the adapter changes nothing"
        compared += 1
    assert not tensors, f"of no module: {list(tensors)}"
    print(f"{compared} low-rank pairs of the GGUF file are peft's", flush=True)


def check_answers(programs, adapter, data, model, rows):
    tokenizer = Tokenizer.from_file(str(programs.base / "tokenizer.json"))
    output = programs.run_client("predict", "--adapter", adapter, "--data", data, "--max-new-tokens", NEW_TOKENS,
                                 "--json")
    answers = [json.loads(line) for line in output.splitlines()]
    for number, (row, answer) in enumerate(zip(rows, answers, strict=True), start=1):
        prompt = tokenizer.encode(PROMPT.format(**row)).ids
        given = torch.tensor([prompt])
        out = model.generate(input_ids=given, attention_mask=torch.ones_like(given), max_new_tokens=NEW_TOKENS,
                             do_sample=False)[0].tolist()
        want = tokenizer.decode(out)[len(tokenizer.decode(prompt)):]
        assert answer == {"row": number, "text": want, "stopped_by": "max new tokens"}, f"got {answer}, want {want!r}"
    print(f"{adapter.name}: {len(answers)} answers of {NEW_TOKENS} tokens equal, {len({a['text'] for a in answers})} "
          "different ones")


def check_columns(programs, adapter, data):
    """The template names the columns; another word on them is refused, and not ignored."""
    refused = subprocess.run([programs.client, "evaluate", "--base", programs.base, "--adapter", adapter, "--data", data,
                              "--text-column", "answer"], text=True, capture_output=True)
    assert refused.returncode == 1 and "{question}" in refused.stderr, refused.stderr


def check_refusal(programs, data, targets, folder):
    """What was trained besides LoRA is not left out in silence."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(programs.base, dtype=torch.float32), LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=targets.split(", "), modules_to_save=["lm_head"]))
    model.save_pretrained(folder, save_embedding_layers=False)
    for verb in ("evaluate", "predict"):
        refused = subprocess.run([programs.client, verb, "--base", programs.base, "--adapter", folder, "--data", data],
                                 text=True, capture_output=True)
        assert refused.returncode == 1 and "lm_head" in refused.stderr, refused.stderr


def check(build, cell, targets, folder):
    programs = Programs(build, folder / "base")
    make_base(cell, programs.base)
    gpt2(lines() + [PROMPT.format(**q) + RESPONSE.format(**q) for q in questions()], VOCAB - 10).save(
        str(programs.base / "tokenizer.json"))

    text, run = folder / "train.txt", folder / "text.yaml"
    text.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    write_run(programs, run, targets, "", "")
    adapter = federate(programs, run, text, text, folder / "federation")
    programs.export(folder / "federation/state", folder / "adapter.gguf", "--format", "gguf")
    model, loss = check_loss(programs, adapter, text, folder / "saved_1", [{"text": line} for line in lines()])
    check_gguf(folder / "adapter.gguf", model, cell)
    rounds = (folder / "federation/state/rounds.jsonl").read_text(encoding="utf-8").splitlines()
    assert abs(json.loads(rounds[-1])["eval_loss"] - loss) < TOLERANCE, rounds[-1]
    assert json.loads(rounds[-1])["eval_perplexity"] < json.loads(rounds[0])["eval_perplexity"], "nothing was learned"

    data, run, adapter = folder / "questions.jsonl", folder / "questions.yaml", folder / "instructions"
    data.write_text("".join(json.dumps(row) + "\n" for row in questions()), encoding="utf-8")
    write_run(programs, run, targets, PROMPT, RESPONSE)
    programs.run_client("train", run, adapter, "--data", data, "--eval-data", data)
    model, _ = check_loss(programs, adapter, data, folder / "saved_2", questions(), PROMPT, RESPONSE)
    check_answers(programs, adapter, data, model, questions())
    check_columns(programs, adapter, data)
    check_refusal(programs, data, targets, folder / "with_head")


def main():
    programs = Programs.of_environment()
    if programs is None:
        return 77
    quiet_torch(threads=2)
    for family, targets in FAMILIES.items():
        cell = with_room(next(cell for cell in CELLS if cell.family == family and cell.saved_as == "head"))
        with tempfile.TemporaryDirectory() as folder:
            check(programs.server.parent.parent, cell, targets, pathlib.Path(folder))
    print(f"language export parity of {len(FAMILIES)} families: keys, losses and answers agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
