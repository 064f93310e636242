"""Bytes: of weights, of the KV cache, of all else on a GPU; and what that leaves for sequences."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from gateway.pool.planner.architecture import Architecture, parts_of
from gateway.pool.planner.checkpoint import Checkpoint
from gateway.pool.planner.figures import GIB
from gateway.pool.planner.hardware import Gpu
from gateway.pool.planner.layout import Layout
from gateway.pool.planner.quantisation import Format

BLOCK_TOKENS: Final = 16  # vLLM's default block
UTILISATION: Final = 0.92  # vLLM's default gpu_memory_utilization since 0.2x
INDEX_BYTES: Final = 132  # of the sparse indexer's key per token and layer: 128 in FP8 and a scale of 4
SPARSE_FP8_BYTES: Final = 656  # vLLM's fp8_ds_mla: 512 of latent, 16 of scales, 128 of rope in 16 bits


class Weights(msgspec.Struct, frozen=True):
    """Bytes of a model's weights by how GPUs share them. `exact` where they were read from a checkpoint's headers."""

    embedding: float
    head: float
    split: float  # over tensor ranks and stages
    key_value: float
    held: float  # by every tensor rank
    experts: float
    exact: bool = False

    @property
    def total(self) -> float:
        """All of them, once."""
        return self.embedding + self.head + self.split + self.key_value + self.held + self.experts


def nominal_bytes(model: Architecture, weights: Format) -> float:
    """What people multiply out: parameters × bits / 8, with every weight at the format's width."""
    return parts_of(model).total * weights.nominal_bits / 8


def weights_of(model: Architecture, weights: Format) -> Weights:
    """Σ parameters · bits / 8, with embeddings, head, router and norms at the width that checkpoints leave them in.

    Of experts in MXFP4 the attention stays wide as well (gpt-oss: `modules_to_not_convert`).
    """
    parts = parts_of(model)
    narrow, wide = weights.bits / 8, weights.rest_bits / 8
    attention = wide if weights.name == "mxfp4" and model.experts else narrow
    return Weights(
        embedding=parts.embedding * wide,
        head=parts.head * wide,
        split=parts.attention * attention + (parts.dense + parts.shared) * narrow,
        key_value=parts.key_value * attention,
        held=parts.held * attention + (parts.router + parts.norms) * wide,
        experts=parts.experts * narrow,
    )


def weights_in(checkpoint: Checkpoint, model: Architecture, weights: Format) -> Weights:
    """The same from a checkpoint's headers: exact in sum; who holds what is in proportion to the formula."""
    guess = weights_of(model, weights)
    rest = guess.split + guess.key_value + guess.held
    scale = checkpoint.rest / rest if rest else 0.0
    return Weights(
        embedding=checkpoint.embedding,
        head=checkpoint.head,
        split=guess.split * scale,
        key_value=guess.key_value * scale,
        held=guess.held * scale,
        experts=checkpoint.experts,
        exact=True,
    )


def weights_per_gpu(weights: Weights, model: Architecture, layout: Layout) -> float:
    """Bytes on the fullest GPU: its share of the largest stage."""
    stages, tensor = layout.pipeline, layout.tensor
    share = math.ceil(model.layers / stages) / model.layers
    ends = weights.embedding + weights.head if stages == 1 else max(weights.embedding, weights.head)
    if layout.experts > 1:
        return weights.total - weights.experts + weights.experts / layout.experts
    key_value = weights.key_value / min(tensor, model.kv_heads)
    return share * (weights.split / tensor + key_value + weights.held + weights.experts / tensor) + ends / tensor


class Cache(msgspec.Struct, frozen=True):
    """Bytes that a sequence keeps, on all GPUs or on one: per token, per token of a window, and in any case."""

    per_token: float
    per_window_token: float
    window: int
    constant: float

    def sequence(self, tokens: float) -> float:
        """Bytes of a sequence, in whole blocks."""
        blocks = math.ceil(tokens / BLOCK_TOKENS) * BLOCK_TOKENS
        return self.per_token * blocks + self.per_window_token * min(blocks, self.window) + self.constant


def cache_of(model: Architecture, value_bytes: float) -> Cache:
    """KV bytes of one sequence, once: 2·L·kv_heads·head_width·b, or of latent attention L·(latent + rope)·b."""
    full = model.attention_layers - model.window_layers
    if model.latent:
        layer = (model.latent + model.rope) * value_bytes
        if model.index_heads:
            layer = SPARSE_FP8_BYTES if value_bytes == 1 else layer
            layer += INDEX_BYTES
    else:
        layer = 2 * model.kv_heads * model.head_width * value_bytes
    return Cache(full * layer, model.window_layers * layer, model.window, model.state_layers * model.state_values * 2.0)


def cache_per_gpu(model: Architecture, value_bytes: float, layout: Layout) -> Cache:
    """The same on one GPU of a layout: heads are dealt out, a latent is repeated, and so are heads beyond their number.

    Of attention by sequences (DP+EP), a GPU keeps its own sequences whole: the share of one of all sequences.
    """
    whole = cache_of(model, value_bytes)
    if layout.experts > 1:
        share = 1 / layout.experts
    else:
        split = 1 if model.latent else min(layout.tensor, model.kv_heads)
        share = math.ceil(model.layers / layout.pipeline) / model.layers / split
    return Cache(whole.per_token * share, whole.per_window_token * share, whole.window, whole.constant * share)


class Engine(msgspec.Struct, frozen=True):
    """vLLM's settings that take memory, at its defaults for a GPU, or as calibrated from a log."""

    utilisation: float = UTILISATION
    batched_tokens: int = 2048
    sequences: int = 256


def engine_for(gpu: Gpu, utilisation: float = UTILISATION) -> Engine:
    """vLLM's defaults by GPU (engine/arg_utils.py): 160 GB and up, 70 GB and up but not an A100, all others."""
    if gpu.memory_gb >= 160:
        return Engine(utilisation, 16384, 1024)
    if gpu.memory_gb >= 70 and not gpu.name.startswith("a100"):
        return Engine(utilisation, 8192, 1024)
    return Engine(utilisation)


class Overhead(msgspec.Struct, frozen=True):
    """Bytes on each GPU that are neither weights nor cache."""

    context: float
    activation: float
    graphs: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.context + self.activation + self.graphs


_CONTEXT_BYTES: Final = 0.5 * GIB  # CUDA's context; each rank adds NCCL's buffers: 0.6 to 1.5 GiB in all
_RANK_BYTES: Final = 0.125 * GIB
_MOST_RANKS: Final = 8
_GRAPH_BYTES: Final = 0.3 * GIB  # 0.2 to 0.7 GiB in logs of 8B models, up to 4 with many experts
_HIDDEN_COPIES: Final = 3  # residual, input and output of a block are alive at once
_WIDTH_COPIES: Final = 2  # gate and up


def overhead_of(model: Architecture, layout: Layout, engine: Engine) -> Overhead:
    """Activations at vLLM's profile run: tokens·(3·d + 2·ff/TP)·2 bytes, and logits sequences·V·4 bytes."""
    width = max(model.width if model.dense_layers or not model.experts else 0, model.chosen * model.expert_width)
    alive = _HIDDEN_COPIES * model.hidden + _WIDTH_COPIES * width / layout.tensor
    activation = engine.batched_tokens * alive * 2 + engine.sequences * model.vocabulary * 4
    return Overhead(_CONTEXT_BYTES + _RANK_BYTES * min(layout.gpus, _MOST_RANKS), activation, _GRAPH_BYTES)


class Budget(msgspec.Struct, frozen=True):
    """One GPU's memory, split up; `cache` can be negative, which says by how much the model does not fit.

    `measured` names the parts that a log replaced.
    """

    usable: float
    weights: float
    overhead: Overhead
    per_gpu: Cache
    layout: Layout
    measured_cache: float | None = None
    measured: frozenset[str] = frozenset()

    @property
    def cache(self) -> float:
        """Bytes for KV on each GPU."""
        if self.measured_cache is not None:
            return self.measured_cache
        return self.usable - self.weights - self.overhead.total

    def sequences(self, tokens: float) -> float:
        """How many sequences of that length fit at once, in one replica."""
        return max(0.0, self.cache) / self.per_gpu.sequence(tokens)

    def tokens(self, context: float) -> float:
        """Tokens of KV that one replica holds, in sequences of that length."""
        return self.sequences(context) * context


def budget_of(
    model: Architecture, weights: Weights, value_bytes: float, gpu: Gpu, layout: Layout, engine: Engine
) -> Budget:
    """KV = utilisation·memory − weights − context − activations − graphs, on the fullest GPU."""
    return Budget(
        engine.utilisation * gpu.memory_bytes,
        weights_per_gpu(weights, model, layout),
        overhead_of(model, layout, engine),
        cache_per_gpu(model, value_bytes, layout),
        layout,
    )
