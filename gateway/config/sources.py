"""Nodes -> plain data: `${NAME}` from the environment, `{file: path}` from disk, credentials as `Secret`s."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Final

from gateway.config.document import Document, Node, Path
from gateway.config.secret import Secret

Data = str | int | float | bool | None | Secret | list["Data"] | dict[str, "Data"]

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUES: Final = 500_000  # a thousand deployments and five hundred rules are 20,000; aliases of aliases have no bound
_CREDENTIALS: Final = (
    "api_key",
    "api_keys",
    "client_secret",
    "credentials",
    "access_token",
    "access_key_id",
    "secret_access_key",
    "session_token",
)
_SECRETS: Final = (*_CREDENTIALS, "headers", "proxy")


class Sources:
    """Turns a document into data, once, and gathers what it met: problems, warnings, the secret files it read."""

    def __init__(self, document: Document, environ: Mapping[str, str], folder: FilePath) -> None:
        self.problems: list[tuple[Path, str]] = []
        self.warnings: list[tuple[Path, str]] = []
        self.files: list[FilePath] = []
        self.expanded: dict[Path, tuple[str, str]] = {}  # path -> (as written, value), where the environment spoke
        self._environ = environ
        self._folder = folder
        self._left = _VALUES
        self.data = self._value(document.root, ())

    def scrubbed(self, path: Path, message: str) -> str:
        """Returns the message with what came from the environment at this path written as its reference."""
        written, value = self.expanded.get(path, ("", ""))
        return message.replace(value, written) if value else message

    def _value(self, node: Node, path: Path) -> Data:
        self._left -= 1
        if self._left <= 0:
            if self._left == 0:
                self.problems.append((path, f"aliases make this config longer than {_VALUES} values"))
            return None
        value = node.value
        if is_secret(path) and (isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"file"})):
            return self._secret(value, path)
        if isinstance(value, dict):
            return {key: self._value(child, (*path, key)) for key, child in value.items()}
        if isinstance(value, list):
            return [self._value(child, (*path, index)) for index, child in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            missing: list[str] = []
            text = self._expand(value, path, missing)
            self.problems.extend((path, f"the environment variable {name} is not set") for name in missing)
            self.expanded[path] = value, text
            return text
        return value

    def _secret(self, value: str | dict[str, Node], path: Path) -> Secret:
        credential = _is_credential(path)
        missing: list[str] = []
        if isinstance(value, dict):
            secret = self._from_file(value["file"], path)
        elif "${" not in value:
            if credential:
                self.warnings.append((path, "a credential stands here in clear: prefer ${NAME} or {file: path}"))
            secret = Secret(value)
        else:
            text = self._expand(value, path, missing).strip()
            secret = Secret(None if missing or not text else text, value)
            if not credential:
                self.problems.extend((path, f"the environment variable {name} is not set") for name in missing)
        # An identity's JSON is for its issuer alone, and has lines; variables go to a process.
        sent = path[0] == "providers" and path[2] not in ("credentials", "pool")
        if secret.present and sent and not _fits_a_header(secret.reveal()):
            self.problems.append((path, "this holds a character that cannot go into a header"))
        return secret

    def _from_file(self, node: Node, path: Path) -> Secret:
        if not isinstance(node.value, str) or not node.value:
            self.problems.append(((*path, "file"), "the path of a file is wanted"))
            return Secret(None, "file")
        missing: list[str] = []
        written = self._expand(node.value, path, missing)
        self.problems.extend((path, f"the environment variable {name} is not set") for name in missing)
        source = f"file {node.value}"
        if missing:
            return Secret(None, source)
        file = self._folder / written
        self.files.append(file)
        try:
            text = file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            if not _is_credential(path):
                self.problems.append((path, f"{node.value} does not exist"))
            return Secret(None, source)
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self.problems.append((path, f"{node.value} cannot be read: {why}"))
            return Secret(None, source)
        return Secret(text or None, source)

    def _expand(self, text: str, path: Path, missing: list[str]) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            name = match[1]
            if not match[0].endswith("}") or not _VARIABLE.fullmatch(name):
                self.problems.append(
                    (path, "${…} takes the name of an environment variable; write $${ for the text itself")
                )
                return match[0]
            value = self._environ.get(name)
            if value is None:
                missing.append(name)
                return match[0]
            return value

        return _REFERENCE.sub(replace, text)


def references(node: Node, path: Path = ()) -> Iterator[tuple[str, Path]]:
    """Yields the name of each environment variable that a document's values refer to, with the value's path."""
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from references(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from references(child, (*path, index))
    elif isinstance(node.value, str):
        for match in _REFERENCE.finditer(node.value):
            if match[0] != "$${":
                yield match[1], path


def is_secret(path: Path) -> bool:
    """Says whether a secret may stand here; a test holds this against the models."""
    if path in (("shared", "url"), ("store", "url"), ("notify", "webhook"), ("notify", "secret")):
        return True
    if len(path) == 5 and path[0] == "providers" and path[2:4] == ("pool", "env"):
        return True
    if len(path) < 3 or path[0] != "providers" or path[2] not in _SECRETS:
        return False
    return len(path) == (4 if path[2] in ("api_keys", "headers") else 3)


def _is_credential(path: Path) -> bool:
    """Says whether a secret may be absent here, so that its provider is disabled."""
    return path[0] == "providers" and path[2] in _CREDENTIALS


def _fits_a_header(text: str) -> bool:
    return all(" " <= character <= "~" for character in text)
