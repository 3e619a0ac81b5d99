"""The cells of model_parity.py's matrix: small bases of every family, made by transformers with random weights, and
what is refused."""
import dataclasses
import json
import pathlib
import warnings

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM
from transformers.utils import logging

ENCODER = dict(vocab_size=57, hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=52,
               max_position_embeddings=41)
DISTIL = dict(vocab_size=57, dim=36, n_layers=2, n_heads=3, hidden_dim=52, max_position_embeddings=41)
GPT2 = dict(vocab_size=57, n_embd=36, n_layer=2, n_head=3, n_positions=41)
LLAMA = dict(vocab_size=57, hidden_size=36, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
             intermediate_size=52, max_position_embeddings=41, head_dim=10, rms_norm_eps=1e-5)
ROPE3 = dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
             original_max_position_embeddings=32)

BERT_ALL = ["query", "key", "value", "output.dense", "intermediate.dense"]
DISTIL_ALL = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]
GPT2_ALL = ["c_attn", "c_proj", "c_fc"]
LLAMA_ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclasses.dataclass
class Cell:
    family: str
    name: str
    config: dict
    targets: list
    # The class that writes the folder: `bare` names have no prefix, `head` adds that of language modelling.
    saved_as: str = "head"
    dtype: torch.dtype = torch.float32
    shards: bool = False
    old_names: bool = False
    # Changes config.json after it was written.
    edit: dict = dataclasses.field(default_factory=dict)

    @property
    def longest(self):
        positions = self.config.get("max_position_embeddings", self.config.get("n_positions"))
        return positions - 2 if self.family == "roberta" else positions


@dataclasses.dataclass
class Refused:
    family: str
    name: str
    config: dict
    edit: dict
    # What the error names.
    names: str


CELLS = [
    Cell("bert", "query, value", ENCODER, ["query", "value"]),
    Cell("bert", "all linears, bare names", ENCODER, ["query", "key", "value", "dense"], saved_as="bare"),
    Cell("bert", "gamma and beta, bare", ENCODER | dict(hidden_act="gelu_new"), BERT_ALL, saved_as="bare",
         old_names=True),
    Cell("bert", "float16, shards", ENCODER | dict(layer_norm_eps=1e-5, type_vocab_size=3), BERT_ALL, saved_as="bare",
         dtype=torch.float16, shards=True),
    Cell("roberta", "query, value", ENCODER | dict(pad_token_id=1, type_vocab_size=1), ["query", "value"]),
    Cell("roberta", "all linears, bfloat16", ENCODER | dict(pad_token_id=1, layer_norm_eps=1e-5), BERT_ALL,
         saved_as="bare", dtype=torch.bfloat16),
    Cell("distilbert", "query, value", DISTIL, ["q_lin", "v_lin"]),
    Cell("distilbert", "all linears, bare, shards", DISTIL | dict(activation="relu"), DISTIL_ALL, saved_as="bare",
         shards=True),
    Cell("gpt2", "c_attn, tied", GPT2, ["c_attn"], saved_as="bare"),
    Cell("gpt2", "all linears, untied, odd width", GPT2 | dict(n_inner=53, tie_word_embeddings=False), GPT2_ALL),
    Cell("gpt2", "scores by layer, float16, shards", GPT2 | dict(scale_attn_by_inverse_layer_idx=True), GPT2_ALL,
         dtype=torch.float16, shards=True),
    Cell("gpt2", "scores not scaled", GPT2 | dict(scale_attn_weights=False), GPT2_ALL, saved_as="bare"),
    Cell("llama", "grouped, head_dim, untied", LLAMA, ["q_proj", "v_proj"]),
    Cell("llama", "all linears, tied", LLAMA | dict(tie_word_embeddings=True), LLAMA_ALL, saved_as="bare"),
    Cell("llama", "llama3 RoPE, bfloat16, shards", LLAMA | dict(rope_parameters=ROPE3), LLAMA_ALL,
         dtype=torch.bfloat16, shards=True),
    Cell("llama", "linear RoPE, old spelling", LLAMA, LLAMA_ALL,
         edit=dict(rope_parameters=None, rope_theta=1000.0, rope_scaling=dict(type="linear", factor=3.0))),
    Cell("llama", "biases, as many keys as queries", LLAMA | dict(attention_bias=True, mlp_bias=True, head_dim=None,
                                                                  num_key_value_heads=None), LLAMA_ALL),
    Cell("llama", "heads as wide as the base", LLAMA | dict(head_dim=6), ["q_proj", "v_proj"]),
    Cell("mistral", "window of 7", LLAMA | dict(sliding_window=7), LLAMA_ALL),
    Cell("mistral", "window of 7, heads as wide as the base", LLAMA | dict(sliding_window=7, head_dim=6), LLAMA_ALL),
    Cell("mistral", "no window, float16", LLAMA | dict(sliding_window=None), ["q_proj", "v_proj"],
         dtype=torch.float16, saved_as="bare"),
    Cell("qwen2", "tied", LLAMA | dict(tie_word_embeddings=True, head_dim=6), LLAMA_ALL),
    Cell("qwen2", "window of 5 in the second layer", LLAMA | dict(use_sliding_window=True, sliding_window=5,
                                                                   max_window_layers=1, head_dim=6), LLAMA_ALL),
    Cell("qwen3", "query and key norms", LLAMA, LLAMA_ALL),
    Cell("qwen3", "biases, window of 6 in the first layer, shards", LLAMA | dict(
        attention_bias=True, use_sliding_window=True, sliding_window=6,
        layer_types=["sliding_attention", "full_attention"]), LLAMA_ALL, shards=True),
]

REFUSED = [
    Refused("bert", "relative positions", ENCODER, dict(position_embedding_type="relative_key"),
            "position_embedding_type"),
    Refused("bert", "decoder", ENCODER, dict(is_decoder=True), "is_decoder"),
    Refused("bert", "unknown activation", ENCODER, dict(hidden_act="mish"), "mish"),
    Refused("roberta", "another vocabulary", ENCODER, dict(vocab_size=58), "word_embeddings.weight"),
    Refused("distilbert", "unknown setting", DISTIL, dict(residual_scale=0.5), "residual_scale"),
    Refused("gpt2", "cross attention", GPT2, dict(add_cross_attention=True), "add_cross_attention"),
    Refused("gpt2", "absurd size", GPT2, dict(n_embd=1 << 40), "hidden_size"),
    Refused("llama", "yarn RoPE", LLAMA, dict(rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=2.0)),
            "yarn"),
    Refused("llama", "quantised", LLAMA, dict(quantization_config=dict(bits=4)), "quantization_config"),
    Refused("llama", "more layers than the file", LLAMA, dict(num_hidden_layers=3), "model.layers.2."),
    Refused("llama", "fewer layers than the file", LLAMA, dict(num_hidden_layers=1), "model.layers.1."),
    Refused("mistral", "odd heads", LLAMA, dict(num_key_value_heads=4), "num_key_value_heads"),
    Refused("qwen2", "chunked attention", LLAMA | dict(head_dim=6), dict(layer_types=["chunked_attention"] * 2),
            "chunked_attention"),
    Refused("qwen3", "unknown family", LLAMA, dict(model_type="mamba"), "mamba"),
]


def random_model(family, config, saved_as):
    """Weights large enough for each to matter: in transformers' own initial values attention is nearly uniform."""
    head = AutoModelForMaskedLM if encodes(family) else AutoModelForCausalLM
    if family == "bert" or saved_as == "bare":
        head = AutoModel  # BERT's model for masked words has no pooler
    model = head.from_config(AutoConfig.for_model(family, **config))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            norm = p.dim() == 1 and name.endswith("weight")
            p.copy_(1 + 0.2 * noise if norm else 0.2 * noise)
    return model


def prefixed(folder, prefix):
    """As a task's model would have saved it."""
    file = folder / "model.safetensors"
    save_file({prefix + name: t for name, t in load_file(file).items()}, file, {"format": "pt"})


def renamed(folder):
    file = folder / "model.safetensors"
    tensors = load_file(file)

    def old(name):
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    save_file({old(name): t for name, t in tensors.items()}, file, {"format": "pt"})


def edit_config(folder, changes):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    for key, value in changes.items():
        config[key] = value
        if value is None:
            del config[key]
    file.write_text(json.dumps(config))


def make_base(cell, folder: pathlib.Path):
    model = random_model(cell.family, cell.config, getattr(cell, "saved_as", "head"))
    model.to(getattr(cell, "dtype", torch.float32))
    shards = {"max_shard_size": "20KB"} if getattr(cell, "shards", False) else {}
    model.save_pretrained(folder, **shards)
    if cell.family == "bert" and getattr(cell, "saved_as", "head") == "head":
        prefixed(folder, "bert.")
    if getattr(cell, "old_names", False):
        renamed(folder)
    edit_config(folder, cell.edit)


def base_block(folder):
    """The `base:` block of a run, as `fedpeft-client inspect` would print it of a folder with a tokenizer."""
    config = AutoConfig.from_pretrained(folder)
    block = dict(model_type=config.model_type, weights_sha256="0" * 64, tokenizer_sha256="0" * 64,
                 hidden_size=config.hidden_size, num_hidden_layers=config.num_hidden_layers,
                 num_attention_heads=config.num_attention_heads, vocab_size=config.vocab_size,
                 max_position_embeddings=config.max_position_embeddings)
    wide = {"distilbert": "hidden_dim", "gpt2": "n_inner"}.get(config.model_type, "intermediate_size")
    block["intermediate_size"] = getattr(config, wide) or 4 * config.hidden_size
    if config.model_type in ("bert", "roberta"):
        block["type_vocab_size"] = config.type_vocab_size
    if config.model_type == "roberta":
        block["position_offset"] = config.pad_token_id + 1
    if not encodes(config.model_type):
        block["tie_word_embeddings"] = config.tie_word_embeddings
    if not encodes(config.model_type) and config.model_type != "gpt2":
        block |= dict(num_key_value_heads=config.num_key_value_heads, head_dim=config.head_dim or 0,
                      attention_bias=getattr(config, "attention_bias", False),
                      mlp_bias=getattr(config, "mlp_bias", False))
    return block


def write_run(folder, base, problem, peft, train):
    """run.yaml, which is JSON."""
    run = dict(name="parity", base=base_block(base), peft=peft, train=train, schedule=[dict(rounds=1)],
               problem=dict(max_length=3) | problem)
    (folder / "run.yaml").write_text(json.dumps(run))


def encodes(family):
    return family in ("bert", "roberta", "distilbert")


def quiet_torch(threads):
    """For a script whose output is read: no warnings, no progress bars; and so many threads."""
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(threads)
