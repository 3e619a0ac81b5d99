#!/usr/bin/env python3
"""The reference federation of language models: FedAvg over `peft` LoRA clients in-process, nothing of fedpeft in it.

As fedavg_peft.py, but a client's rows become training examples here too, by the same rules (client/documents.h): rows
to documents, documents packed into examples of at most --max-length tokens. --batches has a JSON array of clients, of
row numbers, and then a round a line: of clients, of batches, of numbers of the client's own examples. Perplexity is that
of all tokens of --test that are not in a prompt. Nothing is resumed: a run takes minutes.
"""
import argparse
import csv
import json
import math
import os
import time

import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

IGNORED = -100


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle] if path.endswith(".jsonl") else list(csv.DictReader(handle))


def documents_of(tokenizer, row, prompt, response, longest):
    """Pairs of token ids and how many of them are a prompt."""
    before = prompt.format(**row)
    ids = tokenizer.encode(before + response.format(**row)).ids
    if not before:
        return [(ids[at:at + longest], 0) for at in range(0, max(0, len(ids) - 1), longest - 1)]
    alone = tokenizer.encode(before).ids
    common = len(os.path.commonprefix([ids, alone]))
    ids = ids[:longest]
    return [(ids, common)] if max(common, 1) < len(ids) else []


def pack(documents, longest):
    examples, room = [], 0
    for document in documents:
        if len(document[0]) > room:
            examples.append([])
            room = longest
        examples[-1].append(document)
        room -= len(document[0])
    return examples


def by_length(documents):
    """Batches of documents of near lengths, so that little is padded."""
    batches = []
    for document in sorted(documents, key=lambda d: len(d[0])):
        if not batches or len(document[0]) > 4 + 1.25 * len(batches[-1][0][0]):
            batches.append([])
        batches[-1].append(document)
    return batches


def sum_of_nats(model, documents):
    """Over the learned tokens of some documents, and how many these are."""
    width = max(len(ids) for ids, _ in documents)
    ids = torch.zeros((len(documents), width), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for at, (tokens, prompt) in enumerate(documents):
        ids[at, :len(tokens)] = torch.tensor(tokens)
        mask[at, :len(tokens)] = 1
        start = max(prompt, 1)
        labels[at, start:len(tokens)] = torch.tensor(tokens[start:])
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    targets = labels[:, 1:]
    total = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1),
                                              ignore_index=IGNORED, reduction="sum")
    return total, int((targets != IGNORED).sum())


def nats(model, examples):
    """The mean over the learned tokens of some examples, and how many these are."""
    parts = [sum_of_nats(model, batch) for batch in by_length([d for example in examples for d in example])]
    tokens = sum(count for _, count in parts)
    return sum(total for total, _ in parts) / tokens, tokens


@torch.no_grad()
def perplexity(model, examples):
    model.eval()
    total = tokens = 0
    for at in range(0, len(examples), 8):
        mean, count = nats(model, examples[at:at + 8])
        total, tokens = total + mean.item() * count, tokens + count
    return math.exp(total / tokens)


def train(model, params, learning_rate, examples, batches):
    """Some passes with a fresh optimiser; the mean loss over tokens."""
    optimizer = torch.optim.AdamW(params.values(), lr=learning_rate, weight_decay=0.0)
    model.train()
    total = tokens = 0
    for rows in batches:
        loss, count = nats(model, [examples[i] for i in rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, tokens = total + loss.item() * count, tokens + count
    return total / tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "start", "batches", "train", "test", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--prompt", default="")
    parser.add_argument("--response", default="{text}")
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(os.path.join(args.base, "tokenizer.json"))

    def documents(rows):
        return [d for row in rows for d in documents_of(tokenizer, row, args.prompt, args.response, args.max_length)]

    rows = read_rows(args.train)
    with open(args.batches, encoding="utf-8") as handle:
        rows_of, *rounds = [json.loads(line) for line in handle]
    clients = [pack(documents([rows[i] for i in numbers]), args.max_length) for numbers in rows_of]
    held_out = pack(documents(read_rows(args.test)), args.max_length)
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, args.start, is_trainable=True)
    params = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with open(args.out, "w", encoding="utf-8") as out:
        out.write(json.dumps({"round": 0, "perplexity": perplexity(model, held_out)}) + "\n")
        for number, batches in enumerate(rounds, start=1):
            started = time.time()
            start = {name: p.detach().clone() for name, p in params.items()}
            mean = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in start.items()}
            loss = 0.0
            for examples, own in zip(clients, batches, strict=True):
                with torch.no_grad():
                    for name, p in params.items():
                        p.copy_(start[name])
                weight = len(examples) / sum(map(len, clients))
                loss += weight * train(model, params, args.lr, examples, own)
                for name, p in params.items():
                    mean[name] += p.detach().double() * weight
            with torch.no_grad():
                for name, p in params.items():
                    p.copy_(mean[name].float())
            row = {"round": number, "loss": round(loss, 5), "perplexity": round(perplexity(model, held_out), 4),
                   "seconds": round(time.time() - started, 2)}
            out.write(json.dumps(row) + "\n")
            out.flush()
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
