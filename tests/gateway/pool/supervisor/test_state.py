"""What the next gateway finds: whole or not at all, of one gateway at a time, of this boot alone."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from gateway.pool.supervisor.log import KEPT_LINES, LONGEST_LINE, Log
from gateway.pool.supervisor.processes import Known, Mark, Server, boot, end_all, family, known, lives, marked
from gateway.pool.supervisor.state import PoolState, SlotState, StateFile, Taken, free_port, is_free
from tests.patience import until


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    state = PoolState(boot(), {"0": SlotState(20001, 7, 99, "abc", 5.0, ("1",), ready=True)}, {"loading": 4.0}, 3, "w")
    file.save(state)
    assert file.load() == state
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_of_another_boot_ports_are_kept_and_processes_are_not(tmp_path: Path) -> None:
    file = StateFile(tmp_path)
    file.save(PoolState("another", {"0": SlotState(20001, 7, 99, "abc")}, {"loading": 4.0}))
    assert file.load() == PoolState(boot(), {"0": SlotState(20001)}, {"loading": 4.0})


@pytest.mark.parametrize("found", [b"", b"{", b'{"slots": 7}', b"\xff\xfe"])
def test_what_cannot_be_read_counts_as_nothing(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "state.json").write_bytes(found)
    assert StateFile(tmp_path).load() == PoolState(boot())


def test_a_pool_is_one_gateway_s_at_a_time(tmp_path: Path) -> None:
    first, second = StateFile(tmp_path / "pool"), StateFile(tmp_path / "pool")
    first.lock()
    with pytest.raises(Taken, match=r"another gateway \(pid \d+\) supervises it"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_a_port_is_free_and_no_other_slot_s() -> None:
    port = free_port((), "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not is_free(port, "127.0.0.1")
    assert free_port(set(range(20_000, 30_000)) - {port}, "127.0.0.1") == port


async def test_a_process_is_not_taken_for_a_later_one_of_its_number(tmp_path: Path) -> None:
    mark = Mark.of(tmp_path)
    server = Server.launch(["sleep", "60"], {"PATH": "/bin:/usr/bin"}, mark, "0")
    process = server.process
    assert lives(process)
    assert not lives(Known(process.pid, process.started + 1))
    assert marked(mark) == {process: "0"}
    assert family(None, mark, "0") == [process]
    assert family(None, mark, "1") == []
    assert marked(Mark.of(tmp_path / "another")) == {}
    assert await server.end(5.0) == []
    assert server.status == -15
    assert known(process.pid) is None


# A server whose children leave its group and session; one has lost its environment, another its output as well.
TREE = """
import os, subprocess, sys, time
subprocess.Popen(["setsid", "sleep", "61"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
subprocess.Popen(["setsid", "env", "-i", "/bin/sleep", "62"])
subprocess.Popen(["env", "-i", "/bin/sleep", "63"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print("begun", flush=True)
time.sleep(60)
"""


async def test_the_whole_tree_is_ended_whatever_it_did_to_get_away(tmp_path: Path) -> None:
    mark = Mark.of(tmp_path)
    server = Server.launch([sys.executable, "-c", TREE], {"PATH": "/bin:/usr/bin"}, mark, "0")
    await until(lambda: (tmp_path / "0.log").read_text() == "begun\n")
    await until(lambda: len(family(server.process, mark, "0")) == 4)
    tree = family(server.process, mark, "0")
    os.kill(server.process.pid, signal.SIGKILL)
    await until(lambda: not server.alive)
    assert await end_all(server.process, mark, "0") == []
    assert not any(lives(process) for process in tree)


def test_output_is_followed_line_by_line_and_kept_in_bounds(tmp_path: Path) -> None:
    log = Log(tmp_path / "0.log")
    assert log.read() == []
    with log.path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert log.read() == ["one"]
        file.write(b"o\n 50%|##  \r100%|####\n\x1b[32mgreen\x1b[0m \xff\n")
        assert log.read() == ["two", " 50%|##", "100%|####", "green �"]
        file.write(b"x" * 3 * LONGEST_LINE + b"\n")
        assert [len(line) for line in log.read()] == [LONGEST_LINE]
        file.write(b"".join(b"%d\n" % number for number in range(2 * KEPT_LINES)))
        assert len(log.read()) == 2 * KEPT_LINES
        assert (len(log.lines), log.lines[-1]) == (KEPT_LINES, str(2 * KEPT_LINES - 1))
    log.renew()
    assert (list(log.lines), log.read()) == ([], [])
    assert (tmp_path / "0.log.1").exists()


def test_a_file_that_has_grown_too_large_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.pool.supervisor.log.LARGEST_FILE", 100)
    log = Log(tmp_path / "0.log")
    with log.path.open("ab", buffering=0) as file:
        file.write(b"x" * 200 + b"\n")
        log.read()
        assert log.path.stat().st_size == 0
        file.write(b"after\n")
        assert log.read() == ["after"]
