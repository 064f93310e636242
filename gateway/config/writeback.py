"""Puts a config's new text into its file: whole or not at all, with the file's mode and owner."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path


def digest(content: bytes) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def like(text: str, origin: bytes) -> bytes:
    """Returns a text as bytes, with the line ends and the byte order mark of what it was made from.

    Browsers hand on `\\n` alone, whatever they were given.
    """
    if b"\r\n" in origin and "\r\n" not in text:
        text = text.replace("\n", "\r\n")
    mark = b"\xef\xbb\xbf"
    return (mark if origin.startswith(mark) else b"") + text.removeprefix("\ufeff").encode()


def write_back(path: Path, content: bytes, standing: str | None) -> str | None:
    """Replaces a file that still holds what has the hash `standing`; returns why it was left as it is, or None.

    Symbolic links stay: the file that they lead to is replaced.
    """
    real = Path(os.path.realpath(path))
    try:
        now = real.read_bytes()
        if now == content:
            return None
        if digest(now) != standing:
            return "it has changed meanwhile"
        status = real.stat()
        if not status.st_mode & 0o222:
            return "it is read-only"
        _replace(real, content, status)
    except OSError as error:
        return error.strerror or "it cannot be written"
    return None


def _replace(path: Path, content: bytes, status: os.stat_result) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if (os.geteuid(), os.getegid()) != (status.st_uid, status.st_gid):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, status.st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
