"""How far a router's estimates came true."""

from __future__ import annotations

import pytest

from gateway.pool.router import PrefixRouter, prompt_of
from gateway.pool.router.forecast import GRAIN_S, KEPT, Forecast


def test_a_forecast_tells_the_usual_and_the_unlucky() -> None:
    forecast = Forecast()
    for place in range(101):
        forecast.learn(0.98, 1.0 + (place * 37 % 101) / 100)  # 1 to 2 s, shuffled, where 0.98 s were reckoned
    assert forecast.samples == 101
    assert forecast.middle == pytest.approx(1.5, abs=0.1)
    assert forecast.late == pytest.approx(1.95, abs=0.06)


def test_old_streams_are_forgotten() -> None:
    forecast = Forecast()
    for took in [9.0] * KEPT + [1.0] * (KEPT + 8):
        forecast.learn(1.0 - GRAIN_S, took)
    assert (forecast.samples, forecast.middle, forecast.late) == (KEPT, 1.0, 1.0)


def test_a_router_learns_from_streams_how_long_prompts_wait_at_its_best() -> None:
    router = PrefixRouter(["a", "b"])
    body = b'{"messages":"' + b"x" * 40_000 + b'"}'
    for at in range(40):
        now = float(at)
        prompt = prompt_of(body.replace(b"x", b"%d" % (at % 10)), b"m")
        key = router.order(prompt, ["a", "b"], now)[0]
        ticket = router.reserve(key, prompt, now)
        assert ticket is not None
        router.first_token(ticket, now + 2 * (ticket.expected_s + GRAIN_S))
        router.failed(ticket, now + 3)
    outlook = router.outlook(100.0)
    assert outlook is not None
    assert (outlook.samples, outlook.wait_s) == (40, GRAIN_S)
    assert outlook.middle == outlook.late == pytest.approx(2.0)
    assert PrefixRouter().outlook(0.0) is None
