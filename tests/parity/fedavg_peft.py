#!/usr/bin/env python3
"""The reference federation: FedAvg over `peft` LoRA clients, written in-process, nothing of fedpeft in it.

It answers "what accuracy per round would the same federation reach with Hugging Face PEFT?". Every client starts a
round from the global parameters with a fresh AdamW, trains whole epochs on its own rows, and the new global
parameters are the example-weighted mean. `--clients 1` is centralised training: one epoch a round and, with
`--keep-optimizer`, one AdamW for the whole run.

One JSON line a round is appended to --out; rounds that are already there are not computed again (parameters are kept
beside it), so a run that was cut off goes on where it stopped.
"""
import argparse
import csv
import json
import os
import time

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def read_rows(path):
    with open(path, newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    label_key = "category" if "category" in rows[0] else "label"
    return [row["text"] for row in rows], [row[label_key] for row in rows]


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def batches(order, lengths, batch):
    """Shuffled batches whose rows have near lengths: sort within windows of 16 batches, then shuffle the batches."""
    out = []
    for at in range(0, len(order), batch * 16):
        window = sorted(order[at:at + batch * 16], key=lambda i: lengths[i])
        out += [window[i:i + batch] for i in range(0, len(window), batch)]
    return out


def pad(tokens, rows):
    width = max(len(tokens[i]) for i in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for at, i in enumerate(rows):
        ids[at, :len(tokens[i])] = torch.tensor(tokens[i])
        mask[at, :len(tokens[i])] = 1
    return ids, mask


def train(model, optimizer, tokens, labels, rows, batch, epochs, rng, lr):
    for group in optimizer.param_groups:
        group["lr"] = lr
    model.train()
    lengths = [len(t) for t in tokens]
    total, count = 0.0, 0
    for _ in range(epochs):
        plan = batches(rng.permutation(rows).tolist(), lengths, batch)
        for at in rng.permutation(len(plan)):
            ids, mask = pad(tokens, plan[at])
            loss = model(input_ids=ids, attention_mask=mask, labels=torch.tensor([labels[i] for i in plan[at]])).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(plan[at])
            count += len(plan[at])
    return total / count


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
    parser.add_argument("--train", required=True, help="CSV with a text column and a category or label column")
    parser.add_argument("--test", required=True)
    parser.add_argument("--out", required=True, help="JSON lines, one a round; appended")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--alpha", type=float, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep-optimizer", action="store_true")
    parser.add_argument("--dirichlet", type=float, default=0, help="label skew; 0 is IID")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    texts, names = read_rows(args.train)
    test_texts, test_names = read_rows(args.test)
    label_of = {name: i for i, name in enumerate(sorted(set(names)))}
    labels = [label_of[n] for n in names]
    test_labels = [label_of[n] for n in test_names]
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    tokens = tokenizer(texts, truncation=True, max_length=128)["input_ids"]
    test_tokens = tokenizer(test_texts, truncation=True, max_length=128)["input_ids"]

    base = AutoModelForSequenceClassification.from_pretrained(
        args.base, num_labels=len(label_of), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = get_peft_model(base, LoraConfig(task_type="SEQ_CLS", r=args.rank, lora_alpha=args.alpha,
                                            target_modules=["query", "value"], lora_dropout=0.0))
    params = trainable(model)
    rng = np.random.default_rng(args.seed)
    if args.dirichlet:
        parts = [[] for _ in range(args.clients)]
        for label in range(len(label_of)):
            rows = rng.permutation([i for i, l in enumerate(labels) if l == label])
            cuts = (np.cumsum(rng.dirichlet([args.dirichlet] * args.clients)) * len(rows)).astype(int)[:-1]
            for part, piece in zip(parts, np.split(rows, cuts)):
                part.extend(piece.tolist())
    else:
        parts = [p.tolist() for p in np.array_split(rng.permutation(len(tokens)), args.clients)]

    done = 0
    optimizer = None
    kept = args.out + ".pt"
    if os.path.exists(args.out) and os.path.exists(kept):
        state = torch.load(kept)
        done = state["round"]
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(state["params"][name])
        if args.keep_optimizer:
            optimizer = torch.optim.AdamW(params.values(), lr=args.lr, weight_decay=0.0)
            optimizer.load_state_dict(state["optimizer"])
    for number in range(done + 1, args.rounds + 1):
        started = time.time()
        start = {name: p.detach().clone() for name, p in params.items()}
        mean = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in start.items()}
        losses = 0.0
        total = sum(len(p) for p in parts if p)
        for client, rows in enumerate(parts):
            if not rows:
                continue
            with torch.no_grad():
                for name, p in params.items():
                    p.copy_(start[name])
            if optimizer is None or not args.keep_optimizer:
                optimizer = torch.optim.AdamW(params.values(), lr=args.lr, weight_decay=0.0)
            order = np.random.default_rng([args.seed, number, client])
            losses += len(rows) / total * train(model, optimizer, tokens, labels, rows, args.batch, args.epochs, order, args.lr)
            for name, p in params.items():
                mean[name] += p.detach().double() * (len(rows) / total)
        with torch.no_grad():
            for name, p in params.items():
                p.copy_(mean[name].float())
        row = {"round": number, "seed": args.seed, "clients": args.clients, "lr": args.lr, "dirichlet": args.dirichlet,
               "loss": round(losses, 5), "accuracy": round(accuracy(model, test_tokens, test_labels), 5),
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
