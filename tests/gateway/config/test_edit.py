"""Edits: each changes the text at its place, the rest stays byte for byte, and what is read again is what was meant."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.config.document import parse
from gateway.config.edit import Add, CannotEdit, Edit, Remove, Rename, Set, edited, plain, same
from gateway.config.spans import spans_of
from gateway.core.errors import ConfigError

ROOT = Path(__file__).parents[3]
SHIPPED = (ROOT / "config.yaml").read_text()


def read(text: str) -> Any:
    return plain(parse(text, "config").root)


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    """Returns the lines that went and those that came."""
    olds, news = before.splitlines(), after.splitlines()
    while olds and news and olds[0] == news[0]:
        olds, news = olds[1:], news[1:]
    while olds and news and olds[-1] == news[-1]:
        olds, news = olds[:-1], news[:-1]
    return olds, news


# -- by example, on the shipped config ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "gone", "come"),
    [
        (Set(("auth",), "keys"), ["auth: open"], ["auth: keys"]),
        (
            Set(("deployments", "demo", "price", "input"), "0.30"),
            ['    price: {input: "0.25", cached_input: "0.025", output: "2.00"}   '
             "# $ per million tokens; text, so that it stays exact"],
            ['    price: {input: "0.30", cached_input: "0.025", output: "2.00"}   '
             "# $ per million tokens; text, so that it stays exact"],
        ),
        (
            Set(("deployments", "haiku", "price"), {"input": "1", "output": "5.5"}),
            [],
            ['    price: {input: "1", output: "5.5"}'],
        ),
        (
            Add(("deployments",), {"provider": "mistral", "model": "x", "price": "free"}, key="large"),
            [],
            ["  large:", "    provider: mistral", "    model: x", "    price: free"],
        ),
        (
            Add(("policies", "routes", "chat", "among"), "demo2", at=0),
            ["      among: [gpt-mini, haiku, mistral-small, demo]"],
            ["      among: [demo2, gpt-mini, haiku, mistral-small, demo]"],
        ),
        (
            Remove(("policies", "routes", "chat", "among", 1)),
            ["      among: [gpt-mini, haiku, mistral-small, demo]"],
            ["      among: [gpt-mini, mistral-small, demo]"],
        ),
        (
            Remove(("policies", "routes", "smart", "on_failure")),
            ["      on_failure: {attempts: 3, first_token: 10s, deadline: 5m}"],
            [],
        ),
        (Rename(("deployments", "gpt-mini"), "mini"), ["  gpt-mini:"], ["  mini:"]),
        (
            Set(("sensitivity", "from", 0), {"header": "x-level"}),
            ["    - {header: x-data-sensitivity}"],
            ["    - {header: x-level}"],
        ),
        (
            Set(("policies", "routes", "chat", "among"), ["haiku", "gpt-mini"]),
            ["      among: [gpt-mini, haiku, mistral-small, demo]"],
            ["      among: [haiku, gpt-mini]"],
        ),
        (Remove(("policies", "routes", "chat", "name")), ["    - name: chat", "      when: {model: [chat]}"],
         ["    - when: {model: [chat]}"]),
        (Set(("media",), {"max_bytes": "1MiB"}), [], ["media: {max_bytes: 1MiB}"]),
        (Set(("keys",), [{"name": "alice", "hash": "sha256:" + "0" * 64}]), [],
         ['keys: [{name: alice, hash: "sha256:' + "0" * 64 + '"}]']),
    ],
    ids=str,
)  # fmt: skip
def test_an_edit_touches_its_own_lines_alone(edit: Edit, gone: list[str], come: list[str]) -> None:
    assert changed(SHIPPED, edited(SHIPPED, [edit])) == (gone, come)


def test_what_is_empty_is_filled_and_what_becomes_empty_says_so() -> None:
    text = "keys:\n# none yet\nteams: {a: {}}\nroutes:\n  - name: one   # the only one\n# end\n"
    text = edited(text, [Add(("keys",), {"name": "alice"}), Remove(("teams", "a")), Remove(("routes", 0))])
    assert text == "keys:\n  - {name: alice}\n# none yet\nteams: {}\nroutes: []\n# end\n"
    assert edited("", [Set(("auth",), "open")]) == "auth: open\n"
    assert edited("# nothing", [Set(("auth",), "open")]) == "# nothing\nauth: open\n"


def test_line_ends_of_windows_stay() -> None:
    text = "a:\r\n  b: 1 # one\r\n  c: 2\r\n"
    text = edited(text, [Add(("a",), [1, 2], key="d"), Set(("a", "b"), 3), Remove(("a", "c"))])
    assert text == "a:\r\n  b: 3 # one\r\n  d: [1, 2]\r\n"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("on", '"on"'), ("1", '"1"'), ("a b", "a b"), ("a: b", '"a: b"'), ("", '""'), ("null", '"null"'),
        ("-x", '"-x"'), ("# c", '"# c"'), ("a\nb", '"a\\nb"'), (" a", '" a"'), ("é", '"é"'),
        ("\x85\x00", '"\\x85\\x00"'),
        (True, "true"), (None, "null"), (1.5, "1.5"), (10**17, str(10**17)), ({}, "{}"), ([], "[]"), ("*", '"*"'),
    ],
)  # fmt: skip
def test_a_value_is_quoted_where_it_would_be_read_otherwise(value: Any, written: str) -> None:
    text = edited("a: x\n", [Set(("a",), value)])
    assert text == f"a: {written}\n"
    assert same(read(text), {"a": value})


def test_quotes_stay_as_they_are() -> None:
    text = edited("a: \"x\"\nb: 'x'\nc: x\n", [Set((key,), "it's") for key in "abc"])
    assert text == "a: \"it's\"\nb: 'it''s'\nc: \"it's\"\n"


@pytest.mark.parametrize(
    ("text", "edit", "why"),
    [
        ("a: 1\n", Set(("b", "c"), 1), "there is no b"),
        ("a: 1\n", Remove(("b",)), "there is no b"),
        ("a: [1]\n", Add(("a",), 1, at=3), "a has 1 items"),
        ("a: {b: 1}\n", Add(("a",), 1, key="b"), "a.b is there already"),
        ("a: {b: 1}\n", Add(("a",), 1), "takes a key"),
        ("a: {b: 1, c: 2}\n", Rename(("a", "b"), "c"), "a.c is there already"),
        ("a: &x {b: 1}\nc: *x\n", Set(("a", "b"), 2), "only the text itself can be edited"),
        ("a: &x {b: 1}\nc: *x\n", Set(("c", "b"), 2), "only the text itself can be edited"),
        ("a: [{name: x}]\n", Remove(("a", "y")), "no item named 'y'"),
        ("a: 1\n", Remove(()), "no member of anything"),
        ("a: 1\n", Add(("a",), 1), "neither a mapping nor a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_edited_is_refused_with_a_reason(text: str, edit: Edit, why: str) -> None:
    with pytest.raises(CannotEdit, match=why.replace("[", r"\[")):
        edited(text, [edit])


# -- laws ---------------------------------------------------------------------------------------------------------

WORDS = st.text("abcXYZ019-_.: #'\"{}[],&*!|>%@`é~\n", max_size=8)
SCALARS = st.one_of(
    WORDS, st.sampled_from(["on", "null", "1", "0x1f", "sk-${A}"]), st.integers(-999, 999), st.booleans(), st.none(),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3)),
)  # fmt: skip
KEYS = st.one_of(st.text("abcxyz_-1", min_size=1, max_size=5), WORDS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
CONFIGS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)
COMMENTS = ("", "", "  # said: {of} it, [here] - 'x\"", " #")


def quoted(draw: Any, value: Any) -> str:
    """Writes a scalar in one of the ways that people have."""
    if not isinstance(value, str):
        return (
            {None: "null", True: "true", False: "false"}.get(value, repr(value))
            if value is None or isinstance(value, bool)
            else repr(value)
        )
    ways = [msgspec.json.encode(value).decode()]
    if "\n" not in value:
        ways.append("'" + value.replace("'", "''") + "'")
    with contextlib.suppress(ConfigError):
        if value and read(f"a: [{value}]\n") == {"a": [value]} == read(f"a:\n- {value}\n"):
            ways.append(value)
    return draw(st.sampled_from(ways))


def flow(draw: Any, value: Any) -> str:
    between = draw(st.sampled_from([", ", ",", ",\n      ", " ,  "]))
    if isinstance(value, dict):
        return "{" + between.join(f"{quoted(draw, key)}: {flow(draw, each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + between.join(flow(draw, each) for each in value) + "]"
    return quoted(draw, value)


def block(draw: Any, value: Any, column: int) -> str:
    """Writes a collection as lines, its members in whichever way."""
    lines = []
    for key, each in value.items() if isinstance(value, dict) else ((None, one) for one in value):
        if draw(st.booleans()):
            lines.append(draw(st.sampled_from(["", " " * column + "# above - it: x", "   "])))
        head = "-" if key is None else f"{quoted(draw, key)}:"
        step = draw(st.sampled_from([1, 2, 4]))
        if isinstance(each, (dict, list)) and each and draw(st.booleans()):
            if key is None and draw(st.booleans()):
                step = 2
                inner = block(draw, each, column + step).lstrip(" \n")
                if inner.startswith("#"):
                    inner = "\n" + " " * (column + step) + inner
                lines.append(" " * column + f"{head} {inner}")
                continue
            if isinstance(each, list) and key is not None and draw(st.booleans()):
                step = 0
            comment = draw(st.sampled_from(COMMENTS))
            lines.append(" " * column + head + comment + "\n" + block(draw, each, column + step))
        else:
            written = flow(draw, each) if isinstance(each, (dict, list)) else quoted(draw, each)
            if each is None and draw(st.booleans()):
                written = ""
            comment = draw(st.sampled_from(COMMENTS))
            lines.append(" " * column + f"{head} {written}{comment}".rstrip() + draw(st.sampled_from(["", " "])))
    return "\n".join(lines)


@st.composite
def texts(draw: Any) -> tuple[str, Any]:
    """A config that people might have written, and what it says."""
    config = draw(CONFIGS)
    text = block(draw, config, 0) + draw(st.sampled_from(["", "\n", "\n\n# end\n"]))
    if draw(st.booleans()) and draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    try:
        assume(same(read(text), config))
    except ConfigError:  # a layout of ours that is no YAML
        assume(False)
    return text, config


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, each in value.items():
            found += paths_of(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found += paths_of(each, (*path, index))
    return found


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def span_at(text: str, path: tuple[str | int, ...]) -> Any:
    span = spans_of(text)
    for step in path:
        assert span is not None
        member = span.member(step)
        assert member is not None
        span = member.span
    return span


def inserted(before: str, after: str) -> bool:
    """Tells whether `after` is `before` with one piece put in."""
    start = 0
    while start < len(before) and start < len(after) and before[start] == after[start]:
        start += 1
    rest = len(before) - start
    return len(after) >= len(before) and (not rest or after.endswith(before[start:]))


@given(st.data(), texts())
def test_a_set_scalar_changes_nothing_but_its_span(data: st.DataObject, written: tuple[str, Any]) -> None:
    text, config = written
    leaves = [path for path in paths_of(config) if path and not isinstance(at(config, path), (dict, list))]
    assume(leaves)
    path = data.draw(st.sampled_from(leaves))
    value = data.draw(SCALARS)
    span = span_at(text, path)
    after = edited(text, [Set(path, value)])
    assert after.startswith(text[: span.start])
    assert after.endswith(text[span.end :])
    parent = at(config, path[:-1])
    parent[path[-1]] = value
    assert same(read(after), config)


@given(st.data(), texts())
def test_what_is_added_is_put_in_and_nothing_else_changes(data: st.DataObject, written: tuple[str, Any]) -> None:
    text, config = written
    places = [path for path in paths_of(config) if isinstance(at(config, path), (dict, list)) and at(config, path)]
    path = data.draw(st.sampled_from(places))
    collection, value = at(config, path), data.draw(VALUES)
    if isinstance(collection, dict):
        key = data.draw(KEYS)
        assume(key not in collection)
        after = edited(text, [Add(path, value, key=key)])
        collection[key] = value
    else:
        where = data.draw(st.integers(0, len(collection)))
        after = edited(text, [Add(path, value, at=where)])
        collection.insert(where, value)
    assert inserted(text, after)
    assert same(read(after), config)


@given(st.data(), texts())
def test_what_is_removed_goes_and_the_other_values_stay_as_they_are_written(
    data: st.DataObject, written: tuple[str, Any]
) -> None:
    text, config = written
    path = data.draw(st.sampled_from([path for path in paths_of(config) if path]))
    after = edited(text, [Remove(path)])
    others = [
        text[(span := span_at(text, other)).start : span.end]
        for other in paths_of(config)
        if other[: len(path)] != path and not isinstance(at(config, other), (dict, list))
    ]
    parent = at(config, path[:-1])
    del parent[path[-1]]
    assert same(read(after), config)
    remaining = [
        after[(span := span_at(after, other)).start : span.end]
        for other in paths_of(config)
        if other and not isinstance(at(config, other), (dict, list))
    ]
    assert remaining == others
    if at(config, path[:-1]):  # what becomes empty is written in its place
        assert len(after) < len(text)
        assert text.count("# above") - after.count("# above") <= _comments_within(text, path)


@given(st.data(), texts())
def test_a_value_of_any_shape_can_be_set_in_the_place_of_any(data: st.DataObject, written: tuple[str, Any]) -> None:
    text, config = written
    path = data.draw(st.sampled_from([path for path in paths_of(config) if path]))
    value = data.draw(VALUES)
    after = edited(text, [Set(path, value)])
    at(config, path[:-1])[path[-1]] = value
    assert same(read(after), config)


@given(st.data(), texts())
def test_a_renamed_member_keeps_its_place_and_its_text(data: st.DataObject, written: tuple[str, Any]) -> None:
    text, config = written
    paths = [path for path in paths_of(config) if path and isinstance(path[-1], str)]
    path, to = data.draw(st.sampled_from(paths)), data.draw(KEYS)
    parent = at(config, path[:-1])
    assume(to not in parent)
    after = edited(text, [Rename(path, to)])
    parent_after = {to if key == path[-1] else key: value for key, value in parent.items()}
    assert same(at(read(after), path[:-1]), parent_after)


def _comments_within(text: str, path: tuple[str | int, ...]) -> int:
    span = span_at(text, path)
    return text[span.start : span.end].count("# above") + 1
