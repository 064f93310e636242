"""Families -> Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.telemetry.metrics import Family

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"

_LABEL: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


def render(families: Iterable[Family]) -> bytes:
    """Returns the text of all families; of a histogram, the cumulated buckets, the sum and the count."""
    lines: list[str] = []
    for family in families:
        metric = family.metric
        lines.append(f"# HELP {metric.name} {metric.help.translate(_HELP)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        for values, value in family.samples:
            lines.append(f"{metric.name}{_labels(metric.labels, values)} {_number(value)}")
        for values, histogram in family.histograms:
            total = 0
            for bound, count in zip((*map(_number, metric.bounds), "+Inf"), list(histogram.counts), strict=True):
                total += count
                labels = _labels((*metric.labels, "le"), (*values, bound))
                lines.append(f"{metric.name}_bucket{labels} {total}")
            labels = _labels(metric.labels, values)
            lines.append(f"{metric.name}_sum{labels} {_number(histogram.sum)}")
            lines.append(f"{metric.name}_count{labels} {total}")
    lines.append("")
    return "\n".join(lines).encode()


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not names:
        return ""
    return (
        "{" + ",".join(f'{name}="{value.translate(_LABEL)}"' for name, value in zip(names, values, strict=True)) + "}"
    )


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)
