"""What of a model's config.json decides memory and speed, in one shape for all families; parameters counted by part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec


class BadModel(ValueError):
    """A config that says too little, or nonsense; its text is for the operator."""


class Architecture(msgspec.Struct, frozen=True):
    """A decoder. `heads` and `kv_heads` are of attention; widths are in values, not bytes.

    Of a mixture: `experts` routed ones of width `expert_width` in all but `dense_layers`, `chosen` of them a token, and
    shared ones of `shared_width` together. Of latent attention (MLA): `latent` and `rope` are cached, `nope`, `value`
    and `query_latent` shape its projections; `index_heads` × `index_width` is a sparse indexer, which lets a token
    attend to `index_top` others. `window_layers` keep no more than `window` tokens; `state_layers` keep no tokens but
    `state_values` a sequence (Mamba, linear attention).
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    width: int  # of the dense feed-forward layers
    tied: bool = False
    matrices: int = 3  # of a feed-forward: three where it is gated
    experts: int = 0
    chosen: int = 0
    expert_width: int = 0
    shared_width: int = 0
    dense_layers: int = 0
    latent: int = 0
    rope: int = 0
    nope: int = 0
    value: int = 0
    query_latent: int = 0
    index_heads: int = 0
    index_width: int = 0
    index_top: int = 0
    window: int = 0
    window_layers: int = 0
    state_layers: int = 0
    state_values: int = 0
    context: int = 0
    source: str = ""

    @property
    def mixture_layers(self) -> int:
        """Layers that route."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def attention_layers(self) -> int:
        """Layers that keep something per token."""
        return self.layers - self.state_layers


class Parts(msgspec.Struct, frozen=True):
    """Parameters by what becomes of them: quantised or left wide, split over GPUs or held by each."""

    embedding: int
    head: int
    attention: int  # query and output: split by heads
    key_value: int  # split by key-value heads, as far as there are any
    held: int  # MLA's way down and the indexer: every rank holds them whole
    dense: int
    experts: int
    shared: int
    router: int
    norms: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(getattr(self, name) for name in self.__struct_fields__)


def parts_of(model: Architecture) -> Parts:
    """Counts parameters; biases are left out (below 0.1 %), and a layer that predicts further tokens is not loaded."""
    d, layers = model.hidden, model.layers
    if model.latent:
        turned = model.nope + model.rope
        up = (model.query_latent or d) * model.heads * turned
        attention = layers * (
            up + model.latent * model.heads * (model.nope + model.value) + model.heads * model.value * d
        )
        key_value = 0
        held = layers * (d * model.query_latent + model.query_latent + d * (model.latent + model.rope) + model.latent)
        if model.index_heads:
            asks = model.query_latent or d
            held += layers * (
                asks * model.index_heads * model.index_width + d * model.index_width + d * model.index_heads
            )
    else:
        attention = layers * 2 * d * model.heads * model.head_width
        key_value = layers * 2 * d * model.kv_heads * model.head_width
        held = 0
    dense_layers = layers - model.mixture_layers
    embedding = model.vocabulary * d
    return Parts(
        embedding=embedding,
        head=0 if model.tied else embedding,
        attention=attention,
        key_value=key_value,
        held=held,
        dense=dense_layers * model.matrices * d * model.width,
        experts=model.mixture_layers * model.experts * model.matrices * d * model.expert_width,
        shared=model.mixture_layers * model.matrices * d * model.shared_width,
        router=model.mixture_layers * d * model.experts,
        norms=layers * 2 * d + d,
    )


def active_of(model: Architecture) -> int:
    """Counts the parameters that one token passes through: chosen experts in place of all."""
    parts = parts_of(model)
    if not model.experts:
        return parts.total
    return parts.total - parts.experts + parts.experts * model.chosen // model.experts


_FAMILY_WITHOUT_GATE: Final = ("gpt2", "opt", "falcon", "bloom", "gpt_neox", "phi", "starcoder2", "nemotron")
_LARGEST: Final = 10**7  # of any width or count that is believed


def architecture_of(config: Mapping[str, Any], name: str = "", source: str = "") -> Architecture:
    """Reads a config.json as Hugging Face writes it (the text part of a multimodal one); raises BadModel."""
    text: dict[str, Any] = dict(config)
    for inner in ("text_config", "llm_config", "language_config"):
        if isinstance(config.get(inner), Mapping):
            text |= config[inner]
    read = _Reader(text)
    heads, hidden = read.need("num_attention_heads", "n_head"), read.need("hidden_size", "n_embd")
    kind = str(text.get("model_type", ""))
    layers = read.need("num_hidden_layers", "n_layer")
    experts = read.count("n_routed_experts", "num_local_experts", "num_experts")
    dense_layers, expert_width, shared_width, chosen = 0, 0, 0, 0
    width = read.count("intermediate_size", "ffn_hidden_size", "n_inner") or (0 if experts else 4 * hidden)
    if experts:
        chosen = read.need("num_experts_per_tok", "moe_topk", "num_experts_per_token")
        expert_width = read.count("moe_intermediate_size", "expert_ffn_hidden_size") or width
        shared_width = read.count("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size")
        shared_width = shared_width or read.count("n_shared_experts", "num_shared_experts") * expert_width
        dense_layers = _dense_layers(text, read, layers)
    latent = read.count("kv_lora_rank")
    rope, nope = read.count("qk_rope_head_dim"), read.count("qk_nope_head_dim")
    window, window_layers = _window(text, read, layers)
    state_layers, state_values = _states(text, read, layers)
    if heads > _LARGEST or not heads or (chosen > experts):
        raise BadModel("the config's heads or experts make no sense")
    return Architecture(
        name=name or str(text.get("_name_or_path") or kind or "model"),
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=read.count("num_key_value_heads", "num_kv_heads") or (1 if text.get("multi_query") else heads),
        head_width=read.count("head_dim") or hidden // heads,
        vocabulary=read.need("vocab_size"),
        width=width,
        tied=bool(text.get("tie_word_embeddings", kind.startswith("gemma"))),
        matrices=2 if kind in _FAMILY_WITHOUT_GATE else 3,
        experts=experts,
        chosen=chosen,
        expert_width=expert_width,
        shared_width=shared_width,
        dense_layers=dense_layers,
        latent=latent,
        rope=rope if latent else 0,
        nope=nope if latent else 0,
        value=(read.count("v_head_dim") or nope) if latent else 0,
        query_latent=read.count("q_lora_rank") if latent else 0,
        index_heads=read.count("index_n_heads") if latent else 0,
        index_width=read.count("index_head_dim") if latent else 0,
        index_top=(read.count("index_topk") or 2048) if latent and read.count("index_n_heads") else 0,
        window=window,
        window_layers=window_layers,
        state_layers=state_layers,
        state_values=state_values,
        context=read.count("max_position_embeddings", "n_positions"),
        source=source,
    )


def _dense_layers(text: Mapping[str, Any], read: _Reader, layers: int) -> int:
    for named, dense in (("mlp_layer_types", "dense"), ("moe_layer_freq", 0)):
        if isinstance(text.get(named), list):
            return sum(each == dense for each in text[named])
    if isinstance(text.get("mlp_only_layers"), list) and text["mlp_only_layers"]:
        return len(text["mlp_only_layers"])
    step = read.count("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step") or 1
    first = read.count("first_k_dense_replace")
    return min(layers, first + (layers - first) - (layers - first) // step)


def _window(text: Mapping[str, Any], read: _Reader, layers: int) -> tuple[int, int]:
    """Returns the window and how many layers keep to it."""
    window = read.count("sliding_window")
    if not window or text.get("use_sliding_window") is False:
        return 0, 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list):
        return window, sum(kind == "sliding_attention" for kind in kinds)
    every = read.count("sliding_window_pattern")  # one full layer in so many (Gemma 3 writes 6)
    if not every and str(text.get("model_type", "")).startswith("gemma3"):
        every = 6
    elif not every and text.get("model_type") == "gemma2":
        every = 2
    return window, layers - layers // every if every else layers


def _states(text: Mapping[str, Any], read: _Reader, layers: int) -> tuple[int, int]:
    """Returns how many layers keep a state in place of tokens, and the values of one such state."""
    kinds = text.get("layer_types")
    many = sum(kind in ("linear_attention", "mamba") for kind in kinds) if isinstance(kinds, list) else 0
    every = read.count("full_attention_interval")
    if not many and every:
        many = layers - layers // every
    if not many:
        return 0, 0
    heads = read.count("linear_num_value_heads", "mamba_n_heads")
    key, value = read.count("linear_key_head_dim", "mamba_d_state"), read.count("linear_value_head_dim", "mamba_d_head")
    return many, heads * key * value


class _Reader:
    """Reads whole numbers out of a config; raises BadModel where one is something else, or missing and needed."""

    def __init__(self, text: Mapping[str, Any]) -> None:
        self._text = text

    def count(self, *names: str) -> int:
        for name in names:
            value = self._text.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
                raise BadModel(f"{name} is {str(value)[:40]!r}, where a whole number is wanted")
            return value
        return 0

    def need(self, *names: str) -> int:
        found = self.count(*names)
        if not found:
            raise BadModel(f"the config has no {' or '.join(names)}: is this the config.json of a decoder?")
        return found
