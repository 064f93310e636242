"""A config file -> a checked `Config`, or every problem in it at once as `file:line:column: what is wrong`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path as FilePath
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config import checks
from gateway.config.document import Document, Path, parse
from gateway.config.findings import meant
from gateway.config.models import Config
from gateway.config.providers import Kind
from gateway.config.sources import Data, Sources
from gateway.core.errors import ConfigError

# Words of the full vocabulary that this version cannot honour: better refused than read and ignored.
LATER: Final = (
    "rescue",
    "hedge",
    "redact",
    "shadow",
    "priority",
    "prefill",
)

_TYPES: Final[Mapping[str, str]] = {
    "string_type": "text is wanted",
    "bool_type": "true or false is wanted",
    "int_type": "a whole number is wanted",
    "float_type": "a number is wanted",
    "list_type": "a list is wanted",
    "dict_type": "a mapping is wanted",
    "model_type": "a mapping is wanted",
    "finite_number": "a finite number is wanted",
}


class Loaded:
    """A config that can serve, and what was met on the way to it.

    `hash` is the SHA-256 of the file's bytes, in hexadecimal. `files` are those that a reload depends on, secrets
    and certificates included. `disabled` says, by provider, why it is never called ("no key: ${OPENAI_API_KEY} has no
    value").
    """

    def __init__(
        self,
        config: Config,
        document: Document,
        warnings: tuple[str, ...],
        hash: str,
        files: tuple[FilePath, ...],
        disabled: Mapping[str, str],
    ) -> None:
        self.config = config
        self.warnings = warnings
        self.hash = hash
        self.files = files
        self.disabled = disabled
        self.document = document

    @property
    def folder(self) -> FilePath:
        """Where the config stands; relative paths of secrets and certificates begin there."""
        return self.files[0].parent

    def at(self, *path: str | int) -> str:
        """Returns `file:line:column` of the value at a path of the file, or of its nearest parent that is written."""
        return self.document.at(*path)


def load(path: FilePath, environ: Mapping[str, str], kinds: Mapping[str, Kind], detectors: Collection[str]) -> Loaded:
    """Reads and checks a file; raises ConfigError with every problem found."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    return read(content, path, environ, kinds, detectors)


def text_of(content: bytes, name: str) -> str:
    """Returns a config's text; raises ConfigError where it is none."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{name}:{line}:1: this is not UTF-8"]) from None


def read(
    content: bytes,
    path: FilePath,
    environ: Mapping[str, str],
    kinds: Mapping[str, Kind],
    detectors: Collection[str],
    name: str | None = None,
) -> Loaded:
    """Checks a config's text as if it stood at `path`; raises ConfigError with every problem found.

    `name` is what problems call it by, where that is not the path.
    """
    name = name or str(path)
    document = parse(text_of(content, name), name)
    sources = Sources(document, environ, path.parent)
    found = [(place, message, False) for place, message in sources.problems]
    known = {place for place, _ in sources.problems}
    config, refused = _validate(sources.data)
    found.extend(problem for problem in refused if problem[0] not in known)
    if config is not None:
        checked = checks.problems(config, kinds, detectors)
        found.extend((place, message, False) for place, message in checked if place not in known)
    if config is None or found:
        located = [(document.place(*place, key=key), sources.scrubbed(place, message)) for place, message, key in found]
        raise ConfigError([f"{name}:{line}:{column}: {message}" for (line, column), message in sorted(located)])
    warnings = [*sources.warnings, *checks.warnings(config, kinds)]
    reasons = {name: provider.no_key(kinds[provider.kind]) for name, provider in config.providers.items()}
    return Loaded(
        config,
        document,
        tuple(f"{document.at(*place)}: {message}" for place, message in warnings),
        hashlib.sha256(content).hexdigest(),
        (path, *sources.files, *_tls_files(config, path.parent)),
        {name: reason for name, reason in reasons.items() if reason is not None},
    )


def _tls_files(config: Config, folder: FilePath) -> list[FilePath]:
    return [folder / file for provider in config.providers.values() for file in provider.tls_files if file is not None]


def _validate(data: Data) -> tuple[Config | None, list[tuple[Path, str, bool]]]:
    if isinstance(data, dict):
        data = {key: value for key, value in data.items() if value is not None}  # an empty section means its defaults
    try:
        return Config.model_validate(data), []
    except ValidationError as error:
        return None, [_explain(detail) for detail in error.errors(include_url=False)]


def _explain(detail: ErrorDetails) -> tuple[Path, str, bool]:
    """Says a validation error in our words: where, what, and whether the key rather than the value is meant."""
    path, kind, context = detail["loc"], detail["type"], detail.get("ctx", {})
    if path and path[-1] == "[key]":
        return path[:-1], str(context.get("error", detail["msg"])), True
    if kind == "extra_forbidden":
        word = str(path[-1])
        if word in LATER:
            return path, f"`{word}` comes with a later version", True
        known = _keys_at(path[:-1])
        return path, f"there is no key {word!r} here{meant(word, known) or _listed(known)}", True
    if kind == "missing":
        return path[:-1], f"{path[-1]} is required", False
    if kind == "literal_error":
        words = context["expected"].replace("'", "")
        given = detail["input"]
        near = meant(given, words.replace(" or ", ", ").split(", ")) if isinstance(given, str) else ""
        what = f"{given!r} is" if isinstance(given, str) else "this is"
        return path, f"{what} not one of: {words.replace(' or ', ', ')}{near}", False
    if kind == "value_error":
        return path, str(context["error"]), False
    if kind == "too_short":
        return path, "this must not be empty", False
    message = _TYPES.get(kind)
    if message is None:
        message = detail["msg"].replace("Input should be", "this must be")
    elif kind == "string_type" and isinstance(detail["input"], bool | int | float):
        message += ": put it in quotes"
    return path, message, False


def _listed(words: list[str]) -> str:
    return f": {', '.join(words)}" if words else ""


def _keys_at(path: Path) -> list[str]:
    """Returns the keys that the section at a path of the config takes."""
    annotation: Any = Config
    for step in path:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = next(
                (field.annotation for name, field in annotation.model_fields.items() if step in (name, field.alias)),
                None,
            )
        else:
            annotation = next(iter(get_args(annotation)[-1:]), None)
    annotation = _bare(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [field.alias or name for name, field in annotation.model_fields.items()]
    return []


def _bare(annotation: Any) -> Any:
    """Takes `Annotated` and `| None` off a type."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation
