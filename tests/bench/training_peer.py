#!/usr/bin/env python3
"""training_peer.py JOB: the peers' side of training.py, which says the same to it as to training_bench: `transformers`
with `peft`, `adapters` or `opacus`, at their best honest settings. Of the job it also reads "autocast" (bfloat16) and
"library". A batch is padded to its longest text, as the default collation does.
"""
import json
import pathlib
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "parity"))
from model_cells import quiet_torch  # noqa: E402


def peft_model(job, model):
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

    task = "CAUSAL_LM" if job["language"] else "SEQ_CLS"
    targets = ["q_proj", "v_proj"] if job["language"] else ["query", "value"]
    lora = {"task_type": task, "r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": targets}
    config = {"lora": lambda: LoraConfig(**lora),
              "lora_top2": lambda: LoraConfig(**lora, layers_to_transform=[4, 5]),
              "prefix": lambda: PrefixTuningConfig(task_type=task, num_virtual_tokens=16),
              "prompt": lambda: PromptTuningConfig(task_type=task, num_virtual_tokens=16)}[job["method"]]()
    return get_peft_model(model, config)


def adapters_model(model):
    import adapters
    from adapters import BnConfig

    adapters.init(model)
    model.add_adapter("bench", config=BnConfig(mh_adapter=True, output_adapter=True, non_linearity="relu",
                                               reduction_factor=model.config.hidden_size / 32))
    model.train_adapter("bench")
    return model


def trained_in_place(model, ends):
    for name, p in model.named_parameters():
        p.requires_grad = name.endswith(ends) or name.startswith("classifier.")
    return model


class Peer:
    def __init__(self, job):
        self.job = job
        if job["language"]:
            model = AutoModelForCausalLM.from_pretrained(job["base"])
        else:
            model = AutoModelForSequenceClassification.from_pretrained(
                job["base"], num_labels=job["labels"], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        if job["method"] in ("bitfit", "head"):
            model = trained_in_place(model, ".bias" if job["method"] == "bitfit" else ())
        else:
            model = adapters_model(model) if job["method"] == "adapter" else peft_model(job, model)
        self.model = model.train()
        self.optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=job["rate"],
                                           weight_decay=0.0)
        if job["private"]:
            from opacus import GradSampleModule
            from opacus.optimizers import DPOptimizer

            self.model = GradSampleModule(self.model, strict=False)
            self.optimizer = DPOptimizer(self.optimizer, noise_multiplier=1.0, max_grad_norm=1.0,
                                         expected_batch_size=len(job["batches"][0]))

    def loss(self, rows):
        width = max(len(row["ids"]) for row in rows)
        ids = torch.tensor([row["ids"] + [0] * (width - len(row["ids"])) for row in rows])
        mask = torch.tensor([[1] * len(row["ids"]) + [0] * (width - len(row["ids"])) for row in rows])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.job["autocast"]):
            if self.job["language"]:
                return self.model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
            logits = self.model(input_ids=ids, attention_mask=mask).logits
        return torch.nn.functional.cross_entropy(logits.float(), torch.tensor([row["label"] for row in rows]))

    def step(self, rows):
        loss = self.loss(rows)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, rows):
        self.model.eval()
        loss = self.loss(rows).item()
        self.model.train()
        return loss


def main():
    with open(sys.argv[1], encoding="utf-8") as handle:
        job = {"language": False, "private": False, "autocast": False} | json.load(handle)
    quiet_torch(threads=job["threads"])
    peer = Peer(job)
    for line in sys.stdin:
        command, batch = line.split()
        cpu, began = time.process_time(), time.perf_counter()
        loss = {"step": peer.step, "evaluate": peer.evaluate}[command](job["batches"][int(batch)])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(json.dumps({"seconds": seconds, "cpu": cpu, "loss": loss}), flush=True)


if __name__ == "__main__":
    main()
