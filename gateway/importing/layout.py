"""A draft -> the text of a config: sections with headings, remarks beside what they are about."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.importing.draft import Data, Draft, Entry
from gateway.importing.report import Line

_WIDTH: Final = 120
_COLUMN: Final = 40  # where remarks begin
_PLAIN: Final = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*|[0-9]+(ms|s|m|h|d|MiB)|[0-9]+(\.[0-9]+){3}:[0-9]+"
)
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_MOST_LOST: Final = 60

_ONE_LEVEL: Final = (
    "LiteLLM knows no levels: here every call has the same, and may go anywhere. docs/policies.md shows what more "
    "there is: levels, detectors of personal data, and guarantees about where a call may go."
)
_SENSITIVITY: Final[dict[str, Data]] = {
    "levels": ["public"],
    "clearance": {"unknown": "public", "self_hosted": "public"},
}


def text_of(draft: Draft, source: str, lost: Sequence[Line]) -> str:
    """Writes the whole config."""
    parts = [
        _comment(
            f"Headgate's config, made of {source.rpartition('/')[2]} by `headgate import litellm`. Remarks name the "
            "line there that a value is from; what was not taken over stands at the end. `headgate check` reads this "
            "file without serving it. Every key and its default: docs/config.md."
        ),
        _section("server", {"listen": draft.listen} | ({"max_body": draft.max_body} if draft.max_body else {})),
        _remarked(f"auth: {draft.auth}", draft.auth_remark) + "\n",
    ]
    if draft.teams:
        parts.append(_section("teams", draft.teams))
    parts.append(_heading("Where calls can go"))
    parts.append(_entries("providers", draft.providers))
    parts.append(_heading("Models at places"))
    parts.append(_entries("deployments", draft.deployments) + _wildcards(draft.wildcards))
    if draft.unknown_price:
        names = ", ".join(draft.unpriced)
        parts.append(
            _comment(
                f"The prices of these are unknown: {names}. LiteLLM counts them as nothing; here a ceiling is charged "
                "until you write `price: {input: …, output: …}` at them, or `price: free`."
            )
            + _section("unknown_price", draft.unknown_price)
        )
    parts.append(_heading("How sensitive a call is") + _comment(_ONE_LEVEL) + _section("sensitivity", _SENSITIVITY))
    parts.append(_heading("Where each model's calls go"))
    parts.append(_routes(draft.routes))
    parts.append(_heading("The rest"))
    parts.append(_section("cache", draft.cache, draft.cache_remark))
    for name in ("limits", "breakers", "shared", "telemetry"):
        section: dict[str, Data] = getattr(draft, name)
        if section:
            parts.append(_section(name, section))
    if lost:
        parts.append(_heading("Not taken over") + _lost(lost))
    return "\n".join(parts)


def scalar(value: str | int | float | bool | None) -> str:
    """Writes a scalar so that it is read as what it is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS and len(value) < 80:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _flow(value: Data) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return scalar(value)


def _block(value: Mapping[str, Data], indent: int) -> list[str]:
    lines = []
    for key, each in value.items():
        begin = " " * indent + scalar(key) + ":"
        flow = f"{begin} {_flow(each)}"
        if isinstance(each, dict) and each and len(flow) > _WIDTH:
            lines += [begin, *_block(each, indent + 2)]
        elif isinstance(each, list) and len(flow) > _WIDTH:
            lines += [begin, *(" " * (indent + 2) + "- " + _flow(item) for item in each)]
        else:
            lines.append(flow)
    return lines


def _section(name: str, value: Mapping[str, Data], remark: str = "") -> str:
    return "\n".join([_remarked(f"{name}:", remark), *_block(value, 2)]) + "\n"


def _entries(name: str, entries: Mapping[str, Entry]) -> str:
    if not entries:
        return f"{name}: {{}}\n"
    lines = [f"{name}:"]
    for key, entry in entries.items():
        lines += [_remarked(f"  {scalar(key)}:", entry.remark), *_block(entry.body, 4)]
    return "\n".join(lines) + "\n"


def _routes(routes: Iterable[Entry]) -> str:
    lines = ["policies:", "  routes:"]
    for entry in routes:
        first, *rest = _block(entry.body, 6)
        lines += [_remarked("    - " + first.lstrip(), entry.remark), *rest]
    return "\n".join(lines if len(lines) > 2 else ["policies: {}"]) + "\n"


def _wildcards(wildcards: Sequence[str]) -> str:
    if not wildcards:
        return ""
    told = [f"  # {_on_one_line(each)}" for each in wildcards]
    return (
        "\n".join(["  # Models that LiteLLM passed through by a pattern: write each that you use, such as", *told])
        + "\n"
    )


def _lost(lines: Sequence[Line]) -> str:
    told = [f"line {line.at.rsplit(':', 2)[1]}: {line.key}: {line.why}" for line in lines[:_MOST_LOST]]
    if len(lines) > _MOST_LOST:
        told.append(f"… and {len(lines) - _MOST_LOST} more, in the report")
    return "".join(_comment(each, "  ") for each in told)


def _heading(text: str) -> str:
    return f"# -- {text} {'-' * (_WIDTH - 6 - len(text))}\n"


def _comment(text: str, hanging: str = "") -> str:
    """Writes a comment over as many lines as it takes; nothing in it can end a line of its own."""
    lines = textwrap.wrap(_on_one_line(text), _WIDTH - 2, subsequent_indent=hanging)
    return "".join(f"# {line}\n" for line in lines)


def _on_one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _remarked(line: str, remark: str) -> str:
    return f"{line:<{_COLUMN}} # {remark}" if remark else line
