"""Replicas behind a name: who is a member, whatever a resolver says, or does not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.pool.discovery import Dns, Members, Unresolved
from tests.patience import until

NAME = ("vllm.lab", 8000)


class Answers:
    """A resolver that gives one answer after the other, and keeps to the last."""

    def __init__(self, *answers: tuple[str, ...] | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def find(self, host: str, port: int) -> tuple[str, ...]:
        assert (host, port) == NAME
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise Unresolved("the resolver is away")
        return answer


class Heard:
    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        assert pool == "lab"
        self.all.append((what, replica))


@asynccontextmanager
async def following(answers: Answers) -> AsyncIterator[tuple[Members, Heard, list[tuple[str, ...]]]]:
    heard, seen = Heard(), []
    members = Members(answers, heard, every_s=0.005)
    await members.learn({NAME: "lab"})
    seen.append(members.addresses(*NAME))

    async def changed() -> None:
        seen.append(members.addresses(*NAME))

    task = asyncio.create_task(members.follow(lambda: {NAME: "lab"}, changed))
    yield members, heard, seen
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_members_join_at_once_and_leave_when_two_answers_are_without_them() -> None:
    answers = Answers(("b", "a"), ("b", "a", "c"), ("c",), ("c", "b"), ("c", "b"), ("c", "b"))
    async with following(answers) as (_, heard, seen):
        await until(lambda: answers.asked > 8)
    assert seen == [("a", "b"), ("a", "b", "c"), ("b", "c")]
    assert heard.all == [("joined", "a"), ("joined", "b"), ("joined", "c"), ("left", "a")]


@pytest.mark.parametrize("failing", [None, ()], ids=["away", "empty"])
async def test_a_resolver_that_fails_keeps_the_last_answer_and_is_told_of_once(failing: tuple[str, ...] | None) -> None:
    answers = Answers(("a",), failing)
    async with following(answers) as (members, heard, seen):
        await until(lambda: answers.asked > 8)
        assert members.addresses(*NAME) == ("a",)
    assert seen == [("a",)]
    assert heard.all == [("joined", "a"), ("unresolved", "vllm.lab")]


async def test_a_name_without_an_answer_yet_has_nobody_until_it_has_one() -> None:
    async with following(Answers(None, None, ("a",))) as (members, _, seen):
        await until(lambda: members.addresses(*NAME) == ("a",))
    assert seen == [(), ("a",)]


async def test_names_that_no_config_has_any_more_are_forgotten() -> None:
    answers = Answers(("a",))
    members = Members(answers, Heard(), every_s=0.005)
    await members.learn({NAME: "lab"})
    await members.learn({NAME: "lab"})
    assert answers.asked == 1, "what is known is not asked for by each reload"
    task = asyncio.create_task(members.follow(dict, lambda: asyncio.sleep(0)))
    await until(lambda: not members.addresses(*NAME))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_systems_resolver_is_asked_and_its_refusal_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "127.0.0.1" in await Dns().find("localhost", 8000)

    async def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse, raising=False)
    with pytest.raises(Unresolved, match="not known"):
        await Dns().find("vllm.lab", 8000)
