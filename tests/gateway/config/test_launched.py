"""A pool as written: what it defaults to, what of it the launcher keeps to itself."""

from __future__ import annotations

import pytest

from gateway.config.sources import is_secret
from tests.gateway.config.test_load import loaded, problems

CONFIG = """\
auth: open
providers:
  gpus:
    kind: vllm
    pool:
      model: org/model
      replicas: 2
deployments:
  local: {provider: gpus, model: chat, price: free}
"""


def with_pool(line: str, before: str = "      replicas: 2\n") -> str:
    assert before in CONFIG
    return CONFIG.replace(before, f"{line}\n")


def test_a_pool_reads_its_units_and_defaults() -> None:
    pool = (
        loaded(with_pool('      args: [--tensor-parallel-size, "4"]\n      drain_grace: 1m'))
        .config.providers["gpus"]
        .pool
    )
    assert pool is not None
    assert (pool.replicas, pool.gpus, pool.drain_grace, pool.on_exit, pool.command) == (1, 4, 60.0, "stop", ["vllm"])
    assert pool.deadlines.load == 1800.0


def test_variables_of_a_replica_are_secrets() -> None:
    text = with_pool('      env: {HF_TOKEN: "${HF_TOKEN}"}')
    pool = loaded(text, HF_TOKEN="hidden\nlines").config.providers["gpus"].pool
    assert pool is not None
    assert pool.env["HF_TOKEN"].reveal() == "hidden\nlines".strip()
    assert "hidden" not in repr(pool)
    assert problems(text)[0].endswith("the environment variable HF_TOKEN is not set")
    assert is_secret(("providers", "gpus", "pool", "env", "HF_TOKEN"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("      args: [--port, '9000']", "7:14: --port is set by the launcher: the launcher chooses it"),
        ("      args: [--max-num-seqs, '8', --served_model_name=x]", "the deployments' `model` say it"),
        ("      args: [--ho, '0.0.0.0']", "7:14: --host is set by the launcher: replicas listen on loopback"),
        ("      args: [--shutdown-timeout, '0']", "`drain_grace` says it"),
        ("      args: [org/model]", "'org/model' is no flag: the model is written as `model`"),
        ("      env: {CUDA_VISIBLE_DEVICES: '0'}", "`gpus_per_replica: 0` leaves it to you"),
        ("      env: {VLLM_API_KEY: k}", "VLLM_API_KEY is set by the launcher"),
        ("      env: {A-B: k}", "the name of an environment variable is wanted"),
        ("      gpus_per_replica: 2\n      args: [-tp, '4']", "`args` take 4 GPUs (--tensor-parallel-size 4)"),
        ("      on_exit: leave", "'leave' is not one of: stop, keep"),
        ("      replicas: -1", "greater than or equal to 0"),
        ("      replica: 2", "there is no key 'replica' here; did you mean 'replicas'?"),
    ],
)
def test_a_mistake_is_named_with_its_place(line: str, expected: str) -> None:
    found = problems(with_pool(line))
    assert len(found) == 1
    assert expected in found[0]


def test_an_engine_s_own_flags_may_begin_like_the_launcher_s() -> None:
    assert loaded(with_pool("      args: [--model-impl, vllm, --config-format, hf]")).config


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("    base_url: http://127.0.0.1:8000", "write pool or base_url, not both"),
        ("    endpoints: ['http://127.0.0.1:8000']", "write pool or endpoints, not both"),
        ("    api_keys: [a, b]", "replicas that are launched here take one key: write api_key"),
    ],
)
def test_replicas_are_launched_or_found(line: str, expected: str) -> None:
    found = problems(CONFIG.replace("    pool:\n", f"{line}\n    pool:\n"))
    assert len(found) == 1
    assert expected in found[0]


def test_only_vllm_is_launched_and_it_has_to_be_served_as_something() -> None:
    assert "only the kind vllm takes pool" in problems(CONFIG.replace("kind: vllm", "kind: groq"))[0]
    found = problems(CONFIG.partition("deployments:")[0])
    assert found == [
        "config.yaml:6:7: no deployment stands at provider 'gpus': the launcher would not know what to serve it as"
    ]
