"""Configs on their way to serving: files, admins and other gateways, over one store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.config.edit import Set
from gateway.core.errors import BadRequest, ConfigError
from gateway.state.protocols import StoreUnavailable
from gateway.wiring.desk import Desk, UnknownRevision
from gateway.wiring.revising import Outdated
from gateway.wiring.runtime import Runtime

TEXT = """\
# The config of these tests.
auth: open
providers:
  here: {kind: openai, api_key: sk-in-clear, base_url: "http://127.0.0.1:9"}   # nobody answers
deployments:
  one: {provider: here, model: m, price: free}
policies:
  routes:
    - {name: chat, when: {model: [chat]}, among: all, pick: in_order}
  tests:
    - given: {model: chat}
      expect: {first: one}
"""


class Gateway:
    """A runtime over a file, and its desk."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.stopped = False
        self.desk = Desk(runtime)

    async def stop(self) -> None:
        """Ends it, once."""
        if not self.stopped:
            self.stopped = True
            await self.runtime.stop()

    @property
    def text(self) -> str:
        return self.runtime.path.read_text()

    @property
    def shown(self) -> str:
        text: str = self.desk.current()["text"]
        return text

    @property
    def number(self) -> int:
        return self.runtime.pipeline.snapshot.revision

    @property
    def deployments(self) -> list[str]:
        return [each.name for each in self.runtime.pipeline.snapshot.deployments]

    async def save(self, old: str, new: str, after: int | None = None, author: str = "ada") -> int:
        assert old in self.shown
        text = self.shown.replace(old, new)
        return (await self.desk.save(text, self.number if after is None else after, author, "why not")).number


Start = Callable[..., "asyncio.Future[Gateway]"]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts gateways over one database, each with a file of its own."""
    async with AsyncExitStack() as stack:

        async def begin(name: str = "a", text: str | None = TEXT, environ: dict[str, str] | None = None) -> Gateway:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            path = folder / "config.yaml"
            store = f'store: {{url: "sqlite:///{tmp_path}/headgate.db", journal: "${{JOURNAL}}"}}\n'
            if text is not None:
                path.write_bytes((text + store).encode())
            runtime = Runtime(path, {"JOURNAL": f"{folder}/journal", **(environ or {})})
            await runtime.start()
            gateway = Gateway(runtime)
            stack.push_async_callback(gateway.stop)
            return gateway

        yield begin


async def test_the_first_file_is_the_first_revision_and_a_restart_makes_none(start: Start) -> None:
    gateway = await start()
    assert gateway.number == 1
    (row,) = gateway.desk.revisions(None, 10)
    assert (row["origin"], row["serving"]) == ("file", True)
    await gateway.stop()
    again = await start(text=None)
    assert again.number == 1


async def test_an_admins_edit_serves_is_a_revision_and_stands_in_the_file(start: Start) -> None:
    gateway = await start()
    os.chmod(gateway.runtime.path, 0o640)
    assert await gateway.save("model: m", "model: n") == 2
    assert gateway.number == 2
    assert gateway.text.startswith(TEXT.replace("model: m", "model: n"))
    assert gateway.runtime.path.stat().st_mode & 0o777 == 0o640
    told = gateway.desk.revision(2)
    assert (told["author"], told["origin"], told["note"]) == ("ada", "admin", "why not")
    assert "sk-in-clear" not in told["diff"]
    assert "-  one: {provider: here, model: m, price: free}" in told["diff"].splitlines()
    assert "+  one: {provider: here, model: n, price: free}" in told["diff"].splitlines()
    await gateway.runtime.reload()  # the watch has seen the file change
    assert gateway.number == 2


async def test_no_secret_is_shown_or_stored(start: Start, tmp_path: Path) -> None:
    gateway = await start()
    await gateway.save("model: m", "model: n")
    assert "sk-in-clear" not in gateway.shown
    await gateway.stop()
    assert b"sk-in-clear" not in (tmp_path / "headgate.db").read_bytes()
    assert "sk-in-clear" in gateway.text


async def test_of_two_admins_one_wins_and_the_other_is_told(start: Start) -> None:
    gateway = await start()
    saves = [gateway.save("model: m", f"model: {name}", after=1, author=name) for name in ("ada", "bob")]
    first, second = await asyncio.gather(*saves, return_exceptions=True)
    assert first == 2
    assert isinstance(second, Outdated)
    assert (second.newest.number, second.newest.author) == (2, "ada")
    assert "model: ada" in gateway.text


async def test_of_two_gateways_admins_one_wins_and_all_converge(start: Start) -> None:
    one, two = await start("a"), await start("b")
    saves = [each.save("model: m", f"model: {name}", after=each.number, author=name)
             for each, name in ((one, "ada"), (two, "bob"))]  # fmt: skip
    results = await asyncio.gather(*saves, return_exceptions=True)
    assert sum(isinstance(each, Outdated) for each in results) == 1
    newest = next(each for each in results if isinstance(each, int))
    for gateway in (one, two):
        await gateway.runtime.reload_changes()
        assert gateway.number == newest
    assert one.shown == two.shown
    assert one.text == two.text


async def test_a_look_at_the_store_that_was_overtaken_by_an_edit_changes_nothing(start: Start) -> None:
    gateway = await start()
    overtaken = await asyncio.to_thread(gateway.runtime.store.newest_number)
    await gateway.save("model: m", "model: n")
    serving = gateway.runtime.pipeline.snapshot
    await gateway.runtime.revising.converge(overtaken)
    assert gateway.runtime.pipeline.snapshot is serving


async def test_a_changed_file_becomes_a_revision_of_its_owner(start: Start) -> None:
    gateway = await start()
    gateway.runtime.path.write_text(gateway.text.replace("one:", "two:").replace("first: one", "first: two"))
    await gateway.runtime.reload()
    assert (gateway.number, gateway.deployments) == (2, ["two"])
    assert gateway.desk.revision(2)["origin"] == "file"


async def test_a_file_that_changed_while_nobody_looked_is_taken_over_by_the_next_start(start: Start) -> None:
    gateway = await start()
    await gateway.save("model: m", "model: n")
    path, old = gateway.runtime.path, gateway.text
    await gateway.stop()
    path.write_text(old.replace("model: n", "model: m"))  # as it was at first: `git checkout`, say
    gateway = await start(text=None)
    assert gateway.number == 3
    assert "model: m" in gateway.shown


async def test_an_edit_beside_a_changed_file_is_told_of_it_and_overwrites_nothing(start: Start) -> None:
    gateway = await start()
    gateway.runtime.path.write_text(gateway.text.replace("model: m", "model: operators"))
    with pytest.raises(Outdated) as told:
        await gateway.save("model: m", "model: admins", after=1)
    assert told.value.newest.origin == "file"
    assert "model: operators" in gateway.text
    assert "model: operators" in gateway.shown


async def test_a_file_that_cannot_be_written_lags_behind_and_the_answer_says_so(start: Start) -> None:
    gateway = await start()
    os.chmod(gateway.runtime.path, 0o444)
    saved = await gateway.desk.save(gateway.shown.replace("model: m", "model: n"), 1, "ada", "")
    assert (saved.number, saved.not_written) == (2, "it is read-only")
    assert gateway.desk.current()["not_written"] == "it is read-only"
    assert "model: m" in gateway.text
    await gateway.runtime.reload()
    assert gateway.number == 2
    assert "model: n" in gateway.shown
    await gateway.stop()
    gateway = await start(text=None)
    assert gateway.number == 2
    assert "model: n" in gateway.shown
    os.chmod(gateway.runtime.path, 0o644)
    gateway.runtime.path.write_text(gateway.text.replace("model: m", "model: o"))
    await gateway.runtime.reload()
    assert gateway.number == 3
    assert "model: o" in gateway.shown


async def test_a_new_container_with_the_old_file_serves_what_admins_made_of_it(start: Start) -> None:
    gateway = await start("a")
    os.chmod(gateway.runtime.path, 0o444)
    await gateway.save("model: m", "model: n")
    other = await start("b")  # a file never seen before, with the text of revision 1
    assert other.number == 2
    assert "model: n" in other.shown


async def test_a_draft_with_a_mistake_changes_nothing_and_says_where_it_is(start: Start) -> None:
    gateway = await start()
    before = gateway.text
    for old, new, problem in (
        ("first: one", "first: won", "config.yaml:12:23: there is no deployment 'won'; did you mean 'one'?"),
        ("{first: one}", "{error: model_not_found}", "config.yaml:11:7: test failed: expected error model_not_found"),
        ("auth: open", "auth: [", "config.yaml:4:7: expected"),
        ("price: free", "price: cheap", "config.yaml:6:42: 'cheap' is not a price"),
        ("here, model", "there, model", "config.yaml:6:19: there is no provider 'there'"),
    ):
        with pytest.raises(ConfigError) as refused:
            await gateway.save(old, new)
        verdict = gateway.desk.validate(gateway.shown.replace(old, new))
        assert not verdict.ok
        told = [f"config.yaml:{each.line}:{each.column}: {each.message}" for each in verdict.problems]
        assert told == refused.value.problems
        assert told[0].startswith(problem)
    assert (gateway.number, gateway.text) == (1, before)
    assert gateway.desk.validate(gateway.shown).ok


async def test_what_takes_over_the_gateway_is_for_its_file_alone(start: Start) -> None:
    gateway = await start()
    with pytest.raises(ConfigError) as refused:
        await gateway.save('"http://127.0.0.1:9"', '"http://evil"')
    assert refused.value.problems == [
        "config.yaml:4:51: providers.here.base_url is changed in the file alone, unless its `admin.editable` lists it"
    ]
    open_to = gateway.text + 'admin: {editable: ["providers.*.base_url"]}\n'
    gateway.runtime.path.write_text(open_to)
    await gateway.runtime.reload()
    assert await gateway.save('"http://127.0.0.1:9"', '"http://127.0.0.1:10"') == 3


async def test_what_is_read_at_the_start_only_is_refused(start: Start) -> None:
    gateway = await start()
    with pytest.raises(ConfigError, match="`telemetry` is read at the start only"):
        await gateway.save("auth: open", "auth: open\ntelemetry: {spans: 0.5}")


async def test_an_old_revision_serves_again_with_the_secrets_of_today(start: Start) -> None:
    gateway = await start()
    await gateway.save("model: m", "model: n")
    gateway.runtime.path.write_text(gateway.text.replace("sk-in-clear", "sk-rotated"))
    await gateway.runtime.reload()
    assert gateway.number == 3
    saved = await gateway.desk.roll_back(1, 3, "ada", "n was bad")
    assert saved.number == 4
    assert "model: m" in gateway.text
    assert "sk-rotated" in gateway.text
    told = gateway.desk.revision(4)
    assert (told["origin"], told["note"]) == ("rollback", "back to revision 1: n was bad")
    with pytest.raises(UnknownRevision):
        await gateway.desk.roll_back(9, 4, "ada")


async def test_what_says_nothing_new_is_no_revision(start: Start) -> None:
    gateway = await start()
    assert await gateway.save("auth: open", "auth: open") == 1
    assert [row["number"] for row in gateway.desk.revisions(None, 10)] == [1]


async def test_another_gateway_that_cannot_serve_a_revision_keeps_its_own_and_says_why(start: Start) -> None:
    text = TEXT + "admin: {environment: [MODEL]}\n"
    one, two = await start("a", text, {"MODEL": "n"}), await start("b", text)
    await one.save("model: m", 'model: "${MODEL}"')
    await two.runtime.reload_changes()
    assert (one.number, two.number) == (2, 1)
    assert two.desk.current()["refused"][0].message == "the environment variable MODEL is not set"
    assert "model: m" in two.text
    await one.desk.roll_back(1, 2, "ada")
    await two.runtime.reload_changes()
    assert two.number == 3
    assert two.desk.current()["refused"] == []


async def test_a_revision_that_cannot_serve_here_any_more_refuses_to_start_and_says_what_helps(start: Start) -> None:
    text = TEXT + "admin: {environment: [MODEL]}\n"
    gateway = await start("a", text, {"MODEL": "n"})
    os.chmod(gateway.runtime.path, 0o444)
    await gateway.save("model: m", 'model: "${MODEL}"')
    await gateway.stop()
    with pytest.raises(ConfigError) as refused:
        await start("a", None)
    assert refused.value.problems == [
        "revision 2:6:32: the environment variable MODEL is not set",
        "the newest revision serves in the place of the file; a changed file would",
    ]
    os.chmod(gateway.runtime.path, 0o644)
    gateway.runtime.path.write_text(gateway.text + "# mended\n")
    assert (await start("a", None)).number == 3


async def test_while_the_store_is_away_files_serve_without_a_number_and_get_one_later(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start()

    def away(*_: object, **__: object) -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patch:
        for name in ("revision", "newest_number", "add_revision", "keep_file_hash", "file_hash"):
            patch.setattr(gateway.runtime.store, name, away)
        gateway.runtime.path.write_text(gateway.text.replace("model: m", "model: n"))
        await gateway.runtime.reload()
        assert gateway.number == 0
        assert [each.model for each in gateway.runtime.pipeline.snapshot.deployments] == ["n"]
        await gateway.runtime.reload_changes()
        assert gateway.number == 0
    await gateway.runtime.reload_changes()
    assert gateway.number == 2
    assert "model: n" in gateway.shown


async def test_line_ends_and_the_byte_order_mark_of_windows_survive_a_browser(start: Start) -> None:
    text = "\ufeff" + TEXT.replace("\n", "\r\n")
    gateway = await start(text=text)
    await gateway.desk.save(gateway.shown.replace("\r\n", "\n").replace("model: m", "model: n"), 1, "ada", "")
    content = gateway.runtime.path.read_bytes()
    assert content.startswith(text.replace("model: m", "model: n").encode())


async def test_forms_edit_a_draft_as_it_is_shown(start: Start) -> None:
    gateway = await start()
    price = Set(("deployments", "one", "price"), {"input": "1", "output": "2"})
    text = gateway.desk.edit([price])
    assert 'one: {provider: here, model: m, price: {input: "1", output: "2"}}' in text
    assert "api_key: <kept>" in text
    again = gateway.desk.edit([Set(("policies", "routes", "chat", "pick"), "cheapest")], text)
    assert "pick: cheapest" in again
    assert (await gateway.desk.save(again, 1, "ada", "")).number == 2
    with pytest.raises(BadRequest, match="there is no item named 'chap'"):
        gateway.desk.edit([Set(("policies", "routes", "chap", "pick"), "cheapest")])
