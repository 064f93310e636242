"""Every recorded request, brought to every provider's wire: nothing is lost unless that is declared or refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import pytest

from gateway.core.errors import BadRequest
from gateway.core.types import Call
from gateway.wiring.kinds import DIALECTS, WIRES
from tests.corpus import oracles
from tests.corpus.askers import chat, cohere, converse, gemini, messages, ollama, responses
from tests.corpus.asking import Asked, missing
from tests.corpus.lines import Record, records
from tests.corpus.places import adapter, deployment_of, wire_of
from tests.corpus.tally import Tally

pytestmark = pytest.mark.corpus

ASKERS: dict[str, Callable[[dict[str, Any]], Asked]] = {
    "chat": chat.read,
    "responses": responses.read,
    "messages": messages.read,
}

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 24

# Requests that a provider answered and we refuse, with why.
ODD: dict[str, str] = {}


class Wire(NamedTuple):
    """A provider's wire that requests are brought to; `dialect` is the one whose requests it relays."""

    path: re.Pattern[bytes]
    read: Callable[[dict[str, Any]], Asked]
    oracle: oracles.Oracle | None
    dialect: str | None = None


WIRES_SENT = (
    Wire(re.compile(rb"(?<!v2)(?<!api)/chat/completions"), chat.read, oracles.openai_chat, "chat"),
    Wire(re.compile(rb"/responses"), responses.read, oracles.openai_responses, "responses"),
    Wire(re.compile(rb"/messages"), messages.read, oracles.anthropic, "messages"),
    Wire(re.compile(rb"awPredict"), messages.read, oracles.vertex_anthropic, "messages"),
    Wire(re.compile(rb"enerateContent"), gemini.read, oracles.gemini),
    Wire(re.compile(rb"/converse"), converse.read, oracles.converse),
    Wire(re.compile(rb"/v2/chat"), cohere.read, oracles.cohere),
    Wire(re.compile(rb"/api/chat"), ollama.read, None),
)

# kind, model
TARGETS = (
    ("openai", "gpt-5"),
    ("openai", "gpt-4o"),
    ("openai_compatible", "m"),
    ("mistral", "mistral-large-latest"),
    ("deepseek", "deepseek-reasoner"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-3-pro-preview"),
    ("vertex", "gemini-2.5-pro"),
    ("vertex", "claude-sonnet-4-5@20250929"),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("bedrock", "us.amazon.nova-pro-v1:0"),
    ("cohere", "command-a-03-2025"),
    ("ollama", "qwen3"),
    ("ollama_native", "qwen3"),
)


def requests() -> list[Any]:
    """Returns every line with a request of a dialect, or one that is skipped where the corpus is not there."""
    found = [
        pytest.param(line, id=line["id"])
        for line in records()
        if isinstance(line["request"].get("body"), dict)
        and wire_of(line) in ASKERS
        and line["request"]["body"].keys() & {"messages", "input"}
    ]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]


@pytest.mark.parametrize("record", requests())
def test_a_recorded_request_keeps_what_it_asks_in_every_wire(record: Record, tally: Tally) -> None:
    name = wire_of(record) or ""
    if name not in DIALECTS:
        tally.pending[f"requests of {name}"] = f"the {name} dialect"
        return
    body = record["request"]["body"]
    call = parsed(name, body)
    if call is None:
        assert record["response"]["status"] == 400 or record["id"] in ODD
        tally.done["requests refused when read"] += 1
        return
    asked = ASKERS[name](body)
    wrong = []
    for kind, model in TARGETS:
        if kind not in WIRES:
            tally.pending[f"requests to {kind}"] = "no such kind"
            continue
        wrong += [f"{record['id']} {kind} {model}: {each}" for each in differences(call, asked, kind, model, tally)]
    assert not wrong, "\n".join(wrong)


def parsed(dialect: str, body: dict[str, Any]) -> Call | None:
    """Returns a request as its dialect reads it; None where it is refused, with its field."""
    try:
        return DIALECTS[dialect].parse("call-1", json.dumps(body).encode(), (), 1_700_000_000)
    except BadRequest as refused:
        return None if refused.param else pytest.fail(refused.message)


def differences(call: Call, asked: Asked, kind: str, model: str, tally: Tally) -> list[str]:
    """Says what is lost of a request without a word, and what the provider would refuse."""
    place = adapter(kind)
    deployment = deployment_of(kind, model)
    dialect = DIALECTS[call.dialect]
    try:
        fetched = {each.url: ("image/png", PNG) for each in place.needs(call, deployment)}
        media = [base64.b64encode(PNG).decode() if medium in fetched else medium for medium in asked.media]
        sent = place.encode(call, deployment, dialect, fetched)
    except BadRequest as refused:
        if "does not speak this endpoint" in refused.message:
            tally.pending[f"requests of {call.dialect} to {kind}"] = refused.message
            return []
        tally.refused[call.dialect, kind, re.sub(r"\d+", "N", refused.param or "-")] += 1
        return [] if refused.param else [f"refused without a field: {refused.message}"]
    wire = next((wire for wire in WIRES_SENT if wire.path.search(sent.path)), None)
    assert wire is not None, sent.path
    written = json.loads(sent.body)
    wrong = []
    oracle = oracles.mistral if kind == "mistral" else wire.oracle
    if oracle is not None and call.dialect != wire.dialect:
        found = oracle(written)
        if found:
            wrong.append(f"the provider would refuse: {found}")
    declared = " ".join(sent.warnings)
    for field, what in missing(replace(asked, media=media), wire.read(written)):
        if not DECLARED.get(field, re.compile(field)).search(declared):
            wrong.append(f"{field}: {what} (declared: {declared})")
    if any(not warning.endswith("passed on as it is") for warning in sent.warnings):
        tally.done["requests with declarations"] += 1
        with pytest.raises(BadRequest):
            place.encode(msgspec.structs.replace(call, strict=True), deployment, dialect, fetched)
    tally.done["requests brought over"] += 1
    return wrong


# How a loss is declared: by the field of the caller's that held it.
DECLARED = {
    "messages": re.compile(r"messages|input|system"),
    "thinking": re.compile(r"thinking|reasoning"),
    "opaque": re.compile(r"provider_blocks|messages|input|defer_loading"),
    "stop": re.compile(r"stop"),
    "max_tokens": re.compile(r"max_(completion_|output_)?tokens"),
    "response_format": re.compile(r"response_format|text\.format|output_(format|config)"),
}
