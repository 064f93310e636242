"""The reference in docs is what the models say."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config
from gateway.config.reference import _sections, markdown

ROOT = Path(__file__).parents[3]


def test_the_page_in_docs_is_the_generated_one() -> None:
    written = (ROOT / "docs" / "config.md").read_text()
    assert written == markdown(), "write it again: python -m gateway.config.reference > docs/config.md"


def test_every_key_is_described_and_stands_in_the_page() -> None:
    page = markdown()
    for path, section in _sections("", Config):
        assert section.__doc__, path
        for name, field in section.model_fields.items():
            assert field.description, f"{path}.{name}"
            assert f"| `{field.alias or name}` |" in page
