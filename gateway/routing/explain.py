"""A decision: why a call went where it went, as data and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.core.errors import Reason
from gateway.core.money import usd
from gateway.core.own import Standing
from gateway.core.types import Plan, Removal, Sensitivity
from gateway.routing.rules import DIRECT


class Tried(msgspec.Struct, frozen=True, gc=False):
    """One attempt in a decision; `reason` of None is an answer."""

    deployment: str
    endpoint: str
    reason: Reason | None = None
    wait_s: float = 0.0
    took_s: float = 0.0


class Decision(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a receipt keeps of a plan; holds names rather than deployments, which carry credentials.

    `chosen` is the deployment that answered, None where none did. `scores` stand in the order of `candidates`, in the
    unit of the pick: nano-dollars (cheapest), seconds (fastest), calls in flight (least_loaded), weights, shares. `own`
    are the prices of candidates on one's own GPUs.
    """

    route: str
    pick: str
    chosen: str | None
    candidates: tuple[str, ...]
    scores: tuple[float, ...] = ()
    removed: tuple[Removal, ...] = ()
    note: str = ""
    sensitivity: str = ""
    causes: tuple[str, ...] = ()
    own: tuple[Standing, ...] = ()
    attempts: tuple[Tried, ...] = ()


def decide(
    plan: Plan,
    sensitivity: Sensitivity,
    levels: Sequence[str],
    *,
    chosen: str | None = None,
    attempts: tuple[Tried, ...] = (),
) -> Decision:
    """Returns the decision of a call; it shares the plan's tuples, and writes no text."""
    return Decision(
        plan.route,
        plan.pick,
        chosen,
        tuple([deployment.name for deployment in plan.candidates]),
        plan.scores,
        plan.removed,
        plan.note,
        levels[sensitivity.level],
        sensitivity.causes,
        plan.own,
        attempts,
    )


def sentence(decision: Decision) -> str:
    """Writes a decision for people.

    "sent to local-qwen: cheapest of 3 that meet ttft p95 800ms; gpt-mini removed by clearance (restricted > internal)"
    """
    clauses = [f"{_outcome(decision)}: {_choice(decision)}"]
    failed = [f"{tried.deployment} ({tried.reason.value})" for tried in decision.attempts if tried.reason is not None]
    if failed:
        clauses.append(f"failed before: {', '.join(failed)}" if decision.chosen else f"failed: {', '.join(failed)}")
    by_rule: dict[str, list[str]] = {}
    for removal in decision.removed:
        rule = removal.rule if removal.why in ("", removal.rule) else f"{removal.rule} ({removal.why})"
        by_rule.setdefault(rule, []).append(removal.deployment)
    clauses += [f"{', '.join(names)} removed by {rule}" for rule, names in by_rule.items()]
    if decision.causes:
        clauses.append(f"{decision.sensitivity} because of {', '.join(decision.causes)}")
    clauses += [_priced(standing) for standing in decision.own]
    return "; ".join(clauses)


def _priced(standing: Standing) -> str:
    ranked, full = (standing.input, standing.output), (standing.full_input, standing.full_output)
    prices = [f"{usd(into)} in, {usd(out)} out" for into, out in (ranked, full)]
    told = f"ranked at {prices[0]}; in full {prices[1]}" if ranked != full else f"at its full price, {prices[1]}"
    return f"{standing.deployment} {standing.load:.0%} busy, {told}"


def _outcome(decision: Decision) -> str:
    if decision.chosen is not None:
        return f"sent to {decision.chosen}"
    if decision.attempts:
        return "not answered"
    return f"would go to {decision.candidates[0]}"


def _choice(decision: Decision) -> str:
    if decision.route == DIRECT:
        return "called by its name"
    first = decision.candidates[0]
    place = "" if decision.chosen in (None, first) else f"next after {first}, "
    count = len(decision.candidates)
    text = f"{place}{decision.pick} of {count}" if count > 1 else "the only one left"
    if not decision.note:
        return text
    return f"{text} {decision.note}" if count > 1 and decision.note.startswith("that ") else f"{text}, {decision.note}"
