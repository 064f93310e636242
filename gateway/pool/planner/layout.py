"""How a model is spread over GPUs: which ways there are, which are refused and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from gateway.pool.planner.architecture import Architecture
from gateway.pool.planner.quantisation import Format

_MOST_STAGES: Final = 16


class Layout(msgspec.Struct, frozen=True):
    """One replica's way: `tensor` × `pipeline` GPUs; or, of a mixture, attention by sequences and experts by GPU.

    `experts` spreads routed experts over all GPUs while each keeps the attention of its own sequences (vLLM's
    --data-parallel-size with --enable-expert-parallel): a latent KV cache is then not repeated on each.
    """

    tensor: int = 1
    pipeline: int = 1
    experts: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.tensor * self.pipeline * self.experts

    @property
    def name(self) -> str:
        """As people write it: TP4, TP8×PP2, DP8+EP."""
        if self.experts > 1:
            return f"DP{self.experts}+EP"
        return f"TP{self.tensor}" + (f"×PP{self.pipeline}" if self.pipeline > 1 else "")

    @property
    def flags(self) -> str:
        """vLLM's flags."""
        if self.experts > 1:
            return f"--data-parallel-size {self.experts} --enable-expert-parallel"
        pipeline = f" --pipeline-parallel-size {self.pipeline}" if self.pipeline > 1 else ""
        return f"--tensor-parallel-size {self.tensor}{pipeline}"


class Refusal(msgspec.Struct, frozen=True):
    """A layout that is not taken: which rule forbids it, and why, with the numbers."""

    layout: Layout
    rule: Literal["heads", "groups", "layers", "memory", "link", "experts"]
    why: str


def layouts(model: Architecture, gpus: int, node: int) -> Iterator[Layout]:
    """Yields the ways to use up to `gpus` of them: tensors within a node of `node`, pipelines across."""
    tensor = 1
    while tensor <= min(node, gpus):
        for pipeline in range(1, min(gpus // tensor, model.layers, _MOST_STAGES) + 1):
            if pipeline in (1, 2, 3, 4, 6, 8, 12, 16):
                yield Layout(tensor, pipeline)
        tensor *= 2
    experts = 2
    while model.experts and experts <= gpus:
        yield Layout(experts=experts)
        experts *= 2


def refused(model: Architecture, weights: Format, layout: Layout) -> Refusal | None:
    """Says which rule of vLLM's forbids a layout, if one does; memory and links are judged elsewhere."""
    tensor = layout.tensor
    if model.heads % tensor:
        return Refusal(layout, "heads", f"{model.heads} attention heads cannot be dealt to {tensor} GPUs evenly")
    if not model.latent and max(model.kv_heads, tensor) % min(model.kv_heads, tensor):
        return Refusal(
            layout, "heads", f"{model.kv_heads} key-value heads and {tensor} GPUs: neither divides the other"
        )
    if layout.pipeline > model.layers:
        return Refusal(layout, "layers", f"{layout.pipeline} stages of {model.layers} layers")
    if layout.experts > 1 and model.experts % layout.experts:
        return Refusal(layout, "experts", f"{model.experts} experts cannot be dealt to {layout.experts} GPUs evenly")
    for what, width in (("feed-forward", model.width), ("expert", model.expert_width), ("shared", model.shared_width)):
        if not width or (what == "feed-forward" and model.experts and not model.dense_layers):
            continue
        if width % tensor:
            return Refusal(layout, "groups", f"the {what} width {width:,} is no multiple of {tensor}")
        # vllm-project/vllm#17569: Qwen3-235B-A22B-FP8 on eight, 1,536 / 8 = 192 is no multiple of 128
        if tensor > 1 and weights.group and (width // tensor) % weights.group:
            return Refusal(
                layout,
                "groups",
                f"{weights.name} shares a scale among {weights.group} weights, and {what} width {width:,} / {tensor} ="
                f" {width // tensor:,} is no multiple of {weights.group}",
            )
    return None
