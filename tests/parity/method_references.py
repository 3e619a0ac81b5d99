"""The methods of method_parity.py: a run's `peft:` block, and the same on a transformers model.

`attach` gives the model to call and its trainable tensors by our names. What travels as an offset from the base has an
origin.
"""
import dataclasses
import json
import pathlib
import shutil

import torch
from peft import (AdaLoraConfig, AdaptionPromptConfig, IA3Config, LNTuningConfig, LoraConfig, PrefixEncoder, PrefixTuningConfig,
                  PromptEncoderConfig, PromptTuningConfig, get_peft_model)
from transformers import BertConfig, BertModel, DynamicCache
from transformers.modeling_outputs import SequenceClassifierOutput

from families_export_parity import write_tokenizer
from model_cells import encodes
from random_stream import sparse_mask

PREFIX = "base_model.model."


@dataclasses.dataclass
class Tensor:
    param: torch.nn.Parameter
    origin: torch.Tensor | None = None
    spread: float = 0.1  # of the random values that a case gives it

    def value(self):
        value = self.param.detach().clone()
        return value if self.origin is None else value - self.origin


def task_of(language):
    return "CAUSAL_LM" if language else "SEQ_CLS"


def heads(model):
    """The parameters of a classifier's head, by name in the task's model."""
    return {name: p for name, p in model.named_parameters()
            if name.split(".")[0] in ("classifier", "pre_classifier", "score")}


def our_name(name):
    """Of a trainable parameter of a peft model."""
    name = name.replace(".modules_to_save.default", "")
    name = name.replace(".ln_tuning_layers.default", "").replace(".lora_magnitude_vector.default.weight",
                                                                 ".lora_magnitude_vector")
    return name.replace(".default", "")


def virtual_token_names(tensors):
    """An embedding without an MLP is the virtual tokens themselves."""
    vectors = "prompt_encoder.embedding.weight"
    if sum(name.startswith("prompt_encoder.") for name in tensors) == 1:
        tensors["prompt_embeddings"] = tensors.pop(vectors)
    return tensors


class Method:
    def __init__(self, name):
        self.name = name

    def in_peft(self, base):
        """Whether peft has it, so that its folders are peft's."""
        return False

    def refused(self, base):
        """What our error has to say where the method makes no sense, else nothing."""
        return ""

    def penalty(self, model, language):
        """What the method adds to a loss."""
        return 0

    def stepped(self, model):
        """After a step of the optimizer, its gradients still there."""

    def scores(self, model):
        """What the method thinks of its ranks, where it has an opinion."""


class Peft(Method):
    """A method of peft's. `config(base)` gives its configuration, `block(base)` ours."""

    def __init__(self, name, config, block):
        super().__init__(name)
        self.config, self.block = config, block

    def in_peft(self, base):
        return True

    def peft(self, base):
        return self.block(base)

    def attach(self, model, base, language):
        config = self.config(base, model)
        config.task_type = task_of(language)
        if base.family == "distilbert" and not language:
            config.modules_to_save = ["pre_classifier", "classifier"]
        origins = {our_name(PREFIX + name): p.detach().clone() for name, p in model.named_parameters()}
        model = get_peft_model(model, config)
        tensors = {}
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            origin = None
            if "lora_magnitude_vector" in name:
                weight = origins[our_name(name).replace("lora_magnitude_vector", "weight")]
                origin = (weight.t() if base.family == "gpt2" else weight).norm(dim=1)
            elif "ln_tuning_layers" in name:
                origin = origins[our_name(name)]
            elif getattr(config, "prompt_tuning_init", "RANDOM") == "TEXT" and "prompt_encoder" in name:
                origin = p.detach().clone()
            tensors[our_name(name)] = Tensor(p, origin)
        return model, virtual_token_names(tensors)


class AdaLora(Peft):
    def attach(self, model, base, language):
        model, tensors = super().attach(model, base, language)
        for name, tensor in tensors.items():
            if ".lora_" in name:
                tensor.spread = 0.3  # products of three factors
        return model, tensors

    def penalty(self, model, language):
        ids = torch.tensor([[2, 3, 4]])
        given = dict(input_ids=ids, labels=ids if language else torch.tensor([0]))
        return model(**given).loss - model.base_model.model(**given).loss

    def stepped(self, model):
        model.base_model.rankallocator.update_ipt(model.base_model.model)

    def scores(self, model):
        allocator, scores = model.base_model.rankallocator, []
        for name, p in model.base_model.model.named_parameters():
            if "lora_E" not in name:
                continue
            e, a, b = (allocator._element_score(name.replace("lora_E", f"lora_{x}")) for x in "EAB")
            scores.append(e.view(-1) + a.mean(1) + b.mean(0))
        return torch.cat(scores)


class DistilBertBehindPrefix(torch.nn.Module):
    """DistilBERT whose layers are BERT's, which take keys and values from outside where its own do not."""

    def __init__(self, model, encoder):
        super().__init__()
        config, inner = model.config, model.distilbert
        self.bert = BertModel(BertConfig(
            vocab_size=config.vocab_size, hidden_size=config.dim, num_hidden_layers=config.n_layers,
            num_attention_heads=config.n_heads, intermediate_size=config.hidden_dim, hidden_act=config.activation,
            max_position_embeddings=config.max_position_embeddings, type_vocab_size=1), add_pooling_layer=False)
        self.bert.eval().requires_grad_(False).embeddings.token_type_embeddings.weight.zero_()
        names = (("embeddings", "embeddings"), ("transformer", "encoder"), ("q_lin", "self.query"), ("k_lin", "self.key"),
                 ("v_lin", "self.value"), ("out_lin", "output.dense"), ("sa_layer_norm", "attention.output.LayerNorm"),
                 ("ffn.lin1", "intermediate.dense"), ("ffn.lin2", "output.dense"),
                 ("output_layer_norm", "output.LayerNorm"))
        weights = {}
        for name, weight in inner.state_dict().items():
            for theirs, berts in names:
                name = name.replace(theirs, berts)
            weights[name] = weight
        missing, unexpected = self.bert.load_state_dict(weights, strict=False)
        assert not unexpected and all("token_type" in name or "position_ids" in name for name in missing), missing
        self.layers, self.heads = config.n_layers, config.n_heads
        self.prompt_encoder = encoder
        self.pre_classifier, self.classifier = model.pre_classifier, model.classifier

    def forward(self, input_ids, attention_mask):
        length = self.prompt_encoder.embedding.num_embeddings
        rows = self.prompt_encoder(torch.arange(length)).view(length, 2 * self.layers, self.heads, -1).permute(1, 2, 0, 3).unsqueeze(1)
        cache = DynamicCache()
        for layer in range(self.layers):
            cache.update(rows[2 * layer], rows[2 * layer + 1], layer)
        mask = torch.cat([torch.ones(1, length, dtype=torch.long), attention_mask], dim=1)
        hidden = self.bert(input_ids, attention_mask=mask, past_key_values=cache).last_hidden_state[:, 0]
        return SequenceClassifierOutput(logits=self.classifier(torch.relu(self.pre_classifier(hidden))))


class Prefix(Peft):
    def attach(self, model, base, language):
        if base.family != "distilbert":
            return super().attach(model, base, language)
        model = DistilBertBehindPrefix(model, PrefixEncoder(self.config(base, model)))
        tensors = {"base_model." + name: Tensor(p) for name, p in heads(model).items()}
        for name, p in model.prompt_encoder.named_parameters():
            tensors["prompt_encoder." + name] = Tensor(p)
        return model, virtual_token_names(tensors)


class Offsets(Method):
    """Parameters of the base itself, those that `chosen(name, module)` picks, and the head."""

    def __init__(self, name, method, chosen):
        super().__init__(name)
        self.method, self.chosen = method, chosen

    def peft(self, base):
        return dict(method=self.method)

    def refused(self, base):
        biases = base.config.get("attention_bias", base.family == "qwen2") or base.config.get("mlp_bias")
        decoder = base.family in ("llama", "mistral", "qwen2", "qwen3")
        return "have no biases" if self.method == "bitfit" and decoder and not biases else ""

    def attach(self, model, base, language):
        head = heads(model)
        modules = dict(model.named_modules())
        tensors = {}
        for name, p in model.named_parameters():
            module = modules[name.rpartition(".")[0]]
            p.requires_grad_(name in head or self.chosen(name, module))
            if p.requires_grad:
                tensors[PREFIX + name] = Tensor(p, None if name in head else p.detach().clone())
        return model, tensors


# Where a layer's attention ends, what its feed-forward reads, where that ends, and the norm that follows, by family.
LAYERS = {
    "bert": ("{model}.encoder.layer", "attention.output.dense", "intermediate", "output.dense", "output.LayerNorm"),
    "distilbert": ("distilbert.transformer.layer", "attention.out_lin", "ffn.lin1", "ffn.lin2", "output_layer_norm"),
    "gpt2": ("transformer.h", "attn.c_proj", "ln_2", "mlp.c_proj", None),
    "llama": ("model.layers", "self_attn.o_proj", "post_attention_layernorm", "mlp.down_proj", None),
}


class Bottleneck(Method):
    """Adapters as hooks: h + s·(Wu·act(Wd·x + bd) + bu)."""

    SIZE, SCALE, SPREAD = 5, 1.5, 0.1
    linear = torch.nn.Linear

    def __init__(self, kind, activation, function, name="adapter"):
        super().__init__(f"{name}, {kind}")
        self.kind, self.activation, self.function = kind, activation, function

    def peft(self, base):
        return dict(method="adapter", adapter=dict(kind=self.kind, size=self.SIZE, activation=self.activation,
                                                   scale=self.SCALE))

    def shared(self):
        """Tensors of all sites together."""
        return {}

    def attach(self, model, base, language):
        for p in model.parameters():
            p.requires_grad_(False)
        tensors = self.shared()
        for name, p in heads(model).items():
            tensors[PREFIX + name] = Tensor(p.requires_grad_())
        rows = LAYERS.get(base.family) or LAYERS["bert" if base.family == "roberta" else "llama"]
        path, attention, reads, ends, norm = rows
        path = path.format(model=base.family)
        for i, layer in enumerate(model.get_submodule(path)):
            if self.kind == "houlsby":
                self.add(layer, f"{path}.{i}.", attention, lambda h: h, tensors)
            stream = {}
            layer.get_submodule(reads).register_forward_pre_hook(
                lambda module, args, stream=stream: stream.update(x=args[0]))
            after = layer.get_submodule(norm) if norm else (lambda x: x)
            inputs = {"houlsby": lambda h: h,
                      "pfeiffer": lambda h, stream=stream, after=after: after(h + stream["x"]),
                      "parallel": lambda h, stream=stream: stream["x"]}
            self.add(layer, f"{path}.{i}.", ends, inputs[self.kind], tensors)
        return model, tensors

    def add(self, layer, path, ends, input_of, tensors):
        module = layer.get_submodule(ends)
        width = getattr(module, "nf", None) or module.out_features
        down, up = self.linear(width, self.SIZE), self.linear(self.SIZE, width)
        for name, linear in (("adapter_down", down), ("adapter_up", up)):
            for suffix, p in linear.named_parameters():
                tensors[f"{PREFIX}{path}{ends}.{name}.{suffix}"] = Tensor(p, spread=self.SPREAD)
        module.register_forward_hook(
            lambda module, args, h: h + self.SCALE * up(self.function(down(input_of(h)))))


class PhmLinear(torch.nn.Module):
    """A linear whose matrix [in, out] is the sum of A_i ⊗ (S_i·T_i)."""

    def __init__(self, rule, rank, ins, outs):
        super().__init__()
        n = rule.shape[0]
        self.rule = [rule]  # no parameter of its own
        self.W_left, self.W_right, self.b = (torch.nn.Parameter(torch.empty(shape)) for shape in (
            (n, ins // n, rank), (n, rank, outs // n), (outs,)))

    def forward(self, x):
        rule, = self.rule
        return x @ sum(map(torch.kron, rule, self.W_left @ self.W_right)) + self.b


class Compacter(Bottleneck):
    """Adapters with such linears."""

    SIZE, SPREAD, DIM = 8, 0.5, 4  # products of three factors, no one small

    def __init__(self, kind, activation, function, rank):
        super().__init__(kind, activation, function, "compacter")
        self.rank = rank

    def peft(self, base):
        block = super().peft(base)
        block["adapter"] |= dict(phm_dim=self.DIM, phm_rank=self.rank)
        return block

    def shared(self):
        self.rule = torch.nn.Parameter(torch.empty(self.DIM, self.DIM, self.DIM))
        return {PREFIX + "shared_parameters.phm_rule": Tensor(self.rule, spread=self.SPREAD)}

    def linear(self, ins, outs):
        return PhmLinear(self.rule, self.rank, ins, outs)


class Masked(torch.nn.Module):
    """A weight some of whose elements have offsets; `mask` counts them in W [out, in]."""

    def __init__(self, mask, transposed):
        super().__init__()
        self.register_buffer("at", torch.tensor(mask))
        self.transposed = transposed
        self.values = torch.nn.Parameter(torch.zeros(len(mask)))

    def forward(self, weight):
        whole = weight.t() if self.transposed else weight
        whole = torch.zeros(whole.shape).view(-1).scatter(0, self.at, self.values).view(whole.shape) + whole
        return whole.t() if self.transposed else whole


class Sparse(Method):
    """Some elements of the weights of `targets(base)`, or of all linears."""

    DENSITY, SEED = 0.05, 1  # a run's seed, where it says none

    def __init__(self, name, targets):
        super().__init__(name)
        self.targets = targets

    def peft(self, base):
        targets = self.targets(base)
        return dict(method="sparse", sparse=dict(density=self.DENSITY) | (dict(target_modules=targets) if targets else {}))

    def attach(self, model, base, language):
        head, targets, tensors = heads(model), self.targets(base), {}
        linears = {name: module for name, module in model.named_modules() if hasattr(module, "weight")
                   and (isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D")
                   and f"{name}.weight" not in head and name != "lm_head"
                   and (not targets or any(f".{name}".endswith(f".{target}") for target in targets))}
        for name, p in model.named_parameters():
            p.requires_grad_(name in head)
        for name, module in linears.items():
            mask = sparse_mask(self.SEED, name, module.weight.numel(), self.DENSITY)
            masked = Masked(mask, type(module).__name__ == "Conv1D")
            torch.nn.utils.parametrize.register_parametrization(module, "weight", masked)
            tensors[f"{PREFIX}{name}.sparse_values"] = Tensor(masked.values)
        return model, tensors | {PREFIX + name: Tensor(p) for name, p in head.items()}


class LlamaAdapter(Method):
    """Where peft has it, peft's; elsewhere, as hooks: what goes into the output linear of a layer's attention gets
    gate·softmax(q·Kᵀ)·V of the layer's own keys and values of trained vectors, without positions. peft's configuration
    has no modules_to_save, and its model does not train a head."""

    LENGTH, LAYERS = 3, 2

    def in_peft(self, base):
        """It takes the width of a head for that of the base by the number of heads, and a bias of the output twice."""
        if base.family not in ("llama", "mistral") or base.config.get("attention_bias"):
            return False
        heads, width = base.config["num_attention_heads"], base.config["hidden_size"]
        return (base.config.get("head_dim") or width // heads) * heads == width

    def peft(self, base):
        return dict(method="llama_adapter", llama_adapter=dict(length=self.LENGTH, layers=self.LAYERS))

    def refused(self, base):
        return "is an encoder" if encodes(base.family) else ""

    def attach(self, model, base, language):
        head = heads(model)
        if self.in_peft(base):
            model = get_peft_model(model, AdaptionPromptConfig(adapter_len=self.LENGTH, adapter_layers=self.LAYERS,
                                                               task_type=task_of(language)))
            for p in head.values():
                p.requires_grad_()
            return model, {name: Tensor(p) for name, p in model.named_parameters() if p.requires_grad}
        tensors = {PREFIX + name: Tensor(p) for name, p in head.items()}
        names = [name for name, _ in model.named_modules() if name.endswith((".attn", ".self_attn"))]
        for p in model.parameters():
            p.requires_grad_(any(p is one for one in head.values()))
        for name in names[-self.LAYERS:]:
            for suffix, p in gate_attention(model.get_submodule(name), model.config, self.LENGTH).items():
                tensors[f"{PREFIX}{name}.{suffix}"] = Tensor(p)
        return model, tensors


def gate_attention(attention, config, length):
    """The hooks on one layer, and their parameters."""
    vectors = torch.nn.Parameter(torch.empty(1, length, config.hidden_size))
    gate = torch.nn.Parameter(torch.empty(1))
    fused, seen = hasattr(attention, "c_attn"), {}

    def heads_of(rows):
        return rows.view(*rows.shape[:2], -1, attention.head_dim)

    def normed(rows, norm):
        norm = getattr(attention, norm, None)
        return (norm(rows) if norm else rows).transpose(1, 2)

    def project(x, which):
        if fused:
            return heads_of(attention.c_attn(x).chunk(3, dim=-1)["qkv".index(which)]).transpose(1, 2)
        return normed(heads_of(getattr(attention, which + "_proj")(x)), which + "_norm")

    def remember(module, args, kwargs):
        seen.update(x=args[0] if args else kwargs["hidden_states"], turn=kwargs.get("position_embeddings"))

    def join(module, args):
        q, k, v = project(seen["x"], "q"), project(vectors, "k"), project(vectors, "v")
        if seen["turn"] is not None:
            cos, sin = (turn.unsqueeze(1) for turn in seen["turn"])
            half = q.shape[-1] // 2
            q = q * cos + torch.cat([-q[..., half:], q[..., :half]], dim=-1) * sin
        k, v = (rows.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for rows in (k, v))
        found = (gate * (q @ k.transpose(2, 3) * attention.scaling).softmax(-1)) @ v
        return (args[0] + found.transpose(1, 2).reshape(args[0].shape),)

    attention.register_forward_pre_hook(remember, with_kwargs=True)
    (attention.c_proj if fused else attention.o_proj).register_forward_pre_hook(join)
    return {"adaption_prompt": vectors, "adaption_gate": gate}


def norms(model):
    return [name for name, module in model.named_modules() if "Norm" in type(module).__name__]


def is_norm(module):
    return "Norm" in type(module).__name__


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
