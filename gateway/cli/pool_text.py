"""Pools for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core.money import usd

_HEAD: Final = ("replica", "phase", "for", "calls", "running", "waiting", "KV", "cached", "restarts", "address")


def status_text(pools: Sequence[Mapping[str, Any]], now: float | None = None) -> str:
    """Writes pools and their replicas; `now` is seconds since the epoch, by which "for" is told."""
    if not pools:
        return "no pools: the config has no provider of kind vllm\n"
    return "\n".join(_pool(pool, now) for pool in pools)


def _pool(pool: Mapping[str, Any], now: float | None) -> str:
    how = "launched" if pool["launched"] else "found"
    head = [f"{pool['pool']}: {how}"]
    if pool.get("routing"):
        head.append(f"routed by {pool['routing']}")
    if "load" in pool:
        head.append(f"{pool['load']:.0%} busy")
        pace = pool["tokens_per_s"]
        head.append(f"{pace['input']:,.0f} tokens/s in, {pace['output']:,.0f} out")
    lines = [", ".join(head)]
    speed = pool.get("speed")
    if speed:
        lines.append(
            f"  a replica does {speed['prefill']:,.0f} tokens/s in, {speed['decode']:,.0f} out ({speed['source']})"
        )
    lines += [
        f"  {price['deployment']}: ranked at {usd(price['input'])} in, {usd(price['output'])} out; "
        f"in full {usd(price['full_input'])} in, {usd(price['full_output'])} out a million"
        for price in pool.get("prices", ())
    ]
    rows = [_HEAD, *(_row(replica, now) for replica in pool["replicas"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines += [f"  {each['name']}: {each['why']}" for each in pool["replicas"] if each["why"]]
    return "\n".join(lines) + "\n"


def _row(replica: Mapping[str, Any], now: float | None) -> tuple[str, ...]:
    phase = replica["phase"]
    if replica["progress"] is not None:
        phase += f" {replica['progress']:.0%}"
        if replica["eta_s"] is not None:
            phase += f", {replica['eta_s']:.0f} s"
    share = replica.get("cached_share")
    return (
        replica["name"],
        phase,
        _age(replica["since_at"], now),
        str(replica["in_flight"]),
        str(replica.get("running", "-")),
        str(replica.get("waiting", "-")),
        f"{replica['kv_usage']:.0%}" if "kv_usage" in replica else "-",
        "-" if share is None else f"{share:.0%}",
        str(replica["restarts"]),
        replica["address"],
    )


def _age(since_at: float, now: float | None) -> str:
    if now is None or not since_at:
        return "-"
    seconds = max(0, int(now - since_at))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def fresh_lines(shown: Sequence[str], later: Sequence[str]) -> list[str]:
    """Returns what of `later` was not shown yet: all after the longest beginning that ends what was shown."""
    for overlap in range(min(len(shown), len(later)), 0, -1):
        if list(later[:overlap]) == list(shown[len(shown) - overlap :]):
            return list(later[overlap:])
    return list(later)
