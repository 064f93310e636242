"""The support matrix says what the adapters do."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters._support import FEATURES, Does, Support
from gateway.core.errors import ConfigError
from gateway.wiring.compile import Compiled
from gateway.wiring.kinds import DIALECTS, WIRES
from gateway.wiring.runtime import dry_compile, read_config
from gateway.wiring.support import NOT_SERVED, SHOWN, matrix, way_of


def test_every_kind_has_a_row_with_every_feature() -> None:
    rows = {row["kind"]: row for row in matrix({"a": "openai", "b": "openai"})}
    assert list(rows) == list(WIRES)
    for row in rows.values():
        assert list(row["features"]) == list(FEATURES)
        assert row["dialects"]
    assert rows["openai"]["providers"] == ["a", "b"]
    assert rows["anthropic"]["providers"] == []


def test_features_that_are_said_are_features() -> None:
    for kind, wire in WIRES.items():
        assert set(wire.support.features) <= set(FEATURES), kind
        for quirk in wire.support.quirks:
            assert quirk.what, kind


def test_a_dialect_is_served_where_its_family_is() -> None:
    for wire in WIRES.values():
        for name, dialect in DIALECTS.items():
            if name not in SHOWN:
                continue
            assert (way_of(wire, name) == NOT_SERVED) == (dialect.endpoint not in wire.serves)


@pytest.mark.parametrize(
    ("kind", "dialect", "way"),
    [
        ("openai", "chat", "relayed"),
        ("openai", "translations", "relayed"),
        ("openai", "rerank", NOT_SERVED),
        ("openai", "responses", "relayed"),
        ("mistral", "responses", "translated"),
        ("mistral", "transcriptions", "relayed"),
        ("bedrock", "chat", "translated"),
        ("anthropic", "chat", "translated"),
        ("anthropic", "messages", "relayed"),
        ("openai", "messages", "translated"),
        ("anthropic", "speech", NOT_SERVED),
        ("cohere", "rerank", "translated"),
        ("ollama_native", "embeddings", "translated"),
        ("vllm", "rerank", "relayed"),
    ],
)
def test_ways(kind: str, dialect: str, way: str) -> None:
    assert way_of(WIRES[kind], dialect) == way


def test_what_nobody_says_is_otherwise() -> None:
    assert Support(otherwise=Does("unknown")).of("tools") == Does("unknown")
    assert Support(features={"n": Does("refused")}).of("n").way == "refused"


def _compile(tmp_path: Path, endpoints: str) -> Compiled:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
providers: {{here: {{kind: vllm, base_url: "http://127.0.0.1:9"}}}}
deployments: {{one: {{provider: here, model: m, price: free, endpoints: {endpoints}}}}}
"""
    )
    return dry_compile(read_config(path, {}))


def test_an_endpoint_that_a_kind_does_not_have_is_told_and_never_served(tmp_path: Path) -> None:
    compiled = _compile(tmp_path, "[transcriptions, images]")
    assert compiled.snapshot.deployments[0].serves == {"transcriptions"}
    assert any("'vllm' does not serve images" in note for note in compiled.notes)
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+:\d+: .*'vllm' does not serve images"):
        _compile(tmp_path, "[images]")
