"""Every metric's name, kind, labels and meaning, in one table: recorded, shown, exported and documented from here."""

from __future__ import annotations

from typing import Final, Literal

import msgspec


class Metric(msgspec.Struct, frozen=True):
    """One family. Of a histogram, `bounds` are the upper ends of its buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


# A cached answer takes under a millisecond, a reasoning model minutes: two steps per factor of ten in between.
_LATENCY: Final = (0.001, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
# 2,000 down to 3 tokens a second.
_PER_TOKEN: Final = (0.0005, 0.002, 0.005, 0.008, 0.012, 0.016, 0.02, 0.025, 0.033, 0.05, 0.08, 0.125, 0.333)
_DURATION: Final = (0.001, 0.01, 0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0)
# What the gateway adds itself is some tens of microseconds.
_OVERHEAD: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.5)

CALLS: Final = Metric(
    "headgate_calls_total",
    "counter",
    "Calls answered, by outcome. reason is empty for an answer.",
    ("route", "deployment", "team", "status", "reason"),
)
CACHE_LOOKUPS: Final = Metric(
    "headgate_cache_lookups_total", "counter", "Calls that may be cached, by hit or miss.", ("route", "outcome")
)
TOKENS: Final = Metric(
    "headgate_tokens_total",
    "counter",
    "Tokens by bucket; each token is in exactly one.",
    ("deployment", "team", "bucket"),
)
COST: Final = Metric(
    "headgate_cost_nano_usd_total", "counter", "Cost in billionths of a dollar.", ("deployment", "team")
)
SAVED: Final = Metric(
    "headgate_saved_nano_usd_total",
    "counter",
    "What the cache or the choice saved, in billionths of a dollar.",
    ("deployment", "team"),
)
UNPRICED: Final = Metric(
    "headgate_unpriced_calls_total", "counter", "Calls whose price is unknown: in no sum of money.", ("deployment",)
)
ESTIMATED: Final = Metric(
    "headgate_usage_estimated_total", "counter", "Calls whose usage is our estimate.", ("deployment",)
)
SUSPECT: Final = Metric(
    "headgate_usage_suspect_total", "counter", "Calls whose reported usage contradicts itself.", ("deployment",)
)
FAILED_ATTEMPTS: Final = Metric(
    "headgate_failed_attempts_total", "counter", "Attempts that failed, by reason.", ("deployment", "reason")
)
DROPPED_EVENTS: Final = Metric(
    "headgate_dropped_events_total",
    "counter",
    "Stream events that were not JSON and were not passed on.",
    ("deployment",),
)
SHED: Final = Metric("headgate_shed_total", "counter", "Calls refused because the gateway was full.", ())
BREAKER_CHANGES: Final = Metric(
    "headgate_breaker_changes_total", "counter", "Changes of a breaker, by the state it came to.", ("endpoint", "state")
)
RELOADS: Final = Metric(
    "headgate_config_reloads_total",
    "counter",
    "Configs, by whether they were applied, refused, or rolled_back by a watch.",
    ("outcome",),
)
TTFT: Final = Metric(
    "headgate_time_to_first_token_seconds",
    "histogram",
    "From a call's arrival to its first content.",
    ("deployment",),
    _LATENCY,
)
TPOT: Final = Metric(
    "headgate_time_per_output_token_seconds",
    "histogram",
    "Between two output tokens, averaged over a streamed call.",
    ("deployment",),
    _PER_TOKEN,
)
DURATION: Final = Metric(
    "headgate_call_duration_seconds", "histogram", "From a call's arrival to its last byte.", ("deployment",), _DURATION
)
OVERHEAD: Final = Metric(
    "headgate_overhead_seconds",
    "histogram",
    "The part of a call that waits for no upstream and no queue.",
    (),
    _OVERHEAD,
)
IN_FLIGHT: Final = Metric("headgate_in_flight", "gauge", "Calls in flight.", ("deployment",))
QUEUED: Final = Metric("headgate_queued", "gauge", "Calls that wait to be let in.", ())
CONNECTIONS: Final = Metric(
    "headgate_upstream_connections", "gauge", "Open connections to upstreams.", ("origin", "state")
)
BREAKERS: Final = Metric(
    "headgate_breaker_state", "gauge", "1 for the state a breaker is in, 0 for the others.", ("endpoint", "state")
)
REVISION: Final = Metric("headgate_config_revision", "gauge", "The config revision that serves.", ())
JOURNAL: Final = Metric(
    "headgate_journal_waiting_bytes", "gauge", "Receipts in the journal that are not in the database yet.", ()
)
CACHE_BYTES: Final = Metric("headgate_cache_bytes", "gauge", "Memory that kept answers take.", ())
CACHE_ENTRIES: Final = Metric("headgate_cache_entries", "gauge", "Kept answers.", ())
RESPONSES_BYTES: Final = Metric(
    "headgate_kept_responses_bytes", "gauge", "Memory that translated Responses take, kept to be gone on from.", ()
)
RESPONSES: Final = Metric("headgate_kept_responses", "gauge", "Translated Responses that are kept.", ())
POOL_REPLICAS: Final = Metric("headgate_pool_replicas", "gauge", "Replicas of a pool, by phase.", ("pool", "phase"))
POOL_RESTARTS: Final = Metric(
    "headgate_pool_restarts_total", "counter", "Times that a replica was started anew.", ("pool", "replica")
)
POOL_IN_FLIGHT: Final = Metric("headgate_pool_in_flight", "gauge", "Our calls in flight there.", ("pool", "replica"))
POOL_REQUESTS: Final = Metric(
    "headgate_pool_requests",
    "gauge",
    "Requests that a replica runs, or lets wait, of whomever: as it told.",
    ("pool", "replica", "state"),
)
POOL_KV: Final = Metric(
    "headgate_pool_kv_usage", "gauge", "How full a replica's KV memory is, 0 to 1: as it told.", ("pool", "replica")
)
POOL_LOAD: Final = Metric(
    "headgate_pool_load", "gauge", "How full a pool is, 0 to 1: what its price rises with.", ("pool",)
)
POOL_PACE: Final = Metric(
    "headgate_pool_tokens_per_second",
    "gauge",
    "Tokens a second of a pool over the last ten: prompts that were computed, and answers.",
    ("pool", "direction"),
)
POOL_PRICE: Final = Metric(
    "headgate_pool_price_nano_usd",
    "gauge",
    "Billionths of a dollar per million tokens: in full, and as it is ranked now.",
    ("deployment", "price", "direction"),
)
POOL_INDEX: Final = Metric("headgate_pool_prefix_blocks", "gauge", "Blocks in a pool's index of prefixes.", ("pool",))
POOL_CACHED: Final = Metric(
    "headgate_pool_cached_tokens_total",
    "counter",
    "Cached prompt tokens: as the index predicted them, and as replicas told.",
    ("pool", "told"),
)
POOL_CHOICES: Final = Metric(
    "headgate_pool_choices_total", "counter", "Attempts that a pool's router sent to a replica.", ("pool", "replica")
)
POOL_EVENTS: Final = Metric("headgate_pool_events_total", "counter", "What befell replicas.", ("pool", "event"))
BUDGET_SPENT: Final = Metric(
    "headgate_budget_spent_nano_usd",
    "gauge",
    "What was spent of a budget in its period, in billionths of a dollar; users' budgets are left out.",
    ("scope", "name", "per"),
)
BUDGET_RESERVED: Final = Metric(
    "headgate_budget_reserved_nano_usd", "gauge", "What calls under way hold of a budget.", ("scope", "name", "per")
)
BUDGET_OVER: Final = Metric(
    "headgate_budget_over_nano_usd",
    "gauge",
    "By how much a budget is passed: calls under way cost more than was expected of them.",
    ("scope", "name", "per"),
)
BUDGET_UNDERESTIMATED: Final = Metric(
    "headgate_budget_underestimated_nano_usd_total",
    "counter",
    "What calls cost beyond what was reserved for them: no budget is passed by more.",
    (),
)
BUDGET_REJECTED: Final = Metric(
    "headgate_budget_rejections_total", "counter", "Calls refused because a budget had no room.", ("scope",)
)
RATE_LIMITED: Final = Metric(
    "headgate_rate_limited_total", "counter", "Calls refused because their caller was too fast.", ("scope",)
)
NOTICES: Final = Metric(
    "headgate_budget_notices_total", "counter", "Notices of budgets by outcome; failed are tries.", ("outcome",)
)
BUILD: Final = Metric("headgate_build_info", "gauge", "Always 1; the version is its label.", ("version",))

METRICS: Final = (
    CALLS, FAILED_ATTEMPTS, SHED, TTFT, TPOT, DURATION, OVERHEAD, TOKENS, COST, SAVED, UNPRICED, ESTIMATED, SUSPECT,
    CACHE_LOOKUPS, CACHE_BYTES, CACHE_ENTRIES, RESPONSES_BYTES, RESPONSES, IN_FLIGHT, QUEUED, CONNECTIONS, BREAKERS,
    BREAKER_CHANGES, BUDGET_SPENT, BUDGET_RESERVED, BUDGET_OVER, BUDGET_UNDERESTIMATED, BUDGET_REJECTED, RATE_LIMITED,
    NOTICES, DROPPED_EVENTS, POOL_REPLICAS, POOL_RESTARTS, POOL_IN_FLIGHT, POOL_REQUESTS, POOL_KV, POOL_LOAD,
    POOL_PACE, POOL_PRICE, POOL_INDEX, POOL_CACHED, POOL_CHOICES, POOL_EVENTS, RELOADS, REVISION, JOURNAL, BUILD,
)  # fmt: skip

BREAKER_STATES: Final = ("closed", "half-open", "open", "resting", "dead")
