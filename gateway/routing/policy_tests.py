"""The tests written in a config: calls that were not made, and where they must or must not go.

They run in a stated world: every provider has its key, every deployment is up, idle and unmeasured unless `given`
says otherwise, and the draw is 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.core.errors import CallError
from gateway.core.policy import Measured, View, bucket_of
from gateway.core.types import Call, Plan, Principal, Request, Sensitivity, Tags
from gateway.routing.engine import Routing

_DRAW = 0.5  # weighted takes the heavier half, and nothing unproven is explored
_MANY = 1_000_000  # samples of a stated latency: always proven
_BYTES_PER_TOKEN = 4

Classify = Callable[[str, Principal], Sensitivity]


class Given(msgspec.Struct, frozen=True):
    """A call and the state of the world; `sensitivity` is a level's index (a label), latencies are seconds."""

    model: str | None = None
    endpoint: str = "chat"
    dialect: str = "chat"
    stream: bool = False
    team: str | None = None
    key: str | None = None
    user: str | None = None
    tag: Tags = ()
    sensitivity: int = 0
    prompt_tokens_over: int | None = None
    prompt_tokens_under: int | None = None
    text: str = ""
    down: frozenset[str] = frozenset()
    ttft_p95: Mapping[str, float] = {}
    tpot_p95: Mapping[str, float] = {}
    load: Mapping[str, float] = {}


class Expect(msgspec.Struct, frozen=True):
    """What must come of it; `only` and `never` speak of every deployment that may be tried, `error` is a code."""

    first: str | None = None
    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()
    error: str | None = None
    sensitivity: int | None = None


class PolicyTest(msgspec.Struct, frozen=True):
    """One entry of `policies.tests`; `name` is where it stands."""

    name: str
    given: Given
    expect: Expect


def stranger(given: Given) -> Principal:
    """Returns a principal with what is given and no more."""
    return Principal(given.key or "policy-test", given.team, given.user)


def run_tests(
    tests: Sequence[PolicyTest],
    routing: Routing,
    classify: Classify,
    principal: Callable[[Given], Principal] = stranger,
) -> list[str]:
    """Returns a line for each test that fails; `principal` finds the key or team that is given, with its floor."""
    world = routing.assuming_enabled()
    return [f"{test.name}: {why}" for test in tests for why in _run(test, world, classify, principal)]


def _run(test: PolicyTest, routing: Routing, classify: Classify, principal: Callable[[Given], Principal]) -> list[str]:
    given, expect = test.given, test.expect
    caller = principal(given)
    found = classify(given.text, caller)
    level = max(found.level, given.sensitivity, caller.sensitivity)
    failures: list[str] = []
    if expect.sensitivity is not None and expect.sensitivity != level:
        failures.append(f"expected sensitivity {routing.levels[expect.sensitivity]}, got {routing.levels[level]}")
    request = _request(given, caller, Sensitivity(level, found.causes))
    try:
        plan = routing.plan(request, _view(given, request), dict.fromkeys(sorted(given.down), "down"))
    except CallError as error:
        if expect.error is None and (expect.first or expect.only):
            failures.append(f"expected {_wish(expect)}, got error {error.code}: {error.message}")
        elif expect.error is not None and expect.error != error.code:
            failures.append(f"expected error {expect.error}, got {error.code}: {error.message}")
        return failures
    return failures + _differences(plan, expect)


def _differences(plan: Plan, expect: Expect) -> list[str]:
    names = [deployment.name for deployment in plan.candidates]
    route = f"(route {plan.route!r}, {plan.pick})"
    if expect.error is not None:
        return [f"expected error {expect.error}, got {', '.join(names)} {route}"]
    failures: list[str] = []
    if expect.first is not None and names[0] != expect.first:
        failures.append(f"expected {expect.first} first, got {', '.join(names)} {route}")
    others = [name for name in names if expect.only is not None and name not in expect.only]
    if others:
        failures.append(f"expected only {', '.join(sorted(expect.only or ()))}, got also {', '.join(others)} {route}")
    wrong = [name for name in names if name in expect.never]
    if wrong:
        failures.append(f"expected never {', '.join(wrong)}, got {', '.join(names)} {route}")
    return failures


def _wish(expect: Expect) -> str:
    return f"{expect.first} first" if expect.first else f"only {', '.join(sorted(expect.only or ()))}"


def _request(given: Given, caller: Principal, sensitivity: Sensitivity) -> Request:
    tokens = -(-len(given.text.encode()) // _BYTES_PER_TOKEN)
    if given.prompt_tokens_under is not None:
        tokens = min(tokens, given.prompt_tokens_under - 1)
    if given.prompt_tokens_over is not None:
        tokens = max(tokens, given.prompt_tokens_over + 1)
    call = Call(
        "policy-test", given.endpoint, given.dialect, b"", model=given.model, stream=given.stream, user=given.user
    )
    return Request(call, caller, sensitivity, max(tokens, 0), tags=tuple(sorted({*caller.tags, *given.tag})))


def _view(given: Given, request: Request) -> View:
    bucket = bucket_of(request.input_tokens)
    measured: dict[tuple[str, int], Measured] = {}
    for name in sorted({*given.ttft_p95, *given.tpot_p95}):
        ttft, tpot = given.ttft_p95.get(name, 0.0), given.tpot_p95.get(name, 0.0)
        measured[name, bucket] = Measured(_MANY, ttft, ttft, tpot, tpot)
    return View(now=0.0, draw=_DRAW, measured=measured, load=given.load)
