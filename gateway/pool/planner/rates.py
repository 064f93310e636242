"""Speed by roofline: a step takes as long as its bytes or its arithmetic, whichever is longer, and its messages."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.pool.planner.architecture import Architecture, active_of
from gateway.pool.planner.hardware import Gpu, Link
from gateway.pool.planner.layout import Layout, Refusal
from gateway.pool.planner.memory import INDEX_BYTES, Engine, Weights, cache_per_gpu
from gateway.pool.planner.quantisation import Format

ACTIVATION_BYTES: Final = 2
LAUNCH_S: Final = 10e-6  # per layer, with CUDA graphs [K]


class Efficiency(msgspec.Struct, frozen=True):
    """How much of the data sheet is had [K]: bandwidth 0.6–0.8, arithmetic of prefill 0.35–0.55, link 0.7–0.9.

    `served` is what a server that mixes prompts and answers keeps of the roofline. GPUStack's performance lab (2026)
    measured, of this formula: Qwen3-32B 0.8–0.97 (A100), 0.5 (H100), 0.3 (FP8); gpt-oss-120b 0.25; GLM-5 0.5–0.65.
    """

    bandwidth: float = 0.7
    arithmetic: float = 0.45
    link: float = 0.8
    served: float = 0.6


USUAL: Final = Efficiency()
CEILING: Final = Efficiency(1.0, 1.0, 1.0, 1.0)
BANDWIDTH_ERROR: Final = 0.15  # 0.6 to 0.8 about 0.7
ARITHMETIC_ERROR: Final = 0.22  # 0.35 to 0.55 about 0.45
SERVED_ERROR: Final = 0.6  # 0.25 to 0.97 about 0.6


class Machine(msgspec.Struct, frozen=True):
    """What a replica runs on: GPUs of a kind, the link within a node and the network between nodes."""

    gpu: Gpu
    link: Link
    network: Link
    node: int = 8

    def link_of(self, layout: Layout) -> Link:
        """What tensor ranks, or the GPUs of an expert layout, speak over."""
        return self.network if max(layout.tensor, layout.experts) > self.node else self.link

    def stage_link_of(self, layout: Layout) -> Link:
        """What pipeline stages speak over."""
        return self.network if layout.gpus > self.node else self.link


class Replica(msgspec.Struct, frozen=True):
    """A model in a format on a machine in a layout: all that speed depends on but the load."""

    model: Architecture
    format: Format
    weights: Weights
    value_bytes: float
    machine: Machine
    layout: Layout
    engine: Engine = Engine()


class Step(msgspec.Struct, frozen=True):
    """Seconds of one step, by what takes them."""

    memory_s: float
    arithmetic_s: float
    link_s: float
    launch_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Bytes and arithmetic overlap; messages and launches do not."""
        return max(self.memory_s, self.arithmetic_s) + self.link_s + self.launch_s

    @property
    def bound(self) -> str:
        """What most of it is spent on."""
        if self.link_s > max(self.memory_s, self.arithmetic_s):
            return "the link"
        return "memory bandwidth" if self.memory_s >= self.arithmetic_s else "arithmetic"


def touched_bytes(replica: Replica, batch: float) -> float:
    """Bytes of weights that one GPU reads for a batch, over all stages: of experts those that some token chose.

    shared + E·(1 − (1 − k/E)^B)·expert: the chosen ones alone for one token, nearly all from some 64 on. The embedding
    counts, though only rows of it are read: a tied one is the head, and the efficiency is measured so.
    """
    weights, model, layout = replica.weights, replica.model, replica.layout
    ends = weights.embedding + weights.head
    chosen = 1 - (1 - model.chosen / model.experts) ** batch if model.experts else 0.0
    if layout.experts > 1:
        return weights.total - weights.experts + weights.experts * chosen / layout.experts
    key_value = weights.key_value / min(layout.tensor, model.kv_heads)
    return (weights.split + ends + weights.experts * chosen) / layout.tensor + key_value + weights.held


def read_bytes(replica: Replica, context: float) -> float:
    """Bytes of KV that one GPU reads for a sequence's next token; a sparse indexer reads its keys of all tokens."""
    model = replica.model
    whole = cache_per_gpu(model, replica.value_bytes, Layout(replica.layout.tensor, 1, replica.layout.experts))
    if not model.index_top or context <= model.index_top:
        return whole.sequence(context)
    indices = model.layers * INDEX_BYTES / replica.layout.experts
    return (whole.per_token - indices) * model.index_top + indices * context


def reduce_bytes(model: Architecture, ranks: int) -> float:
    """Bytes that one GPU sends for a token: two all-reduces a layer, each 2·(n−1)/n of the hidden state."""
    return 2 * model.layers * 2 * (ranks - 1) / ranks * model.hidden * ACTIVATION_BYTES


def _link_s(replica: Replica, tokens: float, efficiency: Efficiency) -> float:
    """Seconds that messages of one pass over all layers take."""
    model, layout = replica.model, replica.layout
    link = replica.machine.link_of(layout)
    rate = link.one_way_gb_s * 1e9 * efficiency.link
    seconds = 0.0
    if layout.tensor > 1:
        seconds = 2 * model.layers * link.latency_us * 1e-6 + tokens * reduce_bytes(model, layout.tensor) / rate
    if layout.experts > 1:  # tokens go out to their experts in one byte a value, and come back in two
        share = (layout.experts - 1) / layout.experts
        sent = tokens / layout.experts * model.chosen * model.hidden * 3 * share
        seconds = model.mixture_layers * (2 * link.latency_us * 1e-6 + sent / rate)
    if layout.pipeline > 1:
        between = replica.machine.stage_link_of(layout)
        sent = tokens * model.hidden * ACTIVATION_BYTES * 2  # hidden state and residual
        hop = between.latency_us * 1e-6 + sent / (between.one_way_gb_s * 1e9 * efficiency.link)
        seconds += (layout.pipeline - 1) * hop
    return seconds


def attention_flops(model: Architecture, context: float) -> float:
    """FLOPs of one token's attention to so many: 4·L·heads·width·context; sparse and windowed layers see fewer."""
    seen = min(context, model.index_top) if model.index_top else context
    full, windowed = model.attention_layers - model.window_layers, model.window_layers
    width = 2 * model.latent + model.rope if model.latent else 2 * model.head_width
    return 2 * model.heads * width * (full * seen + windowed * min(seen, model.window))


def decode_step(replica: Replica, batch: float, context: float, efficiency: Efficiency = USUAL) -> Step:
    """One token for each of `batch` sequences of `context` tokens: the time per output token.

    Stages of a pipeline take their share of the batch in turn, so a token waits for all of them.
    """
    layout, gpu = replica.layout, replica.machine.gpu
    micro = max(1.0, batch / layout.pipeline)
    memory = touched_bytes(replica, micro) + micro * read_bytes(replica, context)
    flops = micro * (2 * active_of(replica.model) + attention_flops(replica.model, context))
    rate = gpu.tflops(replica.format.arithmetic) * 1e12 * efficiency.arithmetic
    return Step(
        memory / (gpu.bandwidth_gb_s * 1e9 * efficiency.bandwidth),
        flops / (layout.tensor * layout.experts) / rate,
        _link_s(replica, micro, efficiency),
        replica.model.layers * LAUNCH_S if efficiency is not CEILING else 0.0,
    )


def prefill_step(replica: Replica, tokens: float, length: float, efficiency: Efficiency = USUAL) -> Step:
    """So many prompt tokens of prompts of `length`, all stages busy: each token attends to half of its prompt."""
    layout, gpu = replica.layout, replica.machine.gpu
    flops = tokens * (2 * active_of(replica.model) + attention_flops(replica.model, length / 2))
    rate = gpu.tflops(replica.format.arithmetic) * 1e12 * efficiency.arithmetic
    return Step(
        touched_bytes(replica, tokens) / layout.pipeline / (gpu.bandwidth_gb_s * 1e9 * efficiency.bandwidth),
        flops / layout.gpus / rate,
        _link_s(replica, tokens, efficiency) / layout.pipeline,
    )


def prefill_rate(replica: Replica, length: float, efficiency: Efficiency = USUAL) -> float:
    """Prompt tokens a second of one replica, in chunks of vLLM's max_num_batched_tokens."""
    chunk = float(replica.engine.batched_tokens)
    return chunk / prefill_step(replica, chunk, length, efficiency).total_s


def first_token_s(replica: Replica, length: float, efficiency: Efficiency = USUAL) -> float:
    """Seconds to the first token of a prompt that waits for nobody: through all stages, one after the other."""
    return prefill_step(replica, length, length, efficiency).total_s * replica.layout.pipeline


def largest_batch(replica: Replica, context: float, most: float, tpot_s: float, efficiency: Efficiency = USUAL) -> int:
    """Returns how many sequences can run at once so that a token takes no longer than `tpot_s`; at least one."""
    low, high = 1, max(1, int(most))
    while low < high:
        middle = (low + high + 1) // 2
        if decode_step(replica, middle, context, efficiency).total_s <= tpot_s:
            low = middle
        else:
            high = middle - 1
    return low


# Of a step on a network: where more than a quarter of it is messages, a pipeline or fewer GPUs do better (opinion).
LINK_SHARE: Final = 0.25


def link_refusal(replica: Replica, batch: float, context: float) -> Refusal | None:
    """Refuses to split tensors, or experts, over a network that would take much of the time, with the numbers."""
    layout, model = replica.layout, replica.model
    link = replica.machine.link_of(layout)
    if not link.network or layout.tensor * layout.experts == 1:
        return None
    decode = decode_step(replica, batch, context)
    chunk = float(replica.engine.batched_tokens)
    prefill = prefill_step(replica, chunk, context)
    shares = [step.link_s / step.total_s for step in (decode, prefill)]
    if max(shares) <= LINK_SHARE:
        return None
    sent = reduce_bytes(model, layout.tensor) if layout.tensor > 1 else 0.0
    how = (
        f"each token makes every GPU send 2·{model.layers}·2·{layout.tensor - 1}/{layout.tensor}·{model.hidden:,}·2 ="
        f" {sent / 1e6:.2f} MB in {2 * model.layers} all-reduces"
        if layout.tensor > 1
        else "each token travels to its experts and back in every layer"
    )
    return Refusal(
        layout,
        "link",
        f"{how}; over {link.one_way_gb_s:.3g} GB/s that is {shares[1]:.0%} of a prefill and {shares[0]:.0%} of a decode"
        f" step of {batch:.0f}: the GPUs would do {1 - shares[1]:.0%} and {1 - shares[0]:.0%} of what they can",
    )
