"""Headers of safetensors files, which say exactly how many bytes a checkpoint's weights take.

The layout: eight bytes (little-endian) of the header's length, then the header as JSON: tensor -> dtype, shape and
data_offsets (github.com/huggingface/safetensors, README, "Format").
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.pool.planner.architecture import BadModel

PREFIX_BYTES: Final = 8
MAX_HEADER_BYTES: Final = 100_000_000  # what the reference reader takes, too

_LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_WIDE: Final = ("embed_tokens", "lm_head", "wte", "embed_out")


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class Checkpoint(msgspec.Struct, frozen=True):
    """Bytes of weights that vLLM loads: embeddings and head, routed experts, and the rest. `extra` stays on disk."""

    embedding: int
    head: int
    experts: int
    rest: int
    extra: int = 0
    files: int = 1

    @property
    def total(self) -> int:
        """What is loaded."""
        return self.embedding + self.head + self.experts + self.rest


def header_length(prefix: bytes) -> int:
    """Reads a file's first eight bytes; raises BadModel where they cannot be a length."""
    if len(prefix) != PREFIX_BYTES:
        raise BadModel("a safetensors file is shorter than its first eight bytes")
    length: int = struct.unpack("<Q", prefix)[0]
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise BadModel(f"a safetensors header of {length:,} bytes is not believed: is this such a file?")
    return length


def read_headers(headers: Iterable[bytes], layers: int) -> Checkpoint:
    """Sums the tensors of all files of a checkpoint; those of layers from `layers` on predict further tokens, and stay.

    Raises BadModel.
    """
    sums = {"embedding": 0, "head": 0, "experts": 0, "rest": 0, "extra": 0}
    files = 0
    for header in headers:
        files += 1
        for name, tensor in _tensors(header).items():
            begin, end = tensor.data_offsets
            if not 0 <= begin <= end:
                raise BadModel(f"tensor {name[:100]!r} ends before it begins")
            sums[_part(name, layers)] += end - begin
    return Checkpoint(files=files, **sums)


def _tensors(header: bytes) -> dict[str, _Tensor]:
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        return {name: msgspec.json.decode(tensor, type=_Tensor) for name, tensor in raw.items()}
    except msgspec.DecodeError as error:
        raise BadModel(f"a safetensors header cannot be read: {error}") from None


def _part(name: str, layers: int) -> str:
    layer = _LAYER.search(name)
    if layer and int(layer[1]) >= layers:
        return "extra"
    if ".experts." in name:
        return "experts"
    if any(word in name for word in _WIDE):
        return "head" if "lm_head" in name or "embed_out" in name else "embedding"
    return "rest"
