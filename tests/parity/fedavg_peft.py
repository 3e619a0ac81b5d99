#!/usr/bin/env python3
"""The reference federation: FedAvg over `peft` LoRA clients, written in-process, nothing of fedpeft in it.

It answers "what accuracy per round would the same federation reach with Hugging Face PEFT?". The adapter folder --start
is where it begins, and says rank, alpha and target modules. --batches says who trains on what: a JSON array of clients,
of row numbers, and then a round a line: of clients, of batches, of indices into the client's rows. Every client starts a
round from the global parameters with a fresh AdamW, and the new global parameters are the example-weighted mean. One
client is centralised training; with --keep-optimizer it has one AdamW for the whole run.

One JSON line a round is appended to --out; rounds that are already there are not computed again (parameters are kept
beside it), so a run that was cut off goes on where it stopped.
"""
import argparse
import csv
import json
import os
import time

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def read_rows(path):
    """Texts and labels, of CSV with a header or of TSV without one."""
    with open(path, newline="", encoding="utf-8") as handle:
        if path.endswith(".tsv"):
            rows = [line.rstrip("\n").split("\t") for line in handle]
            return [text for text, _ in rows], [label for _, label in rows]
        rows = list(csv.DictReader(handle))
    label_key = "category" if "category" in rows[0] else "label"
    return [row["text"] for row in rows], [row[label_key] for row in rows]


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def pad(tokens, rows):
    width = max(len(tokens[i]) for i in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for at, i in enumerate(rows):
        ids[at, :len(tokens[i])] = torch.tensor(tokens[i])
        mask[at, :len(tokens[i])] = 1
    return ids, mask


def train(model, optimizer, tokens, labels, batches):
    """The mean loss."""
    model.train()
    total = 0.0
    for rows in batches:
        ids, mask = pad(tokens, rows)
        loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([labels[i] for i in rows])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / sum(map(len, batches))


@torch.no_grad()
def accuracy(model, tokens, labels):
    model.eval()
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    right = 0
    for at in range(0, len(order), 64):
        rows = order[at:at + 64]
        ids, mask = pad(tokens, rows)
        found = model(input_ids=ids, attention_mask=mask).logits.argmax(-1)
        right += int((found == torch.tensor([labels[i] for i in rows])).sum())
    return right / len(tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="Hugging Face model folder")
    parser.add_argument("--start", required=True, help="Hugging Face PEFT adapter folder with the initial values")
    parser.add_argument("--batches", required=True, help="who trains on what, a round a line")
    parser.add_argument("--train", required=True, help="CSV with a text column and a category or label column, or TSV")
    parser.add_argument("--test", required=True)
    parser.add_argument("--out", required=True, help="JSON lines, one a round; appended")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep-optimizer", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    texts, names = read_rows(args.train)
    test_texts, test_names = read_rows(args.test)
    label_of = {name: i for i, name in enumerate(sorted(set(names)))}
    labels = [label_of[n] for n in names]
    test_labels = [label_of[n] for n in test_names]
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    tokens = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    test_tokens = tokenizer(test_texts, truncation=True, max_length=128)["input_ids"]
    with open(args.batches, encoding="utf-8") as handle:
        rows_of, *rounds = [json.loads(line) for line in handle]

    base = AutoModelForSequenceClassification.from_pretrained(
        args.base, num_labels=len(label_of), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = PeftModel.from_pretrained(base, args.start, is_trainable=True)
    params = trainable(model)

    def fresh_optimizer():
        return torch.optim.AdamW(params.values(), lr=args.lr, weight_decay=0.0)

    done = 0
    optimizer = fresh_optimizer()
    kept = args.out + ".pt"
    if os.path.exists(args.out) and os.path.exists(kept):
        state = torch.load(kept)
        done = state["round"]
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(state["params"][name])
        if args.keep_optimizer:
            optimizer.load_state_dict(state["optimizer"])
    for number, clients in enumerate(rounds[done:], start=done + 1):
        started = time.time()
        start = {name: p.detach().clone() for name, p in params.items()}
        mean = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in start.items()}
        mean_loss = 0.0
        for batches, rows in zip(clients, rows_of, strict=True):
            batches = [[rows[i] for i in batch] for batch in batches]
            with torch.no_grad():
                for name, p in params.items():
                    p.copy_(start[name])
            if not args.keep_optimizer:
                optimizer = fresh_optimizer()
            weight = len(rows) / sum(map(len, rows_of))
            mean_loss += weight * train(model, optimizer, tokens, labels, batches)
            for name, p in params.items():
                mean[name] += p.detach().double() * weight
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(mean[name].float())
        row = {"round": number, "loss": round(mean_loss, 5),
               "accuracy": round(accuracy(model, test_tokens, test_labels), 5),
               "seconds": round(time.time() - started, 2)}
        state = {"round": number, "params": {name: p.detach() for name, p in params.items()}}
        if args.keep_optimizer:
            state["optimizer"] = optimizer.state_dict()
        torch.save(state, kept + ".new")
        os.replace(kept + ".new", kept)
        with open(args.out, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
