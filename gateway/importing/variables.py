"""What an imported config reads of the environment. No secret leaves it in clear: each becomes a `${NAME}`."""

from __future__ import annotations

import re
from typing import Final

from gateway.importing.given import Given
from gateway.importing.report import Variable

_ENVIRON: Final = "os.environ/"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What people write where a key is wanted and none is needed.
NO_KEY: Final = frozenset({"", "none", "null", "empty", "dummy", "fake", "fake-key", "no-key", "anything"})


class Variables:
    """The variables that are read, by name; literals that are secrets get names of their own."""

    def __init__(self, given: Given) -> None:
        self.read: dict[str, Variable] = {}
        self.stand_ins: dict[str, str] = {}  # what a dry run puts where one that is needed is not set
        self._literals: dict[str, str] = {}  # secret -> its variable
        self._taken = {
            leaf.value.removeprefix(_ENVIRON)
            for leaf in given.leaves()
            if isinstance(leaf.value, str) and leaf.value.startswith(_ENVIRON)
        }

    def secret(self, given: Given, hint: str, needed: bool = False) -> str:
        """Returns how a credential is written here; a literal's variable is named after `hint`."""
        named = _named(given)
        if named is not None:
            return self.variable(named, needed)
        literal = str(given.value)
        name = self._literals.get(literal)
        if name is None:
            name = self._literals[literal] = self._free(hint)
            self.read[name] = Variable(name, needed, f"put the value of {given.at} there; it was not copied")
            if needed:
                self.stand_ins[name] = "unset"
        return f"${{{name}}}"

    def plain(self, given: Given, stand_in: str = "unset") -> str:
        """Returns how a value that is no secret is written here: a variable stays one, a literal stays as it is."""
        named = _named(given)
        if named is not None:
            return self.variable(named, True, stand_in)
        return str(given.value).replace("${", "$${")

    def variable(self, name: str, needed: bool = False, stand_in: str = "unset") -> str:
        """Returns the reference to a variable, and remembers that it is read."""
        known = self.read.get(name)
        if known is None or (needed and not known.needed):
            self.read[name] = Variable(name, needed, known.instruction if known is not None else None)
        if needed:
            self.stand_ins[name] = stand_in
        return f"${{{name}}}"

    def invented(self, hint: str, instruction: str, stand_in: str) -> str:
        """Returns the reference to a variable that stands for what could not be read."""
        name = self._free(hint)
        self.read[name] = Variable(name, True, instruction)
        self.stand_ins[name] = stand_in
        return f"${{{name}}}"

    def _free(self, hint: str) -> str:
        base = re.sub(r"[^A-Z0-9]+", "_", hint.upper()).strip("_") or "SECRET"
        base = f"_{base}" if base[0].isdigit() else base
        name, count = base, 1
        while name in self.read or name in self._taken:
            count += 1
            name = f"{base}_{count}"
        return name


def is_variable(given: Given) -> bool:
    """Says whether a value is read from the environment (`os.environ/NAME`)."""
    return _named(given) is not None


def _named(given: Given) -> str | None:
    text = given.text
    if text is None or not text.startswith(_ENVIRON):
        return None
    name = text.removeprefix(_ENVIRON)
    return name if _NAME.fullmatch(name) else None
