#!/usr/bin/env python3
"""simulation_flower.py JOB: Flower's side of simulation.py: its simulation engine, FedAvg, clients that train LoRA by
transformers and peft. At its best honest settings: one actor a core, each of which makes its model and tokens once.
Prints `simulated` when the last round has ended, then evaluates, and prints `accuracy` and the number.
"""
import csv
import functools
import json
import pathlib
import random
import sys

import numpy
import torch
from flwr.client import ClientApp, NumPyClient
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import run_simulation


def read(path):
    with open(path, encoding="utf-8", newline="") as handle:
        return [(row["text"], row["category"]) for row in csv.DictReader(handle)]


class Worker:
    """A process's model and examples."""

    def __init__(self, job):
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.job = job
        train, test = (read(f"{job['data']}/{name}.csv") for name in ("train", "test"))
        labels = {label: i for i, label in enumerate(sorted({label for _, label in train}))}
        tokenizer = AutoTokenizer.from_pretrained(job["base"])

        def encode(rows):
            ids = tokenizer([text for text, _ in rows], truncation=True, max_length=job["max_length"])["input_ids"]
            return [(row, labels[label]) for row, (_, label) in zip(ids, rows, strict=True)]

        self.train, self.test = encode(train), encode(test)
        random.Random(1).shuffle(self.train)
        torch.manual_seed(1)
        torch.set_num_threads(1)
        model = AutoModelForSequenceClassification.from_pretrained(
            job["base"], num_labels=len(labels), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        self.model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=job["rank"], lora_alpha=job["alpha"],
                                                      lora_dropout=0.0, target_modules=["query", "value"]))
        self.trained = [p for p in self.model.parameters() if p.requires_grad]

    def get(self):
        return [p.detach().numpy().copy() for p in self.trained]

    def set(self, values):
        with torch.no_grad():
            for p, value in zip(self.trained, values, strict=True):
                p.copy_(torch.from_numpy(numpy.asarray(value)))

    def logits(self, rows):
        width = max(len(ids) for ids, _ in rows)
        ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows])
        return self.model(input_ids=ids, attention_mask=mask).logits

    def epoch(self, client):
        rows = self.train[client::self.job["clients"]]
        random.shuffle(rows)
        self.model.train()
        optimizer = torch.optim.AdamW(self.trained, lr=self.job["rate"], weight_decay=0.0)
        for at in range(0, len(rows), self.job["batch"]):
            batch = rows[at:at + self.job["batch"]]
            loss = torch.nn.functional.cross_entropy(self.logits(batch), torch.tensor([label for _, label in batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(rows)

    @torch.no_grad()
    def accuracy(self):
        self.model.eval()
        hits = 0
        for at in range(0, len(self.test), 64):
            batch = self.test[at:at + 64]
            hits += int((self.logits(batch).argmax(1) == torch.tensor([label for _, label in batch])).sum())
        return hits / len(self.test)


@functools.cache
def worker(job):
    """One a process, which Flower uses again and again."""
    return Worker(json.loads(job))


class Client(NumPyClient):
    def __init__(self, job, number):
        self.job, self.number = job, number

    def fit(self, parameters, config):
        mine = worker(self.job)
        mine.set(parameters)
        examples = mine.epoch(self.number)
        return mine.get(), examples, {}


class KeepLast(FedAvg):
    """FedAvg, and what it last made."""

    last = None

    def aggregate_fit(self, server_round, results, failures):
        if failures:
            raise RuntimeError(f"{len(failures)} clients failed, the first one: {failures[0]}")
        parameters, metrics = super().aggregate_fit(server_round, results, failures)
        KeepLast.last = parameters_to_ndarrays(parameters)
        return parameters, metrics


def main():
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8")
    job = json.loads(text)
    mine = Worker(job)
    strategy = KeepLast(
        fraction_fit=job["cohort"] / job["clients"], min_fit_clients=job["cohort"], fraction_evaluate=0.0,
        min_available_clients=job["clients"], initial_parameters=ndarrays_to_parameters(mine.get()))
    server = ServerApp(server_fn=lambda context: ServerAppComponents(
        strategy=strategy, config=ServerConfig(num_rounds=job["rounds"])))
    client = ClientApp(client_fn=lambda context: Client(text, int(context.node_config["partition-id"])).to_client())
    run_simulation(server, client, num_supernodes=job["clients"], backend_config={
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": job["cores"]}})
    print("simulated", flush=True)
    mine.set(KeepLast.last)
    print(f"accuracy {mine.accuracy():.6f}", flush=True)


if __name__ == "__main__":
    # By its name, so that actors import what they would otherwise get anew, without its cache, with each message.
    import simulation_flower
    simulation_flower.main()
