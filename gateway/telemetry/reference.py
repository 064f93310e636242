"""Writes docs/metrics.md from the table of metrics."""

from __future__ import annotations

from gateway.telemetry.names import METRICS


def markdown() -> str:
    """Returns the page."""
    rows = []
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    buckets = [
        f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.bounds)} |"
        for metric in METRICS
        if metric.bounds
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            "<!-- Written by gateway/telemetry/reference.py. -->",
            "",
            "`GET /metrics` answers in Prometheus' text format; with `telemetry.otlp` set, the same numbers go to an",
            "OpenTelemetry collector each minute, under the same names (a histogram as `_bucket`, `_sum`, `_count`).",
            "Keys and users are no labels: labels come from the config and from closed lists, and past 10,000 series",
            "what is new is counted as `(other)`.",
            "",
            "| metric | kind | labels | what it counts |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Buckets",
            "",
            "Upper bounds, in seconds.",
            "",
            "| histogram | bounds |",
            "|---|---|",
            *buckets,
            "",
        ]
    )


if __name__ == "__main__":
    print(markdown(), end="")
