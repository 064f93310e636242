"""What a call is expected to cost and how long it is expected to take: what cheapest, fastest and balanced compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from gateway.core.money import MILLION, Price, Rates, rate_of
from gateway.core.own import risen
from gateway.core.policy import View, bucket_of
from gateway.core.types import Deployment, Request
from policies._own import outlook_of, unread

_NOTHING_LEARNED: Mapping[str, float] = {}
_LAID_OUT: Final = 1024  # lists of candidates; forgotten all at once when full

_PerToken = tuple[float, float, float, float]  # fresh input, cached input, output; a fee per request
_NO_RATES: Final[Mapping[str, _PerToken]] = {}


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
    """Expected nano-dollars of a call; per-token rates are read once, when a config is compiled.

    What a route leaves is the same tuple from call to call: its rates are laid out once. Those of one's own GPUs rise
    with their load, from what one more token costs while there is room.
    """

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self._flat = {
            deployment.name: _per_token(deployment.price.tiers[0][1], deployment.price)
            for deployment in deployments
            if deployment.price is not None and len(deployment.price.tiers) == 1
        }
        self._spare = {
            deployment.name: (_per_token(deployment.own.spare, None), deployment.own.target)
            for deployment in deployments
            if deployment.own is not None and deployment.name in self._flat
        }
        self._laid_out: dict[int, _Rows] = {}  # by the identity of the tuple, which `_Rows` keeps alive

    def of(self, request: Request, candidates: Sequence[Deployment], view: View) -> list[float]:
        """Returns the cost of each candidate, infinite where its price is unknown.

        Fresh input × price + expected cached share × cached price + expected output × price + the fee per request.
        """
        tokens, usual = request.input_tokens, request.output_tokens
        rows = self._laid_out.get(id(candidates)) or self._lay_out(candidates)
        costs = [tokens * fresh + usual * output + fee for fresh, output, fee in rows.rates]
        own = {name: self._at_load(name, view) for _, name in rows.own} if rows.own else _NO_RATES
        for index, name in rows.own:
            fresh, _, output, fee = own[name]
            costs[index] = tokens * fresh + usual * output + fee
        for index in rows.uneven:
            price = candidates[index].price
            if price is None:
                costs[index] = inf
            else:
                fresh, _, output, fee = _per_token(price.rates_for(tokens), price)
                costs[index] = tokens * fresh + usual * output + fee
        places = rows.places
        learned = outputs(request, view)
        for name in learned.keys() & places if learned else ():
            index = places[name]
            _, _, output, _ = own.get(name) or self._rates(candidates[index], tokens)
            costs[index] += (output_of(candidates[index], request, learned) - usual) * output
        shares = view.cached_share
        for name in shares.keys() & places if shares else ():
            if share := shares[name]:
                index = places[name]
                fresh, cached, _, _ = own.get(name) or self._rates(candidates[index], tokens)
                costs[index] -= tokens * share * (fresh - cached)
        return costs

    def _at_load(self, name: str, view: View) -> _PerToken:
        full, (spare, target) = self._flat[name], self._spare[name]
        share = risen(view.load.get(name, 0.0), target)
        if not share:
            return spare
        return (
            spare[0] + share * (full[0] - spare[0]),
            spare[1] + share * (full[1] - spare[1]),
            spare[2] + share * (full[2] - spare[2]),
            full[3],
        )

    def _rates(self, deployment: Deployment, tokens: int) -> _PerToken:
        flat = self._flat.get(deployment.name)
        if flat is not None or deployment.price is None:
            return flat or (0.0, 0.0, 0.0, 0.0)
        return _per_token(deployment.price.rates_for(tokens), deployment.price)

    def _lay_out(self, candidates: Sequence[Deployment]) -> _Rows:
        flat = [self._flat.get(deployment.name) for deployment in candidates]
        rows = _Rows(
            candidates,
            [(0.0, 0.0, 0.0) if rate is None else (rate[0], rate[2], rate[3]) for rate in flat],
            [index for index, rate in enumerate(flat) if rate is None],
            {deployment.name: index for index, deployment in enumerate(candidates)},
            [(index, each.name) for index, each in enumerate(candidates) if each.name in self._spare],
        )
        if isinstance(candidates, tuple):  # nobody changes it while it is remembered
            if len(self._laid_out) >= _LAID_OUT:
                self._laid_out.clear()
            self._laid_out[id(candidates)] = rows
        return rows


class _Rows(NamedTuple):
    """Rates of candidates in their order.

    `uneven` are the places of those whose price is unknown or has tiers, `own` those of one's own GPUs.
    """

    candidates: Sequence[Deployment]
    rates: list[tuple[float, float, float]]
    uneven: list[int]
    places: dict[str, int]
    own: list[tuple[int, str]]


def _per_token(rates: Rates, price: Price | None) -> _PerToken:
    return (
        rates.fresh_input / MILLION,
        rate_of(rates, "cached_input") / MILLION,
        rates.output_text / MILLION,
        0.0 if price is None else float(price.per_request_nano),
    )


def seconds(request: Request, candidates: Sequence[Deployment], view: View, min_samples: int) -> list[float]:
    """Returns each candidate's expected time to finish: TTFT + TPOT × expected output, infinite where unproven.

    A deployment that has only answered in one piece has no TTFT; its TPOT then holds the whole time (measure.py). Of a
    pool whose router foretells the TTFT at its best replica, that counts: it is of now, not of the last minutes.
    """
    bucket = bucket_of(request.input_tokens)
    measured, learned, outlooks = view.measured, outputs(request, view), view.outlooks
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
        if outlooks and (outlook := outlook_of(deployment.name, view, min_samples)) is not None:
            first = outlook.first_token_s(unread(deployment.name, request, view))
        # NaN is the one value that differs from itself.
        times.append((first if first == first else 0.0) + (each * output if each == each else 0.0))
    return times
