"""Which calls may be answered from a kept answer, under which key, and which answers are kept.

terms = cache.terms(call, plan.candidates)           # None: not cacheable, and nothing of this costs anything
key = cache.key(request, plan, epoch)                # None: the body has side effects or cannot be read
entry = await cache.lookup(key, plan, terms, now)    # a hit, or None
…                                                    # `flight`: identical calls in flight wait for one
await cache.keep(entry, call.endpoint)               # kept, if it is an answer worth keeping
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from gateway.cache.flight import FINISHES, Flight, Flights, Head, Passenger
from gateway.core.types import Call, Deployment, Plan, Principal, Request
from gateway.state.cache import Entry, ResponseCache

__all__ = ["Cache", "CacheSettings", "Entry", "Flight", "Flights", "Head", "Passenger", "Terms", "epoch_of"]

_ENDPOINTS: Final = frozenset({"chat", "completions", "embeddings"})

# Fields that say how an answer is delivered or who asked, not what is asked.
_NOT_ASKED: Final = ("stream", "stream_options", "user", "metadata")

# Fields by which a provider does more than answer: it searches, or keeps the conversation.
_SIDE_EFFECTS: Final = ("web_search_options", "store", "mcp_servers", "container")

_CALLERS_TOOLS: Final = frozenset({"function", "custom"})  # run by the caller; every other type runs at the provider


class CacheSettings(msgspec.Struct, frozen=True):
    """As configured. `share` says who sees whose answers; one body may take up to `max_entry_bytes`."""

    at: Literal["temperature_0", "asked", "never"] = "temperature_0"
    ttl_s: float = 86_400.0
    share: Literal["key", "team", "all"] = "team"
    max_entry_bytes: int = 1 << 20


class Terms(msgspec.Struct, frozen=True, gc=False):
    """On which terms a call may be answered from the cache: only from an answer younger than `max_age_s`.

    Zero means that the caller wants a fresh answer, which may be kept for others.
    """

    max_age_s: float


class Cache:
    """Holds the rules against a store."""

    __slots__ = ("_fresh", "_settings", "_store", "_usual")

    def __init__(self, store: ResponseCache, settings: CacheSettings) -> None:
        self._store = store
        self._settings = settings
        self._usual = Terms(settings.ttl_s)
        self._fresh = Terms(0.0)

    def terms(self, call: Call, candidates: Sequence[Deployment]) -> Terms | None:
        """Returns the terms on which the cache may serve this call; None where it may not, or nobody asks it to."""
        settings = self._settings
        if settings.at == "never" or call.endpoint not in _ENDPOINTS or call.kept or call.references:
            return None
        if call.keeping is not None:  # it goes on from a kept answer, which its own names
            return None
        terms: Terms | None = self._usual
        asked = False
        if call.cache_control is not None:
            terms, asked = self._as_asked(call.cache_control)
        if asked or (settings.at == "temperature_0" and _is_deterministic(call, candidates)):
            return terms
        return None

    def key(self, request: Request, plan: Plan, epoch: bytes) -> bytes | None:
        """Returns the SHA-256 of all that shapes the answer and of who may see it; None for a body with side effects.

        `epoch` stands for the config, as `epoch_of` makes it. Cryptographic, because a collision would be a leak.
        """
        call = request.call
        try:
            body = msgspec.json.decode(call.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if not isinstance(body, dict) or _has_side_effects(body):
            return None
        for name in _NOT_ASKED:
            body.pop(name, None)
        head = (
            self._scope(request.principal),
            request.sensitivity.level,
            plan.route,
            call.model,
            call.dialect,
            call.endpoint,
            call.strict,
            call.forwarded,
            epoch,
        )
        return hashlib.sha256(msgspec.json.encode((head, body), order="sorted")).digest()

    async def lookup(self, key: bytes, plan: Plan, terms: Terms, now: float) -> Entry | None:
        """Returns a kept answer that this call may be given; `now` in seconds since the epoch.

        An entry counts only under its own key, and only from a deployment that this very call may go to.
        """
        if terms.max_age_s <= 0:
            return None
        entry = await self._store.get(key, now)
        if entry is None or entry.key != key or entry.deployment not in plan.permitted:
            return None
        return entry if now < entry.created + terms.max_age_s else None

    async def keep(self, entry: Entry, endpoint: str) -> bool:
        """Keeps an answer that is whole, ended of itself and is not too large; returns whether it did."""
        whole = entry.finish in FINISHES or (endpoint == "embeddings" and entry.finish is None)
        if entry.status != 200 or not whole or len(entry.body) > self._settings.max_entry_bytes:
            return False
        await self._store.put(entry)
        return True

    def _as_asked(self, cache_control: str) -> tuple[Terms | None, bool]:
        """Reads the caller's `cache-control` (RFC 9111, 5.2.1); returns the terms, and whether it asks for it."""
        terms, asked = self._usual, False
        for directive in cache_control.lower().split(","):
            name, _, value = directive.strip().partition("=")
            if name == "no-store":
                return None, False
            if name == "no-cache":
                terms = self._fresh
            elif name == "max-age" and value.strip('"').isdecimal():
                asked = True
                terms = Terms(min(float(value.strip('"')), terms.max_age_s))
        return terms, asked

    def _scope(self, principal: Principal) -> str:
        share = self._settings.share
        if share == "all":
            return "all"
        if share == "team" and principal.team is not None:
            return f"team:{principal.team}"
        return f"key:{principal.key}"


def epoch_of(deployments: Iterable[Deployment]) -> bytes:
    """Returns a hash of what of a config shapes answers: every deployment with its provider's model and settings."""
    facts = sorted(
        (
            deployment.name,
            deployment.provider,
            deployment.kind,
            deployment.adapter,
            deployment.model,
            deployment.base_path,
            sorted(deployment.options.items()),
        )
        for deployment in deployments
    )
    return hashlib.sha256(msgspec.json.encode(facts)).digest()


def _is_deterministic(call: Call, candidates: Sequence[Deployment]) -> bool:
    """Says whether the same call gets the same answer: embeddings do, and texts at temperature 0."""
    if call.temperature is not None:
        return call.temperature == 0
    if call.endpoint == "embeddings":
        return True
    for deployment in candidates:  # a loop: the first one ends it, and a generator alone would cost 0.5 us
        if deployment.default_temperature != 0:
            return False
    return bool(candidates)


def _has_side_effects(body: dict[str, object]) -> bool:
    if any(body.get(name) for name in _SIDE_EFFECTS):
        return True
    tools = body.get("tools")
    return isinstance(tools, list) and any(
        not isinstance(tool, dict) or tool.get("type", "function") not in _CALLERS_TOOLS for tool in tools
    )
