"""Lines of JSON, cut anywhere."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _ndjson
from gateway.core.errors import UpstreamError


@given(st.lists(st.text(max_size=8)), st.sampled_from(["\n", "\r\n", "\n\n"]), st.lists(st.integers(0, 200)))
def test_lines_are_whole_however_they_are_cut(texts: list[str], ending: str, cuts: list[int]) -> None:
    lines = [json.dumps(text, ensure_ascii=False) for text in texts]
    raw = "".join(line + ending for line in lines).encode()
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    framer = _ndjson.Framer()
    found = [line for begin, end in pairwise(edges) for line in framer.push(raw[begin:end])]
    assert [line.decode() for line in found] == lines
    assert framer.rest() == b""


def test_a_half_line_is_held_back_and_is_the_rest() -> None:
    framer = _ndjson.Framer()
    assert framer.push(b'{"a":') == []
    assert framer.push(b'1}\n{"b"') == [b'{"a":1}']
    assert framer.rest() == b'{"b"'


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ndjson, "LINE_BYTES_MAX", 10)
    framer = _ndjson.Framer()
    assert framer.push(b"0123456789") == []
    with pytest.raises(UpstreamError):
        framer.push(b"0")
