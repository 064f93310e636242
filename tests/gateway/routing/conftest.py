"""A small world in compiled form: five deployments, two guarantees, and routes as an operator would write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import pytest

from gateway.core.money import FREE, Price, Rates
from gateway.core.types import Call, Deployment, Principal, Request, Sensitivity
from gateway.routing import Guarantee, Route, Routing, When
from policies.balanced import Balanced
from policies.capable import Capable
from policies.cheapest import Cheapest
from policies.clearance import Clearance
from policies.context_window import ContextWindow
from policies.fastest import Fastest
from policies.in_order import InOrder
from policies.latency import Latency
from policies.location import Location
from policies.price_cap import PriceCap
from policies.retention import Retention
from policies.weighted import Weighted

LEVELS = ("public", "internal", "confidential", "restricted")
ABLE = frozenset({"tools", "vision", "json_schema", "n", "logprobs"})


class World(msgspec.Struct):
    """Everything a Routing is made of, to be changed by a test."""

    deployments: dict[str, Deployment]
    guarantees: list[Guarantee]
    routes: list[Route]

    def routing(self, *more: Guarantee, routes: Sequence[Route] | None = None) -> Routing:
        return Routing(
            tuple(self.deployments.values()),
            [*self.guarantees, *more],
            self.routes if routes is None else routes,
            levels=LEVELS,
            clearance=Clearance(LEVELS),
            capable=Capable(),
            window=ContextWindow(),
        )

    def among(self, *names: str) -> tuple[Deployment, ...]:
        return tuple(self.deployments[name] for name in names)


def _price(dollars_in: float, dollars_out: float) -> Price:
    return Price("v", ((0, Rates(int(dollars_in * 1e9), output_text=int(dollars_out * 1e9))),))


def _deployment(
    name: str, provider: str, model: str, location: str, retention: str, clearance: int, price: Price
) -> Deployment:
    return Deployment(
        name, provider, provider, model, provider, b"/v1", (), location, retention, clearance, price, 100_000
    )


@pytest.fixture
def world() -> World:
    deployments = {
        one.name: one
        for one in (
            _deployment("local-qwen", "gpus", "qwen3-32b", "self_hosted", "none", 3, FREE),
            _deployment("gpt-mini", "openai", "gpt-5-mini", "us", "30d", 1, _price(0.25, 2)),
            _deployment("haiku", "anthropic", "claude-haiku-4-5", "us", "zdr", 1, _price(1, 5)),
            _deployment("azure-mini", "eu-azure", "gpt-5-mini", "eu", "none", 2, _price(0.25, 2)),
            _deployment("opus", "anthropic", "claude-opus", "us", "zdr", 1, _price(15, 75)),
        )
    }
    world = World(deployments, [], [])
    among = world.among
    world.guarantees = [
        Guarantee(
            "eu-customers",
            (Location(["self_hosted", "eu"]), Retention(["none", "zdr"])),
            When(team=frozenset({"sales-eu"})),
        ),
        Guarantee("price-cap", (PriceCap(5 * 10**9, 20 * 10**9),)),
    ]
    cheapest = Cheapest(deployments.values())
    world.routes = [
        Route(
            "interactive",
            among("local-qwen", "azure-mini", "gpt-mini", "haiku"),
            cheapest,
            When(model=("chat",), stream=True),
            (Latency(0.8, window_s=300.0),),
            Fastest(),
        ),
        Route("smart", among("local-qwen", "haiku", "gpt-mini"), InOrder(), When(model=("smart",))),
        Route(
            "canary",
            among("local-qwen", "gpt-mini"),
            Weighted({"local-qwen": 95, "gpt-mini": 5}),
            When(model=("chat",)),
        ),
        Route("hosted", among("gpt-mini", "haiku"), cheapest, When(model=("gpt-*",))),
        Route("default", tuple(deployments.values()), Balanced(deployments.values())),
    ]
    return world


@pytest.fixture
def routing(world: World) -> Routing:
    return world.routing()


@pytest.fixture
def ask() -> Callable[..., Request]:
    def ask(
        model: str | None = "chat", level: int = 0, tokens: int = 1000, who: Principal | None = None, **fields: object
    ) -> Request:
        who = who or Principal("key")
        call = Call("1", **{"endpoint": "chat", "dialect": "chat", "body": b"", "model": model, **fields})  # type: ignore[arg-type]
        return Request(call, who, Sensitivity(level), tokens, 100, who.tags)

    return ask
