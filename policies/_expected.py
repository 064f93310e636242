"""What a call is expected to cost and how long it is expected to take: what cheapest, fastest and balanced compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from operator import attrgetter

from gateway.core.money import MILLION, Price, Rates, rate_of
from gateway.core.policy import View, bucket_of
from gateway.core.types import Deployment, Request

_NOTHING_LEARNED: Mapping[str, float] = {}


def outputs(request: Request, view: View) -> Mapping[str, float]:
    """Returns the learned output tokens by deployment for the name that was asked for; often empty."""
    return view.output_tokens.get(request.call.model or "auto", _NOTHING_LEARNED)


def output_of(deployment: Deployment, request: Request, learned: Mapping[str, float]) -> float:
    """Returns the output tokens to expect: learned for this deployment, never over the caller's max_tokens."""
    expected = learned.get(deployment.name)
    if expected is None:
        return request.output_tokens
    limit = request.call.max_tokens
    return expected if limit is None or expected < limit else limit


class ExpectedCost:
    """Expected nano-dollars of a call; per-token rates are read once, when a config is compiled."""

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self._flat = {
            deployment.name: _per_token(deployment.price.tiers[0][1], deployment.price)
            for deployment in deployments
            if deployment.price is not None and len(deployment.price.tiers) == 1
        }

    def of(self, request: Request, candidates: Sequence[Deployment], view: View) -> list[float]:
        """Returns the cost of each candidate, infinite where its price is unknown.

        Fresh input × price + expected cached share × cached price + expected output × price + the fee per request.
        """
        tokens, usual = request.input_tokens, request.output_tokens
        rates = list(map(self._flat.get, map(_name_of, candidates)))
        costs = [inf if rate is None else tokens * rate[0] + usual * rate[2] + rate[3] for rate in rates]
        shares, learned = view.cached_share, outputs(request, view)
        for index, rate in enumerate(rates) if shares or learned or None in rates else ():
            deployment = candidates[index]
            if rate is None:
                if deployment.price is None:
                    continue
                rate = _per_token(deployment.price.rates_for(tokens), deployment.price)
                costs[index] = tokens * rate[0] + usual * rate[2] + rate[3]
            name = deployment.name
            if name in learned:
                costs[index] += (output_of(deployment, request, learned) - usual) * rate[2]
            if name in shares:
                costs[index] -= tokens * shares[name] * (rate[0] - rate[1])
        return costs


_name_of = attrgetter("name")


def _per_token(rates: Rates, price: Price) -> tuple[float, float, float, float]:
    return (
        rates.fresh_input / MILLION,
        rate_of(rates, "cached_input") / MILLION,
        rates.output_text / MILLION,
        float(price.per_request_nano),
    )


def seconds(request: Request, candidates: Sequence[Deployment], view: View, min_samples: int) -> list[float]:
    """Returns each candidate's expected time to finish: TTFT + TPOT × expected output, infinite where unproven.

    A deployment that has only answered in one piece has no TTFT; its TPOT then holds the whole time (measure.py).
    """
    bucket = bucket_of(request.input_tokens)
    measured, learned = view.measured, outputs(request, view)
    output: float = request.output_tokens
    times: list[float] = []
    for deployment in candidates:
        seen = measured.get((deployment.name, bucket))
        if seen is None or seen.samples < min_samples:
            times.append(inf)
            continue
        if learned:
            output = output_of(deployment, request, learned)
        first, each = seen.ttft_p50_s, seen.tpot_p50_s
        # NaN is the one value that differs from itself.
        times.append((first if first == first else 0.0) + (each * output if each == each else 0.0))
    return times
