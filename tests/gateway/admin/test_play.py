"""Whose calls somebody may make in the playground, and what becomes of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from gateway.admin.access import Visitor
from gateway.admin.api.policies import Question
from gateway.core.errors import BadRequest, CallError, Forbidden
from gateway.wiring.play import Playground
from gateway.wiring.runtime import Runtime
from gateway.wiring.views import Rules, Traffic

ADMIN = Visitor("admin", "admin")
OWNER = Visitor("ada", "owner", "sales")
VIEWER = Visitor("vi", "viewer")


def key(name: str, team: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "team": team, "hash": "sha256:" + hashlib.sha256(name.encode()).hexdigest(), **more}


@pytest_asyncio.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[Runtime]:
    price = {"input": "1.00", "output": "4.00"}
    written = {
        "auth": "keys",
        "teams": {"sales": {"sensitivity": "internal"}, "hr": {}},
        "keys": [
            key("crm", "sales", models=["chat"]),
            key("payroll", "hr"),
            key("old", "sales", expires="2020-01-01T00:00:00Z"),
            key("off", "sales", enabled=False),
        ],
        "providers": {"demo": {"kind": "simulator"}},
        "deployments": {"small": {"provider": "demo", "model": "small", "price": price}},
        "sensitivity": {"clearance": {"self_hosted": "restricted"}},
        "policies": {"routes": [{"name": "chat", "when": {"model": ["chat"]}, "among": ["small"], "pick": "cheapest"}]},
        "store": {"url": f"sqlite:///{tmp_path}/headgate.db", "journal": f"{tmp_path}/journal"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(written))
    runtime = Runtime(path, {}, ("127.0.0.1", 0))
    await runtime.start()
    yield runtime
    await runtime.stop()


async def played(runtime: Runtime, visitor: Visitor, key: str | None, body: dict[str, Any]) -> tuple[int, Any, str]:
    """Returns the status, the answer, and the call's id."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Playground(runtime).play(visitor, key, json.dumps(body).encode())({}, None, send)  # type: ignore[arg-type]
    headers = dict(sent[0]["headers"])
    whole = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], json.loads(whole), headers[b"x-headgate-decision"].decode()


HELLO = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}


async def test_a_call_is_booked_on_the_key_that_was_played_as(runtime: Runtime) -> None:
    status, answer, id = await played(runtime, OWNER, "crm", HELLO)
    assert status == 200, answer
    runtime.services.ledger.settle()
    receipt = json.loads(runtime.store.receipt(id) or b"{}")
    assert (receipt["key"], receipt["team"], receipt["sensitivity"]) == ("crm", "sales", "internal")
    assert receipt["cost_nano"] > 0
    _, _, id = await played(runtime, ADMIN, None, HELLO)
    runtime.services.ledger.settle()
    assert json.loads(runtime.store.receipt(id) or b"{}")["key"] == "playground"


async def test_a_key_may_ask_for_its_models_alone(runtime: Runtime) -> None:
    assert Playground(runtime).models(OWNER, "crm") == ["chat"]
    status, answer, _ = await played(runtime, OWNER, "crm", HELLO | {"model": "small"})
    assert (status, answer["error"]["code"]) == (404, "model_not_found") or status == 403


@pytest.mark.parametrize(
    ("visitor", "key", "error"),
    [
        (OWNER, "payroll", Forbidden),  # another team's
        (OWNER, "nobody", Forbidden),  # is told no more than that it is not his
        (OWNER, None, Forbidden),
        (VIEWER, "crm", Forbidden),
        (VIEWER, None, Forbidden),
        (ADMIN, "nobody", BadRequest),
        (ADMIN, "old", BadRequest),
        (ADMIN, "off", BadRequest),
    ],
)
async def test_nobody_plays_as_whom_he_may_not(
    runtime: Runtime, visitor: Visitor, key: str | None, error: type[CallError]
) -> None:
    with pytest.raises(error):
        Playground(runtime).play(visitor, key, b"{}")


async def test_keys_to_choose_from_are_ones_own(runtime: Runtime) -> None:
    playground = Playground(runtime)
    assert [row.name for row in playground.keys(OWNER)] == ["crm", "old"]
    assert [row.name for row in playground.keys(ADMIN)] == ["crm", "payroll", "old"]
    with pytest.raises(Forbidden):
        playground.keys(VIEWER)


async def test_rules_and_traffic_are_told_as_they_stand(runtime: Runtime) -> None:
    rules = Rules(runtime)
    told = rules.told()
    assert [route["name"] for route in told["routes"]] == ["chat"]
    assert told["routes"][0]["line"].startswith("config.yaml:") or ":" in told["routes"][0]["line"]
    assert {cell["level"] for cell in told["matrix"]} == set(told["levels"])
    assert rules.explain(Question(model="chat"))["decision"]["candidates"] == ("small",)
    assert rules.explain(Question(model="nothing"))["refused"]["code"] == "model_not_found"
    with pytest.raises(BadRequest, match="no deployment 'nowhere'"):
        rules.explain(Question(model="chat", down=["nowhere"]))
    runtime.history.read(1.0)
    await played(runtime, ADMIN, None, HELLO)
    runtime.history.read(2.0)
    traffic = Traffic(runtime).told(60.0)
    assert traffic["deployments"][0]["calls"] == 1
    assert traffic["steps"][-1]["calls"] == 1.0
