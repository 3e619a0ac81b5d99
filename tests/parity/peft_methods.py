"""The methods that peft has, attached to a transformers model.

`attach` gives the model to call and its trainable tensors by our names. What travels as an offset from the base has an
origin.
"""
import dataclasses

import torch
from peft import PrefixEncoder, get_peft_model
from transformers import BertConfig, BertModel, DynamicCache
from transformers.modeling_outputs import SequenceClassifierOutput

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
