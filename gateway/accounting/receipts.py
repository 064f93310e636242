"""The receipt: one immutable row per call, with its attempts, and the opening line that precedes it.

Times are seconds since the epoch, durations integer microseconds, money integer nano-dollars. Absent values are left
out of the encoding, which keeps a usual line near 1 KB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from gateway.core.money import BUCKETS, Price, Usage, charge
from gateway.core.types import Tags
from gateway.state.protocols import ReceiptRow

# What a line is believed up to: a provider that reports more tokens or costs more talks nonsense, and a sum over such
# lines would overflow the database's 64 bits. Such a line is kept apart, never added up.
Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Nano = Annotated[int, msgspec.Meta(ge=0, le=10**15)]

NOTHING: Final = msgspec.Raw(b"null")
INTERRUPTED: Final = "interrupted"


class AttemptLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One attempt of a call. `reason` of None is the answer; `started_us` counts from the call's beginning.

    `tokens`, `cost` and `cost_nano` are those of a failed attempt that cost money; the answer's stand in the receipt.
    """

    endpoint: str
    deployment: str
    provider: str
    started_us: int = 0
    reason: str | None = None
    status: int | None = None
    ttft_us: int | None = None
    e2e_us: int | None = None
    tokens: dict[str, Tokens] = {}
    cost: dict[str, Nano] = {}
    cost_nano: Nano = 0


class Summary(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What costs are summed and filtered by: the columns of a receipt.

    `model` is what the caller named. `sensitivity` is a level's name. `cost_nano` is the sum of the receipt's lines and
    of its failed attempts', None where the price is unknown. `saved_nano` is what the cache or the choice spared.
    `status` is what the caller was answered (499: it left, or this process died), `reason` why the call failed.
    `cost` is nano-dollars by bucket. `dearest_nano` is what the dearest permitted deployment would have cost, and
    `list_nano` a hosted one at list price: the one that answered, or, where a pool of one's own did, the cheapest that
    was permitted. `spilled`: a hosted one answered though such a pool was permitted.
    """

    id: str
    time: float
    key: str
    status: int
    team: str | None = None
    user: str | None = None
    tags: Tags = ()
    route: str | None = None
    deployment: str | None = None
    provider: str | None = None
    model: str | None = None
    sensitivity: str | None = None
    tokens: dict[str, Tokens] = {}
    cost_nano: Nano | None = None
    saved_nano: Nano | None = None
    price_version: str | None = None
    estimated: bool = False
    cache: str = "-"  # hit | miss | -
    reason: str | None = None
    cost: dict[str, Nano] = {}
    dearest_nano: Nano | None = None
    list_nano: Nano | None = None
    spilled: bool = False
    ttft_us: int | None = None
    tpot_us: int | None = None
    e2e_us: int | None = None


class Receipt(Summary, frozen=True, gc=False, omit_defaults=True):
    """All that a call was: who, what, where and why there, how long, and what it cost.

    `refusal` is our own words where it was us who refused it. `upstream_model` is the deployment's model. `raw_usage`
    is the provider's usage object as it came; `decision` is any value that JSON can hold.
    `marginal_nano` is, of an answer on one's own GPUs, what it cost by the price that its pool was ranked by.
    """

    refusal: str | None = None
    upstream_model: str | None = None
    dialect: str | None = None
    endpoint: str | None = None
    stream: bool = False
    finish: str | None = None
    usage_suspect: bool = False
    dropped_events: int = 0  # of the stream, that were not JSON and were not passed on
    queue_us: int | None = None
    overhead_us: int | None = None
    config_revision: int = 0
    raw_usage: msgspec.Raw = NOTHING
    attempts: tuple[AttemptLine, ...] = ()
    decision: Any = None
    marginal_nano: Nano | None = None


class Settled(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What of a receipt its call's `Pairing` does not say; the names are the receipt's."""

    id: str
    time: float
    key: str
    status: int
    user: str | None = None
    tokens: dict[str, Tokens] = {}
    cost_nano: Nano | None = None
    saved_nano: Nano | None = None
    price_version: str | None = None
    estimated: bool = False
    cache: str = "-"
    reason: str | None = None
    refusal: str | None = None
    finish: str | None = None
    cost: dict[str, Nano] = {}
    dearest_nano: Nano | None = None
    usage_suspect: bool = False
    dropped_events: int = 0
    ttft_us: int | None = None
    tpot_us: int | None = None
    e2e_us: int | None = None
    queue_us: int | None = None
    overhead_us: int | None = None
    raw_usage: msgspec.Raw = NOTHING
    attempts: tuple[AttemptLine, ...] = ()
    decision: Any = None
    marginal_nano: Nano | None = None
    list_nano: Nano | None = None
    spilled: bool = False


class Opening(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known as a call's first attempt begins: the receipt it gets if this process dies before its end.

    The names are the receipt's, but for the estimated input, which is priced when it comes to that.
    """

    id: str
    time: float
    key: str
    team: str | None = None
    user: str | None = None
    tags: Tags = ()
    route: str | None = None
    deployment: str | None = None
    provider: str | None = None
    model: str | None = None
    upstream_model: str | None = None
    sensitivity: str | None = None
    dialect: str | None = None
    endpoint: str | None = None
    stream: bool = False
    input_tokens: Tokens = 0
    price_version: str | None = None
    config_revision: int = 0


def tokens_of(usage: Usage) -> dict[str, int]:
    """Returns a usage as a receipt holds it: tokens by bucket, without the empty ones."""
    tokens = {}
    if usage.fresh_input:
        tokens["fresh_input"] = usage.fresh_input
    if usage.output_text:
        tokens["output_text"] = usage.output_text
    if not usage.is_plain:
        for bucket in _RARE_BUCKETS:
            count: int = getattr(usage, bucket)
            if count:
                tokens[bucket] = count
    return tokens


_RARE_BUCKETS: Final = tuple(bucket for bucket in BUCKETS if bucket not in ("fresh_input", "output_text"))


# -- lines of the journal -----------------------------------------------------------------------------------------

OPENED: Final = 0x6F  # "o"
CLOSED: Final = 0x72  # "r"

_encode: Final = msgspec.json.Encoder().encode
_receipts: Final = msgspec.json.Decoder(Receipt)
_summaries: Final = msgspec.json.Decoder(Summary)
_openings: Final = msgspec.json.Decoder(Opening)


def line_of(tag: int, value: Opening | Settled | Receipt, shared: bytes = b"{") -> bytes:
    """Returns a journal line: the tag, the JSON of a value and what it shares (`Pairing.json`), a newline.

    A provider's own JSON may hold newlines, which would end the line early.
    """
    json = _encode(value)
    if b"\n" in json:
        json = json.replace(b"\n", b" ")
    return b"%c%b%b\n" % (tag, shared, json[1:])


def read_receipt(body: bytes) -> Receipt:
    """Reads a receipt's JSON; raises msgspec.DecodeError."""
    return _receipts.decode(body)


def interrupted(body: bytes, price_of: Callable[[str], Price | None]) -> bytes:
    """Turns an opening's JSON into that of the estimated receipt of a call that died with its process.

    `price_of` finds a price by its version; a call whose price is not found counts as unpriced, never as free.
    """
    known = msgspec.structs.asdict(_openings.decode(body))
    usage = Usage(fresh_input=known.pop("input_tokens"), estimated=True)
    price = price_of(known["price_version"]) if known["price_version"] is not None else None
    cost = charge(usage, price) if price is not None else None
    return _encode(
        Receipt(
            **known,
            status=499,
            reason=INTERRUPTED,
            estimated=True,
            tokens=tokens_of(usage),
            cost=cost.lines if cost is not None else {},
            cost_nano=cost.nano_usd if cost is not None else None,
        )
    )


def row_of(body: bytes) -> ReceiptRow:
    """Lays a receipt's JSON out in the store's columns; raises msgspec.DecodeError."""
    summary = _summaries.decode(body)
    count, paid = summary.tokens.get, summary.cost.get
    return ReceiptRow(
        summary.id,
        summary.time,
        summary.key,
        summary.team,
        summary.user,
        msgspec.json.encode(dict(summary.tags)).decode() if summary.tags else None,
        summary.route,
        summary.deployment,
        summary.provider,
        summary.model,
        summary.sensitivity,
        summary.status,
        summary.cache == "hit",
        summary.estimated,
        summary.cost_nano is None,
        count("fresh_input", 0),
        count("cached_input", 0),
        count("cache_write_5m", 0),
        count("cache_write_1h", 0),
        count("audio_input", 0),
        count("image_input", 0),
        count("output_text", 0),
        count("reasoning", 0),
        count("audio_output", 0),
        summary.cost_nano or 0,
        summary.saved_nano or 0,
        summary.price_version,
        body.decode(errors="replace"),  # a provider's usage object may hold bytes that are no text
        summary.reason,
        summary.ttft_us,
        summary.tpot_us,
        summary.e2e_us,
        summary.dearest_nano,
        summary.list_nano,
        summary.spilled,
        paid("fresh_input", 0),
        paid("cached_input", 0),
        paid("cache_write_5m", 0),
        paid("cache_write_1h", 0),
        paid("audio_input", 0),
        paid("image_input", 0),
        paid("output_text", 0),
        paid("reasoning", 0),
        paid("audio_output", 0),
    )
