import msgspec
import pytest

from gateway.accounting.pairings import Pairing, Pairings
from gateway.accounting.receipts import (
    CLOSED,
    OPENED,
    AttemptLine,
    Opening,
    Receipt,
    Settled,
    interrupted,
    line_of,
    read_receipt,
    row_of,
    tokens_of,
)
from gateway.core.money import BUCKETS, Price, Rates, Usage
from gateway.core.types import Call, Deployment, Principal

RECEIPT = Receipt(
    id="req-1",
    time=1_763_500_000.25,
    key="alice",
    status=200,
    team="sales",
    user="al",
    tags=(("project", "crm"),),
    route="interactive",
    deployment="haiku",
    provider="anthropic",
    model="chat",
    upstream_model="claude-haiku-4-5",
    sensitivity="internal",
    tokens={"fresh_input": 7, "output_text": 3},
    cost={"fresh_input": 7_000, "output_text": 15_000},
    cost_nano=22_500,
    price_version="abc",
    cache="hit",
    raw_usage=msgspec.Raw(b'{"input_tokens": 7}'),
    attempts=(AttemptLine("gpt#0", "gpt", "openai", 10, "timeout", cost={"fresh_input": 500}, cost_nano=500),),
    decision={"pick": "cheapest"},
    ttft_us=20_000,
    tpot_us=900,
    e2e_us=68_000,
    dearest_nano=90_000,
    list_nano=30_000,
    spilled=True,
)


def test_a_line_reads_back_as_the_receipt_that_was_written() -> None:
    line = line_of(CLOSED, RECEIPT)
    assert line[0] == CLOSED
    assert line.endswith(b"}\n")
    back = read_receipt(line[1:-1])
    assert bytes(back.raw_usage) == b'{"input_tokens": 7}'
    assert msgspec.structs.replace(back, raw_usage=RECEIPT.raw_usage) == RECEIPT


def test_a_pairing_and_what_is_settled_are_a_whole_receipt_and_never_say_the_same() -> None:
    said = [Pairing.__struct_fields__, Settled.__struct_fields__]
    assert sorted(Receipt.__struct_fields__) == sorted([*said[0], *said[1]])


def test_a_line_of_two_parts_reads_back_as_one_receipt() -> None:
    principal = Principal("alice", team="sales", tags=(("project", "crm"),))
    call = Call("req-1", "chat", "chat", b"{}", model='a "model"', stream=True)
    haiku = Deployment("haiku", "anthropic", "anthropic", "claude-haiku-4-5", "anthropic", b"/v1", ())
    pairings = Pairings(revision=7)
    paired = pairings.of(call, principal, "interactive", haiku, "internal")
    assert pairings.of(call, principal, "interactive", haiku, "internal") is paired
    written = line_of(CLOSED, Settled("req-1", 5.0, "alice", 200, cost_nano=9), paired.json)
    back = read_receipt(written[1:-1])
    assert (back.id, back.cost_nano, back.team, back.tags) == ("req-1", 9, "sales", principal.tags)
    assert (back.model, back.deployment, back.upstream_model) == ('a "model"', "haiku", "claude-haiku-4-5")
    assert (back.route, back.provider, back.sensitivity) == ("interactive", "anthropic", "internal")
    assert (back.dialect, back.endpoint, back.stream, back.config_revision) == ("chat", "chat", True, 7)


def test_a_refused_call_s_pairing_is_not_remembered() -> None:
    pairings = Pairings(revision=1)
    call, principal = Call("req-1", "chat", "chat", b"{}", model="made up"), Principal("alice")
    first = pairings.of(call, principal, None, None, None)
    assert pairings.of(call, principal, None, None, None) is not first
    assert read_receipt(line_of(CLOSED, Settled("req-1", 5.0, "alice", 404), first.json)[1:-1]).model == "made up"


def test_a_provider_s_pretty_printed_usage_stays_on_one_line() -> None:
    raw = b'{\n  "input_tokens": 7,\r\n  "note": "a\\nb"\n}'
    line = line_of(CLOSED, msgspec.structs.replace(RECEIPT, raw_usage=msgspec.Raw(raw)))
    assert line.count(b"\n") == 1
    assert msgspec.json.decode(bytes(read_receipt(line[1:-1]).raw_usage)) == {"input_tokens": 7, "note": "a\nb"}


def test_an_opening_becomes_an_estimated_receipt_of_an_interrupted_call() -> None:
    price = Price("v1", ((0, Rates(fresh_input=1_000_000)),))
    opening = Opening(id="req-1", time=5.0, key="alice", input_tokens=900, price_version="v1", stream=True)
    line = line_of(OPENED, opening)
    assert read_receipt(interrupted(line[1:-1], {}.get)).cost_nano is None, "a price that is not known is not free"
    receipt = read_receipt(interrupted(line[1:-1], {"v1": price}.get))
    assert receipt == Receipt(
        id="req-1",
        time=5.0,
        key="alice",
        status=499,
        reason="interrupted",
        estimated=True,
        tokens={"fresh_input": 900},
        cost={"fresh_input": 900},
        cost_nano=900,
        price_version="v1",
        stream=True,
        raw_usage=receipt.raw_usage,
    )


def test_a_row_holds_what_costs_are_summed_by() -> None:
    row = row_of(msgspec.json.encode(RECEIPT))
    assert row._asdict() | {"body": ""} == {
        "id": "req-1",
        "time": 1_763_500_000.25,
        "key": "alice",
        "team": "sales",
        "user": "al",
        "tags": '{"project":"crm"}',
        "route": "interactive",
        "deployment": "haiku",
        "provider": "anthropic",
        "model": "chat",
        "sensitivity": "internal",
        "status": 200,
        "cached": True,
        "estimated": False,
        "unpriced": False,
        **dict.fromkeys(BUCKETS, 0),
        "fresh_input": 7,
        "output_text": 3,
        "nano_usd": 22_500,
        "saved_nano": 0,
        "price_version": "abc",
        "body": "",
        "reason": None,
        "ttft_us": 20_000,
        "tpot_us": 900,
        "e2e_us": 68_000,
        "dearest_nano": 90_000,
        "list_nano": 30_000,
        "spilled": True,
        **dict.fromkeys((f"{bucket}_nano" for bucket in BUCKETS), 0),
        "fresh_input_nano": 7_000,
        "output_text_nano": 15_000,
    }


def test_an_unknown_price_is_no_zero() -> None:
    assert row_of(msgspec.json.encode(msgspec.structs.replace(RECEIPT, cost_nano=None))).unpriced


@pytest.mark.parametrize("tokens", [10**30, 10**12 + 1, -1])
def test_absurd_counts_are_refused_rather_than_summed(tokens: int) -> None:
    body = msgspec.json.encode(msgspec.structs.replace(RECEIPT, tokens={"fresh_input": tokens}))
    with pytest.raises(msgspec.ValidationError):
        row_of(body)


def test_bytes_that_are_no_text_do_not_lose_a_receipt() -> None:
    body = msgspec.json.encode(msgspec.structs.replace(RECEIPT, raw_usage=msgspec.Raw(b'{"x": "\xff"}')))
    assert row_of(body).nano_usd == 22_500


def test_a_usage_is_its_buckets_without_the_empty_ones() -> None:
    filled = Usage(**{bucket: number for number, bucket in enumerate(BUCKETS, 1)})
    assert tokens_of(filled) == {bucket: number for number, bucket in enumerate(BUCKETS, 1)}
    assert tokens_of(Usage(output_text=3)) == {"output_text": 3}
