"""The running gateway takes over its config: one edit after the other, however they are noticed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from gateway.config import Loaded
from gateway.wiring.runtime import Runtime
from gateway.wiring.truth import Current


def write(path: Path, deployment: str) -> None:
    path.write_text(
        f"""
auth: open
providers: {{here: {{kind: openai, api_key: sk-x, base_url: "http://127.0.0.1:9"}}}}
deployments: {{{deployment}: {{provider: here, model: m, price: free}}}}
policies: {{routes: [{{name: chat, when: {{model: [chat]}}, among: all, pick: in_order}}]}}
store: {{url: "sqlite:///{path.parent}/headgate.db", journal: "{path.parent}/journal"}}
"""
    )


async def test_a_reload_that_began_before_an_edit_does_not_undo_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    write(path, "first")
    runtime = Runtime(path, {})
    await runtime.start()
    has_read, may_go_on = threading.Event(), threading.Event()

    def read(config: Current) -> Loaded:
        loaded = Runtime.read(runtime, config)
        if not has_read.is_set():
            has_read.set()
            may_go_on.wait(30)
        return loaded

    monkeypatch.setattr(runtime, "read", read)
    try:
        write(path, "second")
        early = asyncio.create_task(runtime.reload())  # a key was made
        await asyncio.to_thread(has_read.wait, 30)
        write(path, "third")
        late = asyncio.create_task(runtime.reload())  # the file was edited
        await asyncio.wait([late], timeout=0.5)  # long enough for one that does not wait for its turn
        may_go_on.set()
        await asyncio.gather(early, late)
        assert [each.name for each in runtime.pipeline.snapshot.deployments] == ["third"]
        assert runtime.pipeline.snapshot.revision == 3
    finally:
        may_go_on.set()
        await runtime.stop()
