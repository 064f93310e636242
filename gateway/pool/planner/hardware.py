"""Accelerators and the links between them.

Memory, bandwidth and rates are the makers' data sheets, dense (without sparsity); prices and watts move. All of it is
general knowledge [K] unless its row says otherwise: an estimate, to be overridden by what you pay and measure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.pool.planner.figures import GIB
from gateway.pool.planner.quantisation import Arithmetic, UnknownWord, unknown


class Link(msgspec.Struct, frozen=True):
    """What joins GPUs: bytes a second one way and out of one GPU, and microseconds for an all-reduce of nothing."""

    name: str
    one_way_gb_s: float
    latency_us: float
    network: bool = False


# Data sheets give NVLink and Infinity Fabric in both directions together; one way is half. Latencies are of one small
# all-reduce over 8 [K]: vLLM's custom kernel on NVLink, NCCL over PCIe, InfiniBand and TCP.
LINKS: Final[Mapping[str, Link]] = {
    "nvlink3": Link("NVLink 600 GB/s", 300, 12),
    "nvlink4": Link("NVLink 900 GB/s", 450, 10),
    "nvlink5": Link("NVLink 1,800 GB/s", 900, 10),
    "infinity": Link("Infinity Fabric 896 GB/s", 448, 15),
    "hccs": Link("HCCS 392 GB/s", 196, 20),
    "pcie4": Link("PCIe 4.0 x16, 32 GB/s", 32, 30),
    "pcie5": Link("PCIe 5.0 x16, 64 GB/s", 64, 30),
}
_LATENCY_US: Final = 100.0  # TCP or RoCE between hosts
_FABRIC_LATENCY_US: Final = 30.0  # InfiniBand or the like, from 200 Gb/s up
_GIGABITS: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:g|gb|gbit|gbps|gb/s|gbit/s|gbe)?")


def link_of(word: str) -> Link:
    """Reads `nvlink4`, `pcie4`, or a network by its gigabits a second (`25g`, `400g`); raises UnknownWord."""
    name = {"nvlink": "nvlink4", "pcie": "pcie4"}.get(word.lower(), word.lower())
    if name in LINKS:
        return LINKS[name]
    match = _GIGABITS.fullmatch(name)
    if match and 0 < float(match[1]) <= 10_000:
        gigabits = float(match[1])
        latency = _FABRIC_LATENCY_US if gigabits >= 200 else _LATENCY_US
        return Link(f"network of {gigabits:g} Gb/s", gigabits / 8, latency, network=True)
    raise UnknownWord(unknown("link", word, [*LINKS, "25g", "100g", "400g"]))


class Gpu(msgspec.Struct, frozen=True):
    """One accelerator. `memory_bytes` is what its driver reports as usable, a little less than on the box.

    Rates are dense TFLOPS, 0 where there is no such unit. `watts` are its own, `server_watts` with its share of the
    host; `buy_usd` likewise with its share of the server. `rent_usd` is an hour on demand.
    """

    name: str
    memory_gb: int
    memory_bytes: float
    bandwidth_gb_s: float
    bf16: float
    fp8: float
    int8: float
    fp4: float
    link: Link
    watts: int
    server_watts: int
    rent_usd: float
    buy_usd: float
    priced: str
    source: str = "data sheet [K]; usable memory as CUDA reports it [K]"

    @property
    def label(self) -> str:
        """Its name for people."""
        return self.name.upper()

    @property
    def fp32(self) -> float:
        """TF32 on tensor cores: half of bf16."""
        return self.bf16 / 2

    def tflops(self, arithmetic: Arithmetic) -> float:
        """The rate in an arithmetic; where there is no unit for it, weights are widened and computed in bf16."""
        rate: float = getattr(self, arithmetic)
        return rate or self.bf16


_RENTED: Final = "rent is GetDeploying's average of 2026-06-28, purchase general knowledge [K] of 2026-11"
_ASKED: Final = "rent and purchase are general knowledge [K] of 2026-11"

# name; GB on the box, GiB usable; GB/s; TFLOPS in bf16, fp8, int8, fp4; link; watts, with host; $/h, $ with host
_ROWS: Final = (
    ("a10g", (24, 22.1), 600, (70, 0, 140, 0), "pcie4", (300, 450), (1.01, 5_500), _ASKED),
    ("l4", (24, 22.0), 300, (121, 242, 242, 0), "pcie4", (72, 150), (0.70, 4_000), _ASKED),
    ("rtx4090", (24, 23.6), 1010, (165, 330, 660, 0), "pcie4", (450, 600), (0.45, 3_500), _ASKED),
    ("l40s", (48, 44.4), 864, (362, 733, 733, 0), "pcie4", (350, 550), (1.10, 12_000), _ASKED),
    ("a100-40", (40, 39.4), 1555, (312, 0, 624, 0), "nvlink3", (400, 800), (1.30, 12_000), _ASKED),
    ("a100", (80, 79.2), 2039, (312, 0, 624, 0), "nvlink3", (400, 800), (1.80, 18_000), _ASKED),
    ("h100", (80, 79.2), 3350, (989, 1979, 1979, 0), "nvlink4", (700, 1275), (3.13, 32_000), _RENTED),
    ("h200", (141, 139.8), 4800, (989, 1979, 1979, 0), "nvlink4", (700, 1275), (4.06, 40_000), _RENTED),
    ("b200", (192, 178.3), 8000, (2250, 4500, 4500, 9000), "nvlink5", (1000, 1790), (4.86, 55_000), _RENTED),
    ("mi300x", (192, 191.7), 5300, (1307, 2615, 2615, 0), "infinity", (750, 1300), (2.60, 25_000), _ASKED),
    ("ascend-910b", (64, 61.3), 1600, (320, 0, 640, 0), "hccs", (400, 700), (1.50, 16_000), _ASKED),
)
GPUS: Final[Mapping[str, Gpu]] = {
    name: Gpu(name, box, usable * GIB, bandwidth, *rates, LINKS[link], *watts, *usd, asked)
    for name, (box, usable), bandwidth, rates, link, watts, usd, asked in _ROWS
}
_ALIASES: Final = {"a100-80": "a100", "a100-80gb": "a100", "a100-40gb": "a100-40", "h100-80": "h100", "4090": "rtx4090",
                   "910b": "ascend-910b", "a10": "a10g", "h100-sxm": "h100"}  # fmt: skip


def gpu_of(word: str) -> Gpu:
    """Returns a GPU by name; raises UnknownWord with the nearest."""
    name = _ALIASES.get(word.lower(), word.lower())
    if name not in GPUS:
        raise UnknownWord(unknown("GPU", word, [*GPUS, *_ALIASES]))
    return GPUS[name]
