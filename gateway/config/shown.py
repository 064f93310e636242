"""A config's text as people may see it: a secret in clear reads `<kept>`, and sent back keeps its text.

`<kept 2>` is the second of a list of secrets, so that a list can be shortened without doubt about which is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from gateway.config.document import NAME, Node, Path, parse
from gateway.config.edit import told
from gateway.config.remarks import remark_of
from gateway.config.secret import KEPT
from gateway.config.sources import is_secret
from gateway.config.spans import Span, spans_of
from gateway.core.errors import ConfigError

_REFERENCE: Final = re.compile(r"(?:Bearer )?\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_MARK: Final = re.compile(r"<kept(?: ([1-9][0-9]{0,3}))?>")
_COMMENTED: Final = re.compile(
    r"^(\s*#.*?\b(?:api_keys?|client_secret|credentials|access_token|access_key_id|secret_access_key|session_token"
    r"|authorization|x-api-key|proxy|password|token|secret|url)\b[\"']?\s*[:=]\s*)(\S[^\r\n]*)",
    re.IGNORECASE | re.MULTILINE,
)


class _Literal(msgspec.Struct, frozen=True):
    """A secret in clear: where it stands, and how it is marked."""

    path: Path
    start: int
    end: int
    mark: str


def shown(text: str) -> str:
    """Returns the text without what is secret in it; raises ConfigError for text that is no config."""
    pieces: list[str] = []
    done = 0
    for literal in sorted(_literals(text), key=lambda each: each.start):
        if literal.start >= done:  # an anchor may lead to one twice
            pieces += [text[done : literal.start], literal.mark]
            done = literal.end
    return _COMMENTED.sub(_without_value, "".join([*pieces, text[done:]]))


def restored(text: str, origin: str, name: str) -> str:
    """Returns a shown text with the secrets of the text that it was made of.

    Raises ConfigError, naming places as `name:line:column`, where the origin has no secret for a `<kept>`.
    """
    root, span = parse(text, name).root, spans_of(text)
    kept = {literal.path: origin[literal.start : literal.end] for literal in _literals(origin)}
    problems: list[str] = []
    pieces: list[str] = []
    done = 0
    for path, node, place in sorted(_scalars(root, span, ()), key=lambda each: each[2].start):
        match = _MARK.fullmatch(node.value) if isinstance(node.value, str) else None
        if match is None or place.start < done:
            continue
        meant = (*path[:-1], int(match[1]) - 1) if match[1] and isinstance(path[-1], int) else path
        if meant not in kept:
            if not is_secret(path):
                continue
            problems.append(f"{name}:{node.line}:{node.column}: no secret is kept for {told(path)}: write ${{NAME}}")
            continue
        pieces += [text[done : place.start], kept[meant]]
        done = place.end
    if problems:
        raise ConfigError(problems)
    return _with_comments("".join([*pieces, text[done:]]), origin)


def relocated(problems: Sequence[str], whole: str, text: str) -> list[str]:
    """Returns problems of a restored text at their places in the shown one: a secret is longer than its mark."""
    lines, shorter = whole.splitlines(), text.splitlines()
    if len(lines) != len(shorter):
        return list(problems)
    moved = []
    for problem in problems:
        remark = remark_of(problem)
        # A problem at the end of a text stands behind its last line.
        if 0 < remark.line <= len(lines) and lines[remark.line - 1] != shorter[remark.line - 1]:
            line, mine = lines[remark.line - 1], shorter[remark.line - 1]
            shorter_one = min(len(line), len(mine))
            same = next((index for index in range(shorter_one) if line[index] != mine[index]), shorter_one)
            column = remark.column
            if column > same + 1:
                column = max(same + 1, column - len(line) + len(mine))
            problem = f"{NAME}:{remark.line}:{column}: {remark.message}"
        moved.append(problem)
    return moved


def _literals(text: str) -> Iterator[_Literal]:
    root = parse(text, NAME).root
    secret = {
        id(node) for path, node in _secrets(root) if isinstance(node.value, str) and _is_literal(path, node.value)
    }
    for path, node, span in _scalars(root, spans_of(text), ()):
        if id(node) in secret and span.kind == "scalar":
            mark = f"<kept {path[-1] + 1}>" if is_secret(path) and isinstance(path[-1], int) else KEPT
            yield _Literal(path, span.start, span.end, mark)


def _secrets(root: Node) -> Iterator[tuple[Path, Node]]:
    """Yields what stands where secrets may, whether written there or copied from an anchor."""
    providers = _children(_children(root).get("providers"))
    sections = [("store", "url"), ("shared", "url")]
    for section, word in sections:
        if (node := _children(_children(root).get(section)).get(word)) is not None:
            yield (section, word), node
    for name, provider in providers.items():
        for word, node in _children(provider).items():
            members: list[tuple[Path, Node]] = [(("providers", name, word), node)]
            if isinstance(node.value, dict):
                members = [(("providers", name, word, key), child) for key, child in node.value.items()]
            elif isinstance(node.value, list):
                members = [(("providers", name, word, index), child) for index, child in enumerate(node.value)]
            yield from (member for member in members if is_secret(member[0]))


def _children(node: Node | None) -> dict[str, Node]:
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _is_literal(path: Path, value: str) -> bool:
    """Tells whether a secret's text gives anything away; a reference does not, nor does a place without a password."""
    if not value or _REFERENCE.fullmatch(value):
        return False
    return path[-1] not in ("url", "proxy") or "@" in value or "?" in value


def _scalars(node: Node, span: Span | None, path: Path) -> Iterator[tuple[Path, Node, Span]]:
    """Yields every scalar with its path, where it is written: what an alias copies stands at its anchor."""
    if span is None or span.kind == "alias":
        return
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            member = span.member(key)
            yield from _scalars(child, member.span if member is not None else None, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            member = span.member(index)
            yield from _scalars(child, member.span if member is not None else None, (*path, index))
    else:
        yield path, node, span


def _without_value(match: re.Match[str]) -> str:
    return match[0] if _REFERENCE.match(match[2].strip("\"'")) or match[2].startswith("{file") else match[1] + KEPT


def _with_comments(text: str, origin: str) -> str:
    """Puts back the lines of comments that were shown without what looks like a secret."""
    hidden: dict[str, list[str]] = {}
    for match in _COMMENTED.finditer(origin):
        if (without := _without_value(match)) != match[0]:
            hidden.setdefault(without, []).append(match[0])
    if not hidden:
        return text
    return _COMMENTED.sub(lambda match: hidden[match[0]].pop(0) if hidden.get(match[0]) else match[0], text)
