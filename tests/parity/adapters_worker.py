"""The `adapters` library's side of adapters_parity.py, run by build/venv-adapters: each line of standard input is a job,
its answer a line of standard output, both JSON.

    out    an adapter folder of ours: what the library says of its keys, what it writes when it saves the adapter again,
           log probabilities of the texts (of a language model: the ids of a greedy continuation)
    in     an adapter of a library's configuration, all of it random, saved; its log probabilities
"""
import json
from logging import getLogger
import pathlib
import sys
import warnings

import adapters
import torch
from safetensors.torch import load_file
from transformers import (AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast, logging)


def load(job):
    """The job's base with a fresh head, which is then the adapter's."""
    if job["language"]:
        model = AutoModelForCausalLM.from_pretrained(job["base"])
    else:
        pad = {} if job["labels"] is None else dict(pad_token_id=1)
        model = AutoModelForSequenceClassification.from_pretrained(job["base"], num_labels=len(job["labels"]), **pad)
    adapters.init(model)
    return model.eval()


@torch.no_grad()
def answers(job, model):
    """Text by text, without padding."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{job['base']}/tokenizer.json", pad_token="[PAD]")
    rows = [tokenizer([text], return_tensors="pt", return_token_type_ids=False) for text in job["texts"]]
    if job["language"]:
        # Without the cache, which adapters 1.3.0 loses between the layers of a Llama.
        options = dict(max_new_tokens=8, do_sample=False, pad_token_id=1, use_cache=False)
        return [tokenizer.decode(model.generate(**row, **options)[0, row["input_ids"].shape[1]:]) for row in rows]
    return torch.cat([model(**row).logits for row in rows]).log_softmax(-1).tolist()


def tensors(folder):
    return {path.name: load_file(path) for path in pathlib.Path(folder).glob("*.safetensors")}


def configurations(folder):
    """All that the folder's JSON files say but where the base was."""
    return {path.name: json.loads(path.read_text()) | {"model_name": None} for path in pathlib.Path(folder).glob("*.json")}


def compare(ours, theirs):
    """What differs between two folders."""
    found = [f"{name} differs" for name in ("adapter_config.json", "head_config.json")
             if configurations(ours).get(name) != configurations(theirs).get(name)]
    one, other = tensors(ours), tensors(theirs)
    found += [f"files {sorted(one)} and {sorted(other)}"] if set(one) != set(other) else []
    for file in set(one) & set(other):
        if set(one[file]) != set(other[file]):
            found.append(f"{file}: keys {set(one[file]) ^ set(other[file])}")
        else:
            found += [f"{file}: {name}" for name, t in one[file].items() if not torch.equal(t, other[file][name])]
    return found


def out(job):
    model, said = load(job), {}
    model.load_adapter(job["adapter"], use_safetensors=True, loading_info=said, set_active=True,
                       with_head=not job["language"])
    saved = f"{job['adapter']}_saved"
    model.save_adapter(saved, "fedpeft", use_safetensors=True, with_head=not job["language"])
    answer = dict(missing=said["missing_keys"], unexpected=said["unexpected_keys"],
                  differs=compare(job["adapter"], saved), answers=answers(job, model))
    if job["language"]:  # its head is saved by default, and is the base's
        model.save_adapter(saved, "fedpeft", use_safetensors=True)
    return answer


def take_in(job):
    model = load(job)
    config = adapters.AdapterConfig.load(job["config"], **job["changes"])
    model.add_adapter("theirs", config=config)
    model.train_adapter("theirs")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad and name != "lm_head.weight":
                p.add_(torch.randn(p.shape, generator=generator) * (0.3 if job["changes"].get("phm_layer") else 0.1))
    if job["labels"]:
        model.config.label2id = {label: i for i, label in enumerate(job["labels"])}
        model.config.id2label = dict(enumerate(job["labels"]))
    if job.get("pickle"):
        model.save_adapter(job["adapter"], "theirs")
        return {}
    if job.get("trained_head"):
        model.lm_head.weight.data.mul_(2)
    model.save_adapter(job["adapter"], "theirs", use_safetensors=True)
    return dict(answers=answers(job, model.eval()))


def main():
    warnings.filterwarnings("ignore")
    getLogger("adapters").setLevel("ERROR")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(2)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps({"out": out, "in": take_in}[job["do"]](job)), flush=True)


if __name__ == "__main__":
    main()
