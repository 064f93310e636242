import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters._signatures import MARK, holds, unwrap, wrap

IDS = st.text("abcXYZ019_-", max_size=30)
PROVIDERS = st.none() | st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)


@given(IDS, st.text(st.characters(exclude_categories=["Cs"])), PROVIDERS)
@example("call_1", "CikBVKhc7nF/+w==", "gemini")
@example("call_1", "not base64!", "gemini")
@example("", "", None)
@example("call_1", "a" * 2 + MARK + "bbbb", "gemini")
@example("call_1", MARK.replace("_", "/") + "aa", "gemini")
def test_what_is_wrapped_comes_back(id, signature, provider):
    wrapped = wrap(id, signature, provider)
    assert unwrap(wrapped) == (id, signature, provider)
    assert re.fullmatch("[a-zA-Z0-9_-]+", wrapped)
    assert wrap(wrapped, signature, provider) == wrapped


def test_an_id_without_a_signature_stays_as_it_is():
    assert wrap("call_1", None, "gemini") == "call_1"
    assert unwrap("call_1") == ("call_1", None, None)


@pytest.mark.parametrize(
    "id", ["a__signed__", "a__signed__gemini", "a__signed__gemini-xzz", "a__signed__gemini-t_", "a__signed__G-b"]
)
def test_what_only_looks_wrapped_is_an_id(id):
    assert unwrap(id) == (id, None, None)


def test_a_signature_in_base64_does_not_grow():
    signature = "CikBVKhc7nF/+w==" * 1
    assert len(wrap("", signature, "gemini")) <= len(MARK) + len("gemini") + 2 + len(signature)


@pytest.mark.parametrize(
    ("provider", "at", "expected"),
    [
        ("anthropic", "bedrock_anthropic", True),
        ("bedrock_anthropic", "anthropic", True),
        ("bedrock_anthropic", "bedrock_anthropic", True),
        ("bedrock_anthropic", "bedrock_amazon", False),
        ("anthropic", "gemini", False),
        ("gemini", "vertex", False),
        ("vertex", "gemini", False),
        (None, "anthropic", True),
    ],
)
def test_claudes_signatures_hold_wherever_it_runs_and_googles_at_their_place(provider, at, expected):
    assert holds(provider, at) is expected
