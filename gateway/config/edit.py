"""Edits of a config's text: each changes the text at the place of its value, and nothing else.

Comments, order, quotes and layout of the rest stay as they were written. Every edit is proved by reading its result
again: it must say what the edit of the plain data says, or nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import count
from typing import Any, Final

import msgspec

from gateway.config.document import NAME, Node, Path, parse
from gateway.config.spans import Member, Span, spans_of
from gateway.config.writing import Value, as_block, as_flow, as_key, as_scalar, fits
from gateway.core.errors import ConfigError

_VALUES: Final = 500_000


class Set(msgspec.Struct, frozen=True, tag="set"):
    """Gives the value at a path another; of a mapping the last key may be new. A list's step is its index or a name."""

    path: tuple[str | int, ...]
    value: Any


class Add(msgspec.Struct, frozen=True, tag="add"):
    """Adds a member to the collection at a path: to a mapping under `key`, to a list before `at` or at its end."""

    path: tuple[str | int, ...]
    value: Any
    key: str | None = None
    at: int | None = None


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    """Takes a member out of its collection."""

    path: tuple[str | int, ...]


class Rename(msgspec.Struct, frozen=True, tag="rename"):
    """Gives a member of a mapping another key, in its place."""

    path: tuple[str | int, ...]
    to: str


Edit = Set | Add | Remove | Rename


class CannotEdit(ValueError):
    """The text does not have what an edit names, or has it in a form that only people can change."""


def edited(text: str, edits: Sequence[Edit]) -> str:
    """Returns the text after all edits, one after the other; raises CannotEdit, and ConfigError for text that is none.

    Names that stand for an item of a list (`policies.routes.chat`) are looked up anew for every edit.
    """
    for edit in edits:
        text = _proved(text, edit)
    return text


def resolved(root: Node, path: Sequence[str | int]) -> Path:
    """Returns a path with names of a list's items as their indices; raises CannotEdit where there is none."""
    node: Node | None = root
    steps: list[str | int] = []
    for step in path:
        if node is not None and isinstance(node.value, list) and isinstance(step, str):
            step = _index_of(node.value, step, path)
        if node is not None and isinstance(node.value, list) and isinstance(step, int):
            node = node.value[step] if 0 <= step < len(node.value) else None
        elif node is not None and isinstance(node.value, dict) and isinstance(step, str):
            node = node.value.get(step)
        else:
            node = None
        steps.append(step)
    return tuple(steps)


def plain(node: Node) -> Value:
    """Returns a document's value as plain data, aliases followed; raises CannotEdit where they have no end."""
    return _plain(node, count(_VALUES, -1))


def _plain(node: Node, left: Iterator[int]) -> Value:
    if next(left) <= 0:
        raise CannotEdit(f"aliases make this config longer than {_VALUES} values")
    value = node.value
    if isinstance(value, dict):
        return {key: _plain(child, left) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child, left) for child in value]
    return value


def same(one: Value, other: Value) -> bool:
    """Tells whether two values are written alike: 1 is not 1.0 nor true, and the order of keys counts."""
    return msgspec.json.encode(one) == msgspec.json.encode(other)


def _index_of(items: Sequence[Node], name: str, path: Sequence[str | int]) -> int:
    for index, item in enumerate(items):
        if isinstance(item.value, dict) and (own := item.value.get("name")) is not None and own.value == name:
            return index
    raise CannotEdit(f"{told(path)}: there is no item named {name!r}")


def told(path: Sequence[str | int]) -> str:
    """Writes a path for people: `policies.routes[0].among`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the config"


# -- the edit of plain data, which the text is held to ------------------------------------------------------------


def _proved(text: str, edit: Edit) -> str:
    root = parse(text, NAME).root
    path = resolved(root, edit.path)
    before = plain(root)
    wanted = _model(before, edit, path)
    try:
        spliced = _spliced(text, before, edit, path)
        read = plain(parse(spliced, NAME).root)
    except ConfigError:
        read = None
    if read is None or not same(read, wanted):
        raise CannotEdit(f"{told(path)} is written in a way that only the text itself can be edited (an anchor?)")
    return spliced


def _model(data: Value, edit: Edit, path: Path) -> Value:
    data = deepcopy(data)
    match edit:
        case Add(value=value, key=key, at=at):
            collection = _at(data, path)
            if isinstance(collection, dict) or (collection is None and key is not None):
                if key is None:
                    raise CannotEdit(f"{told(path)} is a mapping: what is added takes a key")
                if collection is not None and key in collection:
                    raise CannotEdit(f"{told((*path, key))} is there already")
                return _put(data, path, {**(collection or {}), key: value})
            if not isinstance(collection, list) and collection is not None:
                raise CannotEdit(f"{told(path)} is neither a mapping nor a list")
            items = list(collection or [])
            if at is not None and not 0 <= at <= len(items):
                raise CannotEdit(f"{told(path)} has {len(items)} items")
            items.insert(len(items) if at is None else at, value)
            return _put(data, path, items)
        case Set(value=value):
            return _put(data, path, value)
        case Remove():
            parent = _parent(data, path)
            del parent[path[-1]]
        case Rename(to=to):
            parent = _parent(data, path)
            if not isinstance(parent, dict):
                raise CannotEdit(f"{told(path)} is an item of a list, and has no key")
            if to in parent and to != path[-1]:
                raise CannotEdit(f"{told((*path[:-1], to))} is there already")
            return _put(data, path[:-1], {to if key == path[-1] else key: value for key, value in parent.items()})
    return data


def _at(data: Value, path: Path) -> Value:
    for step in path:
        try:
            data = data[step]  # type: ignore[index]
        except (LookupError, TypeError):
            raise CannotEdit(f"there is no {told(path)}") from None
    return data


def _parent(data: Value, path: Path) -> Any:
    if not path:
        raise CannotEdit("the config itself is no member of anything")
    _at(data, path)
    return _at(data, path[:-1])


def _put(data: Value, path: Path, value: Value) -> Value:
    if not path:
        return value
    parent = _at(data, path[:-1])
    last = path[-1]
    if parent is None and isinstance(last, str):
        return _put(data, path[:-1], {last: value})
    if (isinstance(parent, dict) and isinstance(last, str)) or (
        isinstance(parent, list) and isinstance(last, int) and 0 <= last < len(parent)
    ):
        parent[last] = value  # type: ignore[index]
        return data
    raise CannotEdit(f"there is no {told(path)}")


# -- the edit of the text -----------------------------------------------------------------------------------------


def _spliced(text: str, data: Value, edit: Edit, path: Path) -> str:
    match edit:
        case Set(value=value):
            return _set(text, data, path, value)
        case Add(value=value, key=key, at=at):
            if _at(data, path) is None:
                return _set(text, data, path, {key: value} if key is not None else [value])
            return _add(text, path, key, value, at)
        case Remove():
            return _remove(text, path)
        case Rename(to=to):
            _, member = _found(text, path)
            return text[: member.start] + as_key(to) + text[member.key_end :]


def _set(text: str, data: Value, path: Path, value: Value) -> str:
    """Changes what differs, as deep down as that goes."""
    if path and isinstance(path[-1], str):
        parent = _at(data, path[:-1])
        if parent is None:
            return _set(text, data, path[:-1], {path[-1]: value})
        if isinstance(parent, dict) and path[-1] not in parent:
            return _add(text, path[:-1], path[-1], value, None)
    old = _at(data, path)
    if same(old, value):
        return text
    if isinstance(old, dict) and isinstance(value, dict):
        kept = [key for key in old if key in value]
        if kept and [*kept, *(key for key in value if key not in old)] == list(value):
            for key in old:
                if key not in value:
                    text = _remove(text, (*path, key))
            for key in value:
                text = (
                    _set(text, data, (*path, key), value[key])
                    if key in old
                    else _add(text, path, key, value[key], None)
                )
            return text
    if isinstance(old, list) and isinstance(value, list) and old and value:
        return _set_items(text, data, path, old, value)
    return _replace(text, path, value)


def _set_items(text: str, data: Value, path: Path, old: Sequence[Value], new: Sequence[Value]) -> str:
    """Changes a list where it differs: what it begins and ends with as before stays untouched."""
    shorter = min(len(old), len(new))
    first = next((index for index in range(shorter) if not same(old[index], new[index])), shorter)
    last = next(
        (index for index in range(shorter - first) if not same(old[-1 - index], new[-1 - index])), shorter - first
    )
    gone, come = len(old) - first - last, len(new) - first - last
    for index in range(first, first + min(gone, come)):
        text = _set(text, data, (*path, index), new[index])
    for index in range(first + gone - 1, first + come - 1, -1):
        text = _remove(text, (*path, index))
    for index in range(first + gone, first + come):
        text = _add(text, path, None, new[index], index)
    return text


def _replace(text: str, path: Path, value: Value) -> str:
    if not path:
        raise CannotEdit("a config is replaced as a text")
    parent, member = _found(text, path)
    span = member.span
    if not span.is_block or parent.kind == "list" or not parent.is_block:
        written = as_scalar(value, span.style, flow=not parent.is_block) if not _many(value) else as_flow(value)
        if span.start == span.end:  # `key:` and nothing after it
            if _many(value) and value and parent.is_block:
                column = _column(text, member.start) + 2
                written = _newline(text) + as_block(value, column, _newline(text))
            else:
                written = f" {written}"
        return text[: span.start] + written + text[span.end :]
    # A block under its key: the new value goes behind the colon, the block's lines go.
    colon = text.index(":", member.key_end)
    begin, end = _line_start(text, span.start), _line_end(text, span.end)
    return f"{text[: colon + 1]} {as_flow(value)}{text[colon + 1 : begin].rstrip(' ')}{text[_next_line(text, end) :]}"


def _add(text: str, path: Path, key: str | None, value: Value, at: int | None) -> str:
    span = _span(text, path)
    if span is None:
        assert key is not None
        before = text if not text or text.endswith("\n") else text + _newline(text)
        return f"{before}{_entry(key, value, 0, _newline(text), None)}{_newline(text)}"
    members = span.members
    if span.kind == "alias":
        raise CannotEdit(f"{told(path)} is the copy of another value: only the text itself can be edited")
    if not span.is_block:
        return _add_to_flow(text, span, key, value, at)
    newline = _newline(text)
    column = _column(text, members[0].start)
    entry = _entry(key, value, column, newline, members[-1])
    if at == 0:
        start = members[0].start
        return f"{text[:start]}{entry}{newline}{' ' * column}{text[start:]}"
    end = _line_end(text, members[at - 1 if at is not None else -1].span.end)
    return f"{text[:end]}{newline}{' ' * column}{entry}{text[end:]}"


def _add_to_flow(text: str, span: Span, key: str | None, value: Value, at: int | None) -> str:
    written = as_flow(value) if key is None else f"{as_key(key)}: {as_flow(value)}"
    if not span.members:
        return f"{text[: span.start + 1]}{written}{text[span.start + 1 :]}"
    if at is not None and at < len(span.members):
        start = span.members[at].start
        return f"{text[:start]}{written}, {text[start:]}"
    last = span.members[-1]
    # One member a line stays so.
    alone = not text[_line_start(text, last.start) : last.start].strip()
    between = f",{_newline(text)}{' ' * _column(text, last.start)}" if alone else ", "
    return f"{text[: last.span.end]}{between}{written}{text[last.span.end :]}"


def _remove(text: str, path: Path) -> str:
    parent, member = _found(text, path)
    members = parent.members
    index = next(number for number, each in enumerate(members) if each is member)
    if len(members) == 1:
        empty: Value = {} if parent.kind == "mapping" else []
        if len(path) > 1:
            return _replace(text, path[:-1], empty)
        return text[: parent.start] + as_flow(empty) + text[parent.end :]
    if not parent.is_block:
        if index + 1 < len(members):
            return text[: member.start] + text[members[index + 1].start :]
        return text[: members[index - 1].span.end] + text[member.span.end :]
    begin = _line_start(text, member.start)
    if text[begin : member.start].strip():  # behind a dash: the next member takes its place
        return text[: member.start] + text[members[index + 1].start :]
    return text[:begin] + text[_next_line(text, _line_end(text, member.span.end)) :]


def _found(text: str, path: Path) -> tuple[Span, Member]:
    parent = _span(text, path[:-1])
    member = parent.member(path[-1]) if parent is not None else None
    if parent is None or member is None:
        raise CannotEdit(f"{told(path)} is the copy of another value: only the text itself can be edited")
    return parent, member


def _span(text: str, path: Path) -> Span | None:
    span = spans_of(text)
    for step in path:
        member = span.member(step) if span is not None else None
        if member is None:
            raise CannotEdit(f"{told(path)} is the copy of another value: only the text itself can be edited")
        span = member.span
    return span


def _entry(key: str | None, value: Value, column: int, newline: str, sibling: Member | None) -> str:
    """Writes a new member of a block as its siblings are written: on a line, or as a block of its own."""
    head = "- " if key is None else f"{as_key(key)}: "
    inline = as_flow(value) if _many(value) else as_scalar(value, "", flow=False)
    as_siblings = sibling is not None and sibling.span.is_block
    if not (_many(value) and value) or (not as_siblings and fits(column, head + inline)):
        return head + inline
    if key is not None:
        return f"{head[:-1]}{newline}{as_block(value, column + 2, newline)}"
    return head + as_block(value, column + 2, newline).lstrip(" ")


def _many(value: Value) -> bool:
    return isinstance(value, (dict, list))


def _newline(text: str) -> str:
    """Returns how the text ends its lines."""
    end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Returns where the line ends that an index is in, before its line break."""
    end = text.find("\n", index)
    if end < 0:
        return len(text)
    return end - 1 if end > index and text[end - 1] == "\r" else end


def _next_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _column(text: str, index: int) -> int:
    return index - _line_start(text, index)
