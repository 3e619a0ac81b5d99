"""METHODS: what the parity scripts compare on every base. A method's `peft(base)` is a run's `peft:` block, its `attach`
the same on a transformers model.
"""
import json
import pathlib
import shutil

import torch
from peft import (AdaLoraConfig, IA3Config, LNTuningConfig, LoraConfig, PrefixTuningConfig, PromptEncoderConfig,
                  PromptTuningConfig)

from families_export_parity import write_tokenizer
from method_references import Bottleneck, Compacter, LlamaAdapter, Offsets, Sparse
from peft_methods import AdaLora, Peft, Prefix


def norms(model):
    return [name for name, module in model.named_modules() if "Norm" in type(module).__name__]


def lora_patterns(base):
    """A rank of its own for the first target, an alpha for the second."""
    first, second = base.targets[0], base.targets[-1]
    ranks, alphas = {first: 2}, {second: 7}
    patterns = [dict(module=first, rank=2)]
    if first == second:
        patterns, alphas = [dict(module=first, rank=2, alpha=7)], {first: 7}
    else:
        patterns.append(dict(module=second, alpha=7))
    return ranks, alphas, patterns


def lora(base, **more):
    return LoraConfig(r=4, lora_alpha=12, lora_dropout=0.0, fan_in_fan_out=base.family == "gpt2",
                      **dict(target_modules=base.targets) | more)


def lora_block(base, **more):
    return dict(lora=dict(rank=4, alpha=12, target_modules=base.targets) | more)


def virtual_tokens(base):
    """peft reads the sizes that it needs from most configurations."""
    if base.family != "distilbert":
        return dict(num_virtual_tokens=3)
    return dict(num_virtual_tokens=3, token_dim=base.config["dim"], num_layers=base.config["n_layers"],
                num_attention_heads=base.config["n_heads"])


def text_prompt(base, model):
    """Starts from a text by the tokenizer beside the base's weights, which gets one if it has none. peft reads it from a
    folder without config.json: for some families transformers changes its stages."""
    folder = pathlib.Path(model.name_or_path)
    if not (folder / "tokenizer.json").exists():
        write_tokenizer(folder / "tokenizer.json")
    alone = folder / "tokenizer"
    alone.mkdir(exist_ok=True)
    shutil.copy(folder / "tokenizer.json", alone)
    (alone / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return PromptTuningConfig(prompt_tuning_init="TEXT", prompt_tuning_init_text=TEXT,
                              tokenizer_name_or_path=str(alone), **virtual_tokens(base))


TEXT = "my card"
METHODS = [
    Peft("lora, patterns, rslora",
         lambda base, _: lora(base, use_rslora=True, rank_pattern=lora_patterns(base)[0],
                              alpha_pattern=lora_patterns(base)[1]),
         lambda base: lora_block(base, use_rslora=True, patterns=lora_patterns(base)[2])),
    Peft("lora, all-linear", lambda base, _: lora(base, target_modules="all-linear"),
         lambda base: lora_block(base, target_modules=["all-linear"])),
    Peft("lora, a layer", lambda base, _: lora(base, layers_to_transform=[1]),
         lambda base: lora_block(base, layers=[1])),
    Peft("dora", lambda base, _: lora(base, use_dora=True), lambda base: lora_block(base, use_dora=True)),
    AdaLora("adalora", lambda base, _: AdaLoraConfig(init_r=4, target_r=2, lora_alpha=12, lora_dropout=0.0, total_step=100,
                                                     target_modules=base.targets,
                                                     fan_in_fan_out=base.family == "gpt2"),
            lambda base: dict(method="adalora", adalora=dict(initial_rank=4, target_rank=2, alpha=12,
                                                             target_modules=base.targets))),
    Peft("ia3", lambda base, _: IA3Config(fan_in_fan_out=base.family == "gpt2", **(
        dict(target_modules=["k_lin", "v_lin", "ffn.lin2"], feedforward_modules=["ffn.lin2"])
        if base.family == "distilbert" else {})), lambda base: dict(method="ia3")),
    Bottleneck("houlsby", "silu", torch.nn.functional.silu),
    Bottleneck("pfeiffer", "relu", torch.nn.functional.relu),
    Bottleneck("parallel", "gelu", torch.nn.functional.gelu),
    Compacter("houlsby", "gelu", torch.nn.functional.gelu, 1),
    Compacter("pfeiffer", "silu", torch.nn.functional.silu, 2),
    Compacter("parallel", "relu", torch.nn.functional.relu, 1),
    Prefix("prefix", lambda base, _: PrefixTuningConfig(**virtual_tokens(base)),
         lambda base: dict(method="prefix", prefix=dict(length=3))),
    Peft("prompt", lambda base, _: PromptTuningConfig(**virtual_tokens(base)),
         lambda base: dict(method="prompt", prompt=dict(length=3))),
    Prefix("prefix, encoder",
           lambda base, _: PrefixTuningConfig(prefix_projection=True, encoder_hidden_size=7, **virtual_tokens(base)),
           lambda base: dict(method="prefix", prefix=dict(length=3, encoder="mlp", encoder_size=7))),
    Peft("prompt, encoder", lambda base, _: PromptEncoderConfig(**virtual_tokens(base)),
         lambda base: dict(method="prompt", prompt=dict(length=3, encoder="mlp"))),
    Peft("prompt, text", text_prompt,
         lambda base: dict(method="prompt", prompt=dict(length=3, init="text", init_text=TEXT))),
    LlamaAdapter("llama adapter"),
    Offsets("bitfit", "bitfit", lambda name, module: name.endswith(".bias")),
    Peft("norm", lambda base, model: LNTuningConfig(target_modules=norms(model)), lambda base: dict(method="norm")),
    Offsets("full", "full", lambda name, module: True),
    Sparse("sparse", lambda base: []),
    Sparse("sparse, targets", lambda base: base.targets),
]
