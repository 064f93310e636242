"""What a request asks, whoever's wire it is written in: the values that requests are compared in.

Nothing here or in `askers` calls what is tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.corpus.reading import Called

SEARCHES = {"web_search", "web_search_preview", "googleSearch", "google_search"}
NEUTRAL = {"frequency_penalty": 0, "presence_penalty": 0, "top_p": 1}


@dataclass
class Asked:
    """A request: what was said, in order and by whom; what is offered; how it is to be answered."""

    texts: list[tuple[str, str]] = field(default_factory=list)  # role, text
    calls: list[Called] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)  # text, or a JSON value
    media: list[str] = field(default_factory=list)  # base64, or a URL
    thoughts: list[tuple[str, str]] = field(default_factory=list)  # text, signature
    opaque: list[str] = field(default_factory=list)  # the types of what only its provider knows
    tools: dict[str, Any] = field(default_factory=dict)  # name -> schema
    native: list[str] = field(default_factory=list)  # the types of tools that a provider runs
    settings: dict[str, Any] = field(default_factory=dict)

    def say(self, role: str, text: Any) -> None:
        if isinstance(text, str) and text.strip():
            self.texts.append((role, text))

    def set(self, name: str, value: Any) -> None:
        """Notes a setting that was set to something else than what holds without it."""
        if value not in (None, [], {}, -1) and value != NEUTRAL.get(name):
            self.settings[name] = value

    @property
    def said(self) -> str:
        """All text, less its white space, which providers join and trim in their own ways."""
        return squeezed("".join(text for _, text in self.texts))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def missing(asked: Asked, sent: Asked) -> Iterator[tuple[str, str]]:
    """Yields what of a request is not in what was sent for it: the field's name, and what is missing."""
    place = 0
    whole = sent.said
    for _, text in asked.texts:
        found = whole.find(squeezed(text), place)
        if found < 0:
            yield "messages", f"text {text[:60]!r}"
        else:
            place = found
    if [safe(call) for call in sent.calls] != [safe(call) for call in asked.calls]:
        yield "messages", f"calls {asked.calls} became {sent.calls}"
    if len(asked.results) != len(sent.results):
        yield "messages", f"{len(asked.results)} results became {len(sent.results)}"
    for result, other in zip(asked.results, sent.results, strict=False):
        beside = isinstance(result, str) and squeezed(result) in whole  # where results hold no files
        if not same(result, other) and not beside:
            yield "messages", f"result {str(result)[:60]!r} became {str(other)[:60]!r}"
    for medium in asked.media:
        if medium not in sent.media:
            yield "messages", f"medium {medium[:60]!r}"
    if sent.media and len(asked.media) < len(sent.media):
        yield "messages", "media out of nothing"
    thought = squeezed("".join(text for text, _ in sent.thoughts))
    signatures = {signature for _, signature in sent.thoughts}
    for text, signature in asked.thoughts:
        if squeezed(text) not in thought or (signature and signature not in signatures):
            yield "thinking", f"thought {text[:40]!r} {signature[:20]!r}"
    for kind in asked.opaque:
        if kind not in sent.opaque:
            yield "opaque", kind
    if len(asked.tools) != len([name for name in sent.tools if name in map(name_of, asked.tools)]):
        yield "tools", f"tools {sorted(asked.tools)} became {sorted(sent.tools)}"
    for name, schema in asked.tools.items():
        if set(fields_of(schema)) != set(fields_of(sent.tools.get(name_of(name)))) and name_of(name) in sent.tools:
            yield "tools", f"schema of {name}"
    for kind in asked.native:
        if kind not in sent.native and not {kind, *sent.native} <= SEARCHES:
            yield "tools", f"the provider's tool {kind}"
    form = asked.settings.get("response_format")
    if form and len(sent.tools) == len(asked.tools) + 1 and sent.settings.get("tool_choice"):
        # A provider without a form of answers is made to call a tool whose input is the answer.
        sent.settings |= {"response_format": form, "tool_choice": asked.settings.get("tool_choice")}
    if form == "json_object" and sent.settings.get("response_format") == "json_schema":
        sent.settings["response_format"] = form
    if len(asked.tools) == 1 == len(sent.tools) and {"tool_choice"} <= asked.settings.keys() & sent.settings.keys():
        chosen = (asked.settings["tool_choice"], sent.settings["tool_choice"])
        if "none" not in chosen and {"required", *asked.tools, *sent.tools} >= set(chosen):
            sent.settings["tool_choice"] = asked.settings["tool_choice"]  # to call any of one tool is to call it
    for name, value in asked.settings.items():
        if name == "parallel_tool_calls" and len(asked.tools) == 1:
            continue  # of one tool there is little that could be called at once
        if sent.settings.get(name) != value:
            yield name, f"{value!r} became {sent.settings.get(name)!r}"


def safe(call: Called) -> Called:
    return Called(name_of(call.name), call.arguments)


def name_of(name: str) -> str:
    """Returns a name as far as all providers allow it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)[:60]


def same(result: Any, other: Any) -> bool:
    """Whether a tool's result is the same as text, as JSON, or as an object around one of them."""
    if result == other:
        return True
    one, two = as_json(result), as_json(other)
    if one == two:
        return True
    if isinstance(two, dict) and len(two) == 1:
        return same(result, next(iter(two.values())))
    if isinstance(one, str) and isinstance(two, str):
        return squeezed(one) == squeezed(two) or (not one.strip() and len(two) < 40)
    return isinstance(two, str) and isinstance(result, str) and squeezed(result) == squeezed(two)


def as_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def fields_of(schema: Any) -> Iterable[str]:
    """Returns the names of the fields that a schema speaks of on its first level."""
    return (schema.get("properties") or {}) if isinstance(schema, dict) else ()


def medium(url: str) -> str:
    """Returns a medium's base64, or its URL."""
    return url.partition("base64,")[2] if url.startswith("data:") else url
