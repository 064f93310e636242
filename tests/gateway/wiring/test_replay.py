"""A dry run decides as the engine decides, and adds up what that would have cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gateway.accounting.receipts import AttemptLine, Receipt
from gateway.core.types import Removal
from gateway.routing import Decision
from gateway.state.protocols import KeyRow
from gateway.state.revisions import RevisionRow
from gateway.wiring.replay import World, replay, world_of
from gateway.wiring.runtime import dry_compile, read_revision

TEXT = """\
auth: open
teams: {sales: {}}
keys: [{name: alice, hash: "sha256:%s", team: sales}]
providers:
  cheap: {kind: openai, api_key: x, location: us}
  dear: {kind: openai, api_key: x, location: eu}
deployments:
  mini: {provider: cheap, model: a, price: {input: "1", output: "2"}}
  large: {provider: dear, model: b, price: {input: "10", output: "20"}}
sensitivity:
  levels: [public, restricted]
  clearance: {us: public, eu: restricted}
policies:
  routes:
    - {name: chat, when: {model: [chat]}, among: [mini, large], pick: in_order}
""" % ("0" * 64)


def world(text: str, *stored: KeyRow) -> World:
    loaded = read_revision(RevisionRow(1, 0.0, "", "file", "", "", text), Path("config.yaml"), {})
    return world_of(loaded, dry_compile(loaded).snapshot, stored)


def receipt(number: int, **fields: Any) -> bytes:
    known: dict[str, Any] = {
        "status": 200, "model": "chat", "dialect": "chat", "endpoint": "chat", "sensitivity": "public",
        "deployment": "mini", "provider": "cheap", "team": "sales",
        "tokens": {"fresh_input": 1000, "output_text": 100},
        "cost_nano": 1_200_000, "e2e_us": 500_000,
        "attempts": (AttemptLine("mini#0", "mini", "cheap", e2e_us=500_000),),
    }  # fmt: skip
    return msgspec.json.encode(Receipt(id=f"req_{number:08x}", key="alice", time=float(number), **known | fields))


BODIES = [
    *(receipt(number) for number in range(10)),
    *(
        receipt(number, sensitivity="restricted", deployment="large", cost_nano=12_000_000, stream=True,
                ttft_us=200_000, tpot_us=10_000, e2e_us=1_200_000,
                attempts=(AttemptLine("large#0", "large", "dear", ttft_us=200_000),))
        for number in range(10, 15)
    ),
    receipt(15, cache="hit", cost_nano=0, attempts=()),
    receipt(16, status=404, reason="model_not_found", model="chatt", deployment=None, tokens={}, cost_nano=0,
            attempts=()),
    receipt(17, status=400, sensitivity=None, deployment=None, attempts=()),
    b'{"id": 5}',
]  # fmt: skip


def test_the_config_that_served_does_again_what_it_did() -> None:
    same = world(TEXT)
    answer = replay(same, same, BODIES, 19, 0.0, 20.0)
    assert (answer.calls, answer.examined, answer.skipped, answer.sampled, answer.changed) == (19, 19, 2, False, 0)
    assert answer.actual.by_deployment == {"mini": 10, "large": 5, "cache": 1}
    assert answer.draft == answer.serving
    assert answer.draft.by_deployment == answer.actual.by_deployment
    assert answer.draft.nano_usd == answer.actual.nano_usd == 10 * 1_200_000 + 5 * 12_000_000
    assert answer.draft.rejected == answer.actual.rejected == {"model_not_found": 1}
    assert answer.moves == ()
    assert (answer.actual.ttft_p50_s, answer.draft.ttft_p50_s) == (0.2, 0.2)
    assert (answer.actual.e2e_p50_s, answer.draft.e2e_p50_s) == (0.5, 0.5)


def test_a_draft_moves_calls_prices_them_and_refuses_others() -> None:
    draft = world(
        TEXT.replace("among: [mini, large]", "among: [large, mini]").replace("eu: restricted", "eu: public")
        .replace("chat, when: {model: [chat]}", "chat, when: {model: [chat, chatt]}")
        + "  guarantees: []\n"
    )  # fmt: skip
    answer = replay(draft, world(TEXT), BODIES, 19, 0.0, 20.0)
    assert answer.draft.by_deployment == {"large": 11, "cache": 1}
    assert answer.draft.rejected == {"no_permitted_deployment": 5}
    moves = {(move.origin, move.to): (move.calls, move.nano_usd_before, move.nano_usd_after) for move in answer.moves}
    assert moves == {
        ("mini", "large"): (10, 12_000_000, 120_000_000),
        ("large", "refused: no_permitted_deployment"): (5, 60_000_000, 0),
        ("refused: model_not_found", "large"): (1, 0, 0),
    }
    assert answer.changed == 16
    assert answer.moves[0].examples == ("req_00000000", "req_00000001", "req_00000002")


def test_what_was_down_or_could_not_do_the_call_is_so_again() -> None:
    away = Decision("chat", "in_order", "large", ("large",), removed=(Removal("mini", "open", "open"),))
    unable = Decision("chat", "in_order", "large", ("large",), removed=(Removal("mini", "capable", "tools"),))
    bodies = [receipt(1, deployment="large", decision=away), receipt(2, deployment="large", decision=unable)]
    same = world(TEXT)
    assert replay(same, same, bodies, 2, 0.0, 9.0).draft.by_deployment == {"large": 2}


def test_keys_of_the_draft_hold_their_floor_and_their_models() -> None:
    floor = TEXT.replace("team: sales}]", "team: sales, sensitivity: restricted}]")
    assert replay(world(floor), None, BODIES[:3], 3, 0.0, 9.0).draft.by_deployment == {"large": 3}
    only = TEXT.replace("team: sales}]", "team: sales, models: [large]}]")
    answer = replay(world(only), world(TEXT), BODIES[:3], 3, 0.0, 9.0)
    assert answer.draft.rejected == {"model_not_allowed": 3}


def test_a_sample_says_that_it_is_one() -> None:
    answer = replay(world(TEXT), None, BODIES[:5], 500, 0.0, 9.0)
    assert (answer.calls, answer.examined, answer.sampled) == (500, 5, True)
    assert answer.serving is None
    assert replay(world(TEXT), None, [], 0, 0.0, 9.0).draft.calls == 0
