"""The GPU test's own parts, held without a GPU: the run on the simulator's vLLM, the tables, what a machine lacks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gateway.pool.planner.architecture import architecture_of, parts_of
from tests.gpu import environment
from tests.gpu.__main__ import main
from tests.gpu.environment import CONFIG, Unavailable, gpu, prompt_of, write_model
from tests.gpu.run import DRY, run, simulated
from tests.gpu.sizing import Compared
from tests.gpu.table import Held, Report


def test_the_run_goes_from_end_to_end_on_the_simulators_vllm() -> None:
    report = run(simulated(), DRY)
    assert report.ok, report.markdown()
    judged = [each.what for each in report.held if each.met is not None]
    assert len(judged) == 5  # all whole; none failed and all came back, killed and frozen
    memory, rate, first = report.sized
    assert memory.measured == memory.calibrated == 308_224  # read from the log
    assert rate.calibrated != rate.predicted  # the engine's own figures were taken over
    assert (first.measured or 0.0) > 0.0


def test_the_model_is_an_8b_with_a_word_for_each_token(tmp_path: Path) -> None:
    assert parts_of(architecture_of(CONFIG, "8b", "here")).total == pytest.approx(8.03e9, rel=0.001)
    folder = write_model(tmp_path, {**CONFIG, "vocab_size": 50})
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(50))
    one, other = prompt_of(100, 1), prompt_of(100, 2)
    assert (len(one.split()), len(other.split())) == (100, 100)
    assert one.split()[:16] != other.split()[:16]
    assert all(int(word[1:]) < int(str(CONFIG["vocab_size"])) for word in one.split())


def put_on_path(name: str, script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")


@pytest.mark.parametrize(
    ("said", "sized"),
    [("NVIDIA H100 80GB HBM3, 81559", "h100"), ("NVIDIA A100-SXM4-40GB, 40960", "a100-40"), ("NVIDIA L4, 23034", "l4"),
     ("NVIDIA L40S, 46068", "l40s"), ("NVIDIA A10G, 23028", "a10g")],
)  # fmt: skip
def test_a_gpu_is_known_by_what_its_driver_says(
    said: str, sized: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_path("nvidia-smi", f"echo '{said}'", tmp_path, monkeypatch)
    assert gpu().sized == sized


@pytest.mark.parametrize(
    ("script", "told"),
    [("echo 'No devices were found'; exit 6", "No devices"), ("echo 'NVIDIA T4, 15360'", "knows no"),
     ("echo 'NVIDIA A10, 12000'", "12000 MiB")],
)  # fmt: skip
def test_where_it_cannot_run_it_says_why(
    script: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_path("nvidia-smi", script, tmp_path, monkeypatch)
    with pytest.raises(Unavailable, match=told):
        gpu()
    assert main([]) == 0
    assert "gpu-test skipped" in capsys.readouterr().out


def test_a_vllm_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.VLLM, "/opt/vllm/bin/vllm")
    assert environment.vllm() == ["/opt/vllm/bin/vllm"]


def test_a_report_goes_into_its_place_and_tells_what_was_missed(tmp_path: Path) -> None:
    held = [Held("a", "≥ 1", "2", True), Held("b", "≤ 1", "2", False), Held("c", "–", "2", None)]
    report = Report(
        "On it:", held, [Compared("KV", "tokens", 110.0, 100.0, 100.0), Compared("x", "ms", 1.0, 1.0, None)]
    )
    assert not report.ok
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: gpu-test -->\nold\n<!-- end -->\nafter\n")
    report.write(page)
    written = page.read_text()
    assert "old" not in written
    assert "| b | ≤ 1 | 2 | **missed** |" in written
    assert "| KV, tokens | 110 | +10% | 100 | +0% | 100 |" in written
    assert written.startswith("before\n")
    assert written.endswith("<!-- end -->\nafter\n")
    page.write_text("no place")
    with pytest.raises(ValueError, match="no place"):
        report.write(page)
