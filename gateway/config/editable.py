"""What of a config may be changed over HTTP: all but what would take over the host, the keys or the data.

Two texts are compared by what they say, not by their characters: an alias or another layout hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gateway.config.document import Document, Node, Path
from gateway.config.edit import told
from gateway.config.sources import is_secret, references

Pattern = tuple[str, ...]

# Of a path's steps; `*` is any one. What they lead to, and all below it, is the operator's, who edits the file.
PROTECTED: Final[tuple[Pattern, ...]] = (
    ("auth",),
    ("server",),
    ("store",),
    ("shared",),
    ("notify",),
    ("telemetry", "otlp"),
    ("media", "allow_http"),
    ("media", "allow_private"),
    ("sensitivity", "levels"),
    ("sensitivity", "clearance"),
    ("deployments", "*", "clearance"),
    # A provider but for its timeouts and how calls spread over it: where its calls go, with which credential, what is
    # claimed of the place, and what is run for it.
    ("providers", "*"),
)
_OPEN: Final[tuple[Pattern, ...]] = (
    ("providers", "*", "timeouts"),
    ("providers", "*", "transport"),
    ("providers", "*", "routing"),
    ("providers", "*", "gpu_hour_usd"),
    ("providers", "*", "pool", "replicas"),
)
# Its own rules, whatever it says.
_NEVER: Final[Pattern] = ("admin",)

Problem = tuple[tuple[int, int], str]


def refused(before: Document, after: Document, editable: Sequence[str], environment: Sequence[str]) -> list[Problem]:
    """Returns (line, column) and words for each change that the operator's file does not allow over HTTP.

    `before` is what serves. `editable` are the paths that its `admin.editable` opens (`providers.*.base_url`),
    `environment` the variables that it lists. The places are those of `after`, or of what is left around what went.
    """
    allowed = [tuple(path.split(".")) for path in editable]
    found: list[Problem] = []
    for path in _changes(before.root, after.root, ()):
        if _starts(path, _NEVER):
            found.append((after.place(*path), f"{told(path)} is changed in the file alone"))
        elif _is_protected(path) and not any(_starts(path, pattern) for pattern in allowed):
            found.append(
                (
                    after.place(*path),
                    f"{told(path)} is changed in the file alone, unless its `admin.editable` lists it",
                )
            )
    found += _foreign_names(before, after, frozenset(environment))
    return sorted(set(found))


def _is_protected(path: Path) -> bool:
    if any(_starts(path, pattern) for pattern in _OPEN):
        return False
    return any(_starts(path, pattern) for pattern in PROTECTED)


def _starts(path: Path, pattern: Pattern) -> bool:
    return len(path) >= len(pattern) and all(step in ("*", own) for step, own in zip(pattern, path, strict=False))


def _changes(before: Node | None, after: Node | None, path: Path) -> Iterator[Path]:
    """Yields the paths of what differs, as deep down as both are collections, down to each leaf of what is new.

    A provider or a deployment that goes, goes as a whole: what it said cannot harm any more.
    """
    old, new = (None if node is None else node.value for node in (before, after))
    if before is not None and after is None and len(path) == 2 and path[0] in ("providers", "deployments"):
        return
    olds, news = _members(old), _members(new)
    if olds or news:
        for step in olds | news:
            yield from _changes(olds.get(step), news.get(step), (*path, step))
    scalars = [value for value in (old, new) if not isinstance(value, (dict, list))]
    if (olds or news) and not any(value is not None for value in scalars):
        return  # all is said of the members
    if (before is None) is not (after is None) or type(old) is not type(new) or (scalars and old != new):
        yield path


def _members(value: object) -> dict[str | int, Node]:
    return value if isinstance(value, dict) else dict(enumerate(value)) if isinstance(value, list) else {}


def _foreign_names(before: Document, after: Document, listed: frozenset[str]) -> Iterator[Problem]:
    """Yields each `${NAME}` that the operator's file neither uses nor lists.

    What it uses as a secret alone stays one: elsewhere its value would be seen.
    """
    used: dict[str, bool] = {}  # name -> whether it also stands where no secret does
    for name, path in references(before.root):
        used[name] = used.get(name, False) or not is_secret(path)
    for name, path in references(after.root):
        if name in listed or used.get(name) or (name in used and is_secret(path)):
            continue
        why = "a secret of another place" if name in used else "not used or listed by the operator's file"
        yield after.place(*path), f"{told(path)} names ${{{name}}}, which is {why} (`admin.environment`)"
