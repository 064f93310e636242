"""Writes docs/config.md from the models, so that every key, type and default in it is the one that serves."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config.models import Config
from gateway.config.secret import Secret
from gateway.config.section import Section
from gateway.config.units import Unit, write_duration, write_size

_HEAD: Final = """\
# Config reference

<!-- Written by gateway/config/reference.py. -->

`config.yaml` is YAML 1.2 in UTF-8. Unknown and duplicate keys are refused, with file, line and column. `${NAME}` in
any text is the environment variable's value (`$${` is the text itself); a secret can be `{file: path}`, relative to
the config's folder. Durations and sizes carry their unit (`800ms`, `30s`, `5m`, `24h`, `7d`; `64KiB`, `32MiB`, `1GB`),
money is text in dollars (`"0.25"`). `headgate check` reads a config without serving it.
"""

_PLAIN: Final = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Secret: "secret"}


def markdown() -> str:
    """Returns the page."""
    parts = [_HEAD]
    for path, section in _sections("", Config):
        parts.append(f"## {f'`{path}`' if path else 'The sections'}\n\n{_doc(section)}\n\n{_table(section)}\n")
    return "\n".join(parts)


def _sections(path: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    yield path, section
    for name, field in section.model_fields.items():
        inner, suffix = _inner(field.annotation)
        if inner is not None:
            key = field.alias or name
            yield from _sections(f"{path}.{key}{suffix}" if path else f"{key}{suffix}", inner)


def _inner(annotation: Any) -> tuple[type[Section] | None, str]:
    """Finds the section within a type, and how a path writes the step into it."""
    annotation, _ = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, ""
    if get_origin(annotation) in (list, dict):
        inner, suffix = _inner(get_args(annotation)[-1])
        return inner, (".*" if get_origin(annotation) is dict else "[]") + suffix
    return None, ""


def _table(section: type[Section]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        label = _label(field.annotation, field.metadata)
        lines.append(f"| `{field.alias or name}` | {label} | {_default(field)} | {field.description} |")
    return "\n".join(lines)


def _label(annotation: Any, metadata: list[Any]) -> str:
    bare, inner_metadata = _bare(annotation)
    for note in (*metadata, *inner_metadata):
        if isinstance(note, Unit):
            return note.label
    origin, parts = get_origin(bare), get_args(bare)
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in parts)
    if origin in (Union, UnionType):
        return " or ".join(_label(part, []) for part in parts if part is not type(None))
    if origin is list:
        return f"list of {_label(parts[0], [])}"
    if origin is dict:
        return f"{_label(parts[0], [])}: {_label(parts[1], [])}"
    if isinstance(bare, type) and issubclass(bare, Section):
        return "section"
    return _PLAIN[bare]


def _bare(annotation: Any) -> tuple[Any, list[Any]]:
    """Takes `Annotated` and `| None` off a type; returns what `Annotated` said, too."""
    notes: list[Any] = []
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *found = get_args(annotation)
            notes.extend(found)
        elif get_origin(annotation) in (Union, UnionType):
            parts = [part for part in get_args(annotation) if part is not type(None)]
            if len(parts) > 1:
                return annotation, notes
            annotation = parts[0]
        else:
            return annotation, notes


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, Section) or value in ([], {}):
        return "–"
    if isinstance(value, Secret):
        return f"`{value.source}`"
    label = _label(field.annotation, field.metadata)
    if label == "duration":
        return f"`{write_duration(value)}`"
    if label == "size":
        return f"`{write_size(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(value)}]`"
    return f"`{value:f}`" if isinstance(value, Decimal) else f"`{value}`"


def _doc(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split())


if __name__ == "__main__":
    print(markdown(), end="")
