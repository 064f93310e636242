"""What policy tests share: a deployment and a request in one line each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.money import Price, Rates, rate_from_usd
from gateway.core.types import Call, Deployment, Principal, Request, Sensitivity

MakeDeployment = Callable[..., Deployment]
MakeRequest = Callable[..., Request]


@pytest.fixture
def make() -> MakeDeployment:
    def make(name: str, usd: tuple[str, str] | None = None, cached: str | None = None, **facts: object) -> Deployment:
        price = None
        if usd is not None:
            rates = Rates(
                fresh_input=rate_from_usd(usd[0]),
                cached_input=rate_from_usd(cached) if cached else None,
                output_text=rate_from_usd(usd[1]),
            )
            price = Price(version=name, tiers=((0, rates),))
        facts = {"provider": "openai", "kind": "openai", "model": name, "price": price, **facts}
        return Deployment(name=name, adapter="openai", base_path=b"/v1", endpoints=(), **facts)  # type: ignore[arg-type]

    return make


@pytest.fixture
def ask() -> MakeRequest:
    def ask(level: int = 0, input_tokens: int = 1000, output_tokens: int = 100, **fields: object) -> Request:
        call = Call("1", **{"endpoint": "chat", "dialect": "chat", "body": b"", **fields})  # type: ignore[arg-type]
        return Request(call, Principal("key"), Sensitivity(level), input_tokens, output_tokens)

    return ask
