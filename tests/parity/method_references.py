"""The methods that peft has not, or not everywhere: their published equations, written on a transformers model."""
import torch
from peft import AdaptionPromptConfig, get_peft_model

from model_cells import encodes
from peft_methods import PREFIX, Method, Tensor, heads, task_of
from random_stream import sparse_mask


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
