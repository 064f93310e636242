"""What a router reads of a request's body."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gateway.pool.router.prompts import BLOCK_BYTES, MOST_BLOCKS, prompt_of, rendezvous

LONG = "The keeper lifts the gate before noon. " * 200


def body(**members: object) -> bytes:
    return json.dumps({"model": "m", "temperature": 0, **members}).encode()


def chat(*said: str, **members: object) -> bytes:
    return body(messages=[{"role": "user", "content": text} for text in said], **members)


def test_prompts_that_begin_alike_share_their_leading_blocks() -> None:
    one, other = prompt_of(chat(LONG, "why?"), b"m"), prompt_of(chat(LONG, "when?", max_tokens=5), b"m")
    shared = len(LONG) // BLOCK_BYTES
    assert one.blocks[:shared] == other.blocks[:shared]
    assert len(one.blocks) >= shared
    assert one.mark == other.mark


def test_a_block_stands_for_all_that_is_before_it() -> None:
    one, other = prompt_of(chat("x" + LONG), b"m"), prompt_of(chat("y" + LONG), b"m")
    assert not set(one.blocks) & set(other.blocks)


@pytest.mark.parametrize("scope", [b"another model", b"m\0salt"])
def test_another_model_or_tenant_shares_nothing(scope: bytes) -> None:
    one, other = prompt_of(chat(LONG), b"m"), prompt_of(chat(LONG), scope)
    assert not set(one.blocks) & set(other.blocks)
    assert one.mark != other.mark


def test_tools_come_before_messages_wherever_they_stand() -> None:
    tools = [{"type": "function", "function": {"name": "lookup", "description": LONG}}]
    first = json.dumps({"tools": tools, "messages": [{"role": "user", "content": LONG}]}).encode()
    last = json.dumps({"messages": [{"role": "user", "content": LONG}], "tools": tools}).encode()
    assert prompt_of(first, b"").blocks == prompt_of(last, b"").blocks


@pytest.mark.parametrize(
    "members",
    [{"prompt": LONG}, {"input": LONG}, {"system": LONG, "messages": []}, {"instructions": LONG, "input": "hi"}],
)
def test_every_dialect_has_a_prompt(members: dict[str, object]) -> None:
    assert len(prompt_of(body(**members), b"").blocks) >= len(LONG) // BLOCK_BYTES


def test_the_head_of_a_prompt_is_what_is_told_apart() -> None:
    assert len(prompt_of(chat("x" * 500_000), b"").blocks) == MOST_BLOCKS


def test_media_do_not_count_by_their_bytes() -> None:
    assert prompt_of(chat("x" * 500_000), b"", has_media=True).size_bytes <= 16 * BLOCK_BYTES


def test_a_conversation_is_named_by_the_caller() -> None:
    named = [prompt_of(chat("hi", **name), b"").session for name in ({"user": "a"}, {"session_id": "a"}, {"user": "b"})]
    assert named[0] == named[1] != named[2]
    assert prompt_of(chat("hi"), b"").session == prompt_of(chat("hi", user=None), b"").session == 0


@pytest.mark.parametrize("text", [b"", b"[]", b"no json", b'{"messages": '])
def test_what_cannot_be_read_has_no_blocks(text: bytes) -> None:
    assert prompt_of(text, b"").blocks == ()


def test_the_home_of_a_prompt_is_the_same_in_another_process() -> None:
    said = (
        "from gateway.pool.router.prompts import *; p = prompt_of(b'{\"messages\": [1]}', b'm');"
        "print([rendezvous(p.mark, f'http://r{n}') for n in range(4)])"
    )
    here = prompt_of(b'{"messages": [1]}', b"m")
    told = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == [rendezvous(here.mark, f"http://r{number}") for number in range(4)]
