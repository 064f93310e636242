"""What a call is expected to cost and how long it is expected to take: what cheapest, fastest and balanced compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf

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
        flat, shares, learned = self._flat, view.cached_share, outputs(request, view)
        tokens, limit = request.input_tokens, request.call.max_tokens
        usual: float = request.output_tokens
        costs: list[float] = []
        for deployment in candidates:
            name = deployment.name
            rates = flat.get(name)
            if rates is None:
                if deployment.price is None:
                    costs.append(inf)
                    continue
                rates = _per_token(deployment.price.rates_for(tokens), deployment.price)
            fresh_rate, cached_rate, output_rate, fee = rates
            if name in learned:
                output = learned[name]
                if limit is not None and output > limit:
                    output = limit
            else:
                output = usual
            cost = tokens * fresh_rate + output * output_rate + fee
            if name in shares:
                cost -= tokens * shares[name] * (fresh_rate - cached_rate)
            costs.append(cost)
        return costs


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
