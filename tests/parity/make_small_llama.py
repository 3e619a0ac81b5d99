#!/usr/bin/env python3
"""Makes a small Llama that has read something: a Hugging Face folder with random weights pre-trained for a few minutes.

The tokenizer (byte-level BPE) and the model both learn from --text, plain text with a paragraph a line. Texts are joined
with </s> between them and cut into pieces of the model's length. The same seed gives the same folder on one machine.
"""
import argparse
import pathlib
import time

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

END = "</s>"
LENGTH = 128
BATCH = 16
PEAK = 3e-3


def make_tokenizer(paragraphs, vocab):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, special_tokens=[END], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(paragraphs, trainer)
    return tokenizer


def make_model(vocab):
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=vocab, hidden_size=192, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
        intermediate_size=512, max_position_embeddings=512, tie_word_embeddings=True, bos_token_id=None, eos_token_id=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=pathlib.Path, required=True, help="plain text, a paragraph a line")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    paragraphs = [line.strip() for line in args.text.read_text(encoding="utf-8").splitlines() if line.strip()]
    tokenizer = make_tokenizer(paragraphs, args.vocab)
    stream = [i for encoding in tokenizer.encode_batch([p + END for p in paragraphs]) for i in encoding.ids]
    pieces = torch.tensor(stream[:len(stream) // LENGTH * LENGTH]).view(-1, LENGTH)
    model = make_model(tokenizer.get_vocab_size())
    steps = args.epochs * (len(pieces) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK, total_steps=steps, pct_start=0.05)
    print(f"{len(stream)} tokens, {sum(p.numel() for p in model.parameters()):,} parameters, {steps} steps", flush=True)
    started, step = time.time(), 0
    for epoch in range(args.epochs):
        total = 0.0
        order = torch.randperm(len(pieces))
        for at in range(0, len(pieces) // BATCH * BATCH, BATCH):
            batch = pieces[order[at:at + BATCH]]
            loss = model(input_ids=batch, labels=batch).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total, step = total + loss.item(), step + 1
        mean = total / (len(pieces) // BATCH)
        print(f"epoch {epoch + 1}/{args.epochs}  loss {mean:.3f}  {time.time() - started:.0f} s", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(args.out)
    tokenizer.save(str(args.out / "tokenizer.json"))


if __name__ == "__main__":
    main()
