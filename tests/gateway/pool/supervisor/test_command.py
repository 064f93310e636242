"""What a replica is run as, and what of the gateway's environment reaches it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gateway.pool.supervisor.command import Program, Unusable, command_line, environ_of, probe
from gateway.pool.supervisor.spec import Spec
from tests.gateway.pool.supervisor.places import COMMAND

FLAGS = frozenset({"port", "shutdown-timeout", "enable-prompt-tokens-details", "disable-access-log-for-endpoints"})
NEW = Program("0.33.0", FLAGS | {"tensor-parallel-size"})


def spec(tmp_path: Path, **settings: object) -> Spec:
    return msgspec.structs.replace(Spec("gpus", "org/model", ("chat", "small"), tmp_path / "gpus"), **settings)


def test_the_launcher_s_flags_come_first_and_the_operator_s_after_them(tmp_path: Path) -> None:
    line = command_line(spec(tmp_path, args=("--max-model-len", "4096"), drain_s=12.5), NEW, 20123, 0)
    assert line == [
        "vllm", "serve", "org/model", "--served-model-name", "chat", "small", "--host", "127.0.0.1", "--port", "20123",
        "--shutdown-timeout", "13", "--enable-prompt-tokens-details",
        "--disable-access-log-for-endpoints", "/health,/metrics,/ping", "--max-model-len", "4096",
    ]  # fmt: skip


def test_flags_that_the_program_does_not_know_are_left_out(tmp_path: Path) -> None:
    line = command_line(spec(tmp_path), Program("0.10", frozenset({"port"})), 20123, 0)
    assert line[-2:] == ["--port", "20123"]


def test_a_flag_that_the_operator_says_is_not_said_twice(tmp_path: Path) -> None:
    line = command_line(spec(tmp_path, args=("--disable_access_log_for_endpoints=/health",)), NEW, 20123, 0)
    assert [each for each in line if "access" in each] == ["--disable_access_log_for_endpoints=/health"]


@pytest.mark.parametrize(
    ("args", "gpus", "said"),
    [((), 4, True), ((), 1, False), (("--pipeline-parallel-size", "4"), 4, False), (("-tp=4",), 4, False)],
)
def test_several_gpus_are_shared_out_by_tensor_parallelism_unless_told_otherwise(
    tmp_path: Path, args: tuple[str, ...], gpus: int, said: bool
) -> None:
    assert ("--tensor-parallel-size" in command_line(spec(tmp_path, args=args), NEW, 20123, gpus)) is said


def test_no_credential_of_others_reaches_a_replica(tmp_path: Path) -> None:
    given = {
        "PATH": "/bin", "HF_TOKEN": "hf", "OPENAI_API_KEY": "sk", "HEADGATE_ADMIN_KEY": "hg", "DATABASE_URL": "pg",
        "CUDA_VISIBLE_DEVICES": "0,1,2,3", "VLLM_CACHE_ROOT": "/cache", "LC_ALL": "C",
    }  # fmt: skip
    made = environ_of(given, spec(tmp_path, api_key="ours", env=(("NCCL_DEBUG", "INFO"),)), ("2", "3"))
    assert made == {
        "PATH": "/bin", "HF_TOKEN": "hf", "VLLM_CACHE_ROOT": "/cache", "LC_ALL": "C", "NCCL_DEBUG": "INFO",
        "VLLM_API_KEY": "ours", "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75", "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ENGINE_READY_TIMEOUT_S": "3000", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "2,3",
    }  # fmt: skip
    assert environ_of(given, spec(tmp_path), None)["CUDA_VISIBLE_DEVICES"] == "0,1,2,3"


def test_a_spec_shows_no_secret(tmp_path: Path) -> None:
    secret = spec(tmp_path, api_key="hidden-key", env=(("HF_TOKEN", "hidden-token"),))
    assert "hidden" not in repr(secret)
    assert secret.hash != spec(tmp_path).hash


def test_what_is_launched_is_told_apart_from_how_often(tmp_path: Path) -> None:
    one, more, other = spec(tmp_path), spec(tmp_path, replicas=3), spec(tmp_path, args=("--max-num-seqs", "8"))
    assert one.hash == more.hash != other.hash
    assert one.written != more.written


async def test_a_program_is_asked_once_and_anew_when_it_has_changed(tmp_path: Path) -> None:
    asked = spec(tmp_path, command=tuple(COMMAND))
    asked.folder.mkdir()
    program = await probe(asked, os.environ)
    assert program.version == "0.33.0"
    assert {"port", "shutdown-timeout", "enable-prompt-tokens-details"} <= program.flags

    script = tmp_path / "vllm"
    script.write_text(
        '#!/bin/sh\necho "W1128 00:08:12.433000 torch"; echo "$1 $2 1.2.3 --port --new_flag" | tee -a "$0.asked"\n'
    )
    script.chmod(0o700)
    asked = spec(tmp_path, command=(str(script),))
    for _ in range(2):
        assert await probe(asked, os.environ) == Program("1.2.3", frozenset({"port", "new-flag", "help"}))
    assert len((tmp_path / "vllm.asked").read_text().splitlines()) == 2
    os.utime(script, (1, 1))
    await probe(asked, os.environ)
    assert len((tmp_path / "vllm.asked").read_text().splitlines()) == 4


async def test_what_is_no_vllm_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="tells of no --port"):
        await probe(spec(tmp_path, command=("echo",)), os.environ)
