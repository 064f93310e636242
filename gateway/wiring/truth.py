"""Which config is to serve: the newest revision of the store, and when a file's text becomes the next one.

A file that somebody has changed does. One that merely lags behind does not: an admin's edit could not be written to
it, or another gateway made it. What tells the two apart is the hash of what this gateway's file held when it was last
read or written, which the store keeps by host and path. A file never seen before, in a new container, counts as changed
where no revision has its text, or where the newest revision was a file, too.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
import time
from pathlib import Path
from typing import Final

import msgspec

from gateway.config.load import text_of
from gateway.config.shown import restored, shown
from gateway.config.writeback import digest, like, write_back
from gateway.core.errors import ConfigError
from gateway.state.protocols import Store, StoreUnavailable
from gateway.state.revisions import Origin, RevisionRow

REVISION: Final = "revision "  # what problems of a revision begin with
UNNUMBERED: Final = 0  # of a config that serves while the store is away


class Current(msgspec.Struct, frozen=True):
    """A config's bytes, the revision that it is, and what problems call it. `is_new`: it is still to become one."""

    content: bytes
    number: int
    name: str
    is_new: bool = False

    @property
    def hash(self) -> str:
        """The SHA-256 of the bytes."""
        return digest(self.content)


class Truth:
    """Reads and writes both places of a config, its file and the store; blocks."""

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self._store = store
        self._place = f"{socket.gethostname()}:{os.path.realpath(path)}"
        self._seen: str | None = None  # the hash of what the file held last

    def current(self, serving: Current | None) -> Current:
        """Returns what is to serve; raises ConfigError, and StoreUnavailable where nothing serves yet.

        While the store is away a changed file serves without a number, and anything else stays as it is.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise ConfigError([f"{self.path}: {error.strerror}"]) from None
        try:
            return self._judged(content, serving)
        except StoreUnavailable:
            if serving is None:
                raise
            if digest(content) in (self._seen, serving.hash):
                return serving
            return Current(content, UNNUMBERED, str(self.path), is_new=True)

    def newest(self, own: Current) -> Current:
        """Returns the newest revision with the secrets of what serves here; raises ConfigError where one is missing."""
        row = self._store.revision()
        return own if row is None else self.of(row, own.content)

    def newest_row(self) -> RevisionRow | None:
        """Returns the newest revision as the store has it."""
        return self._store.revision()

    def newest_number(self) -> int:
        """Returns the newest revision's number."""
        return self._store.newest_number()

    def of(self, row: RevisionRow, own: bytes) -> Current:
        """Returns a revision as it would serve here; raises ConfigError where a secret of it is missing."""
        name = f"{REVISION}{row.number}"
        text = restored(row.text, text_of(own, str(self.path)), name)
        return Current(like(text, own), row.number, name)

    def record(self, config: Current, author: str, origin: Origin, note: str) -> bool:
        """Makes a config the newest revision; returns False where another one has taken its number."""
        row = RevisionRow(
            config.number, time.time(), author, origin, note, config.hash, shown(text_of(config.content, config.name))
        )
        return self._store.add_revision(row)

    def imported(self, config: Current) -> bool:
        """Makes the file's new text the newest revision; its author is whom the file belongs to."""
        made = self.record(config, self._owner(), "file", "")
        if made:
            self.saw(config.hash)
        return made

    def write(self, config: Current) -> str | None:
        """Writes a config to its file; returns why that was not done, or None."""
        why = write_back(self.path, config.content, self._seen)
        if why is None:
            self.saw(config.hash)
        return why

    def saw(self, hash: str) -> None:
        """Notes what the file holds now."""
        if hash != self._seen:
            self._seen = hash
            with contextlib.suppress(StoreUnavailable):  # a restart would then look at the revisions' hashes
                self._store.keep_file_hash(self._place, hash)

    def _judged(self, content: bytes, serving: Current | None) -> Current:
        hashed = digest(content)
        newest = self._store.revision()
        if newest is None:
            return Current(content, 1, str(self.path), is_new=True)
        if hashed == newest.hash:
            self.saw(hashed)
            return Current(content, newest.number, str(self.path))
        if self._has_changed(hashed, newest):
            return Current(content, newest.number + 1, str(self.path), is_new=True)
        self.saw(hashed)
        return self.of(newest, serving.content if serving is not None else content)

    def _has_changed(self, hash: str, newest: RevisionRow) -> bool:
        seen = self._seen or self._store.file_hash(self._place)
        if seen is not None:
            return hash != seen
        return newest.origin == "file" or not self._store.knows_config(hash)

    def _owner(self) -> str:
        try:
            return pwd.getpwuid(self.path.stat().st_uid).pw_name
        except (OSError, KeyError):
            return "the file's owner"
