"""Reads a form (`multipart/form-data`, RFC 7578 and RFC 2046) as it comes, and lets its bytes go on.

Sans-IO. The form is passed on to a provider that parses it anew, so what two parsers could read differently is
refused, not guessed at: a boundary that ends in anything but CRLF, a part without a name, a name with escapes in it.
The one field that routing replaces, `model`, may stand once; everything else goes on as the bytes that came.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from gateway.core.errors import BadRequest, TooLarge

MAX_HEAD_BYTES: Final = 8 * 1024  # of one part
MAX_FIELD_BYTES: Final = 1024 * 1024  # of one field without a file; OpenAI's longest prompt has 32,000 characters
MAX_PARTS: Final = 256
MODEL: Final = "model"
# What routing and answering depend on: where one of them stands twice, two readers may take either.
_ONCE: Final = frozenset({MODEL, "stream", "response_format", "n", "user"})
_ROUTED: Final = frozenset({MODEL, "stream", "user"})

_BOUNDARY: Final = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046, 5.1.1
_PARAMETER: Final = re.compile(rb';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\\r\n]|\\.)*"|[^\s;"\\]+)[ \t]*')
_ENCODINGS: Final = frozenset({b"7bit", b"8bit", b"binary"})

_PREAMBLE, _HEAD, _FIELD, _FILE, _EPILOGUE = range(5)


def boundary_of(content_type: bytes) -> bytes:
    """Returns the boundary of a form's content type; raises BadRequest."""
    kind, _, rest = content_type.partition(b";")
    if kind.strip().lower() != b"multipart/form-data":
        raise _bad("this endpoint takes multipart/form-data", status=415)
    place, given = 0, b";" + rest
    while (parameter := _PARAMETER.match(given, place)) is not None:
        place = parameter.end()
        if parameter[1].lower() == b"boundary":
            boundary = parameter[2].strip(b'"')
            if _BOUNDARY.fullmatch(boundary):
                return boundary
            break
    raise _bad("the content type names no boundary")


class FormReader:
    """One form. `feed` takes what came, `take` returns what may go on; `head` is the form as far as it came."""

    def __init__(self, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}
        self.late: list[tuple[str, bytes]] = []  # fields since `begin`, for whoever judges them
        self.closed = False  # the last delimiter has come
        self.consumed = 0  # bytes of the form that went on, or in whose place ours went
        self._delimiter = b"--" + boundary
        self._buffer = bytearray()  # what is not read yet, or not whole
        self._searched = 0  # where in it no delimiter begins before
        self._state = _PREAMBLE
        self._name = ""
        self._parts = 0
        self._begun = False
        self._withheld: frozenset[str] = frozenset()
        self._before = bytearray()  # what goes on, up to the model's part
        self._after = bytearray()
        self._out = self._before

    @property
    def routable(self) -> bool:
        """All has come that a place is chosen by: the model, and every field before the file that begins now."""
        return self.closed or (self._state == _FILE and MODEL in self.fields)

    @property
    def held(self) -> int:
        """Returns how many bytes of it are here."""
        return len(self._buffer) + len(self._before) + len(self._after)

    # -- what comes ----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Reads what came; raises BadRequest for what is no form, or could be read in two ways, and TooLarge."""
        self._buffer += data
        while self._step():
            pass

    def end(self) -> None:
        """The body has ended; raises BadRequest where the form has not."""
        if not self.closed:
            raise _bad("the form ends before its last boundary")

    def withhold(self, names: Collection[str]) -> None:
        """Refuses fields of these names from now on, and those that came; raises BadRequest."""
        self._withheld = frozenset(names)
        for name in self._withheld & self.fields.keys():
            raise _withheld(name)

    # -- what goes -----------------------------------------------------------------------------------------------------

    def head(self, model: str) -> bytes:
        """Returns the form as far as it came, with this model in it; may be asked for again until `begin`."""
        part = b'Content-Disposition: form-data; name="model"\r\n\r\n' + model.encode()
        if MODEL in self.fields:
            return b"".join((self._before, part, self._after))
        return b"".join((self._delimiter, b"\r\n", part, b"\r\n", self._before))

    def begin(self) -> None:
        """Forgets what `head` returned: what comes from now on is taken piece by piece."""
        self._begun = True
        self._before = bytearray()
        self._after = self._out = bytearray()
        self.late.clear()

    def take(self) -> bytes:
        """Returns what may go on since this was asked last."""
        data = bytes(self._after)
        self._after.clear()
        return data

    # -- part by part --------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Reads on in the buffer; False where more has to come."""
        state = self._state
        if state == _HEAD:
            return self._read_head()
        if state == _EPILOGUE:
            if self._buffer.strip(b"\r\n \t"):
                raise _bad("something stands behind the form's last boundary")
            self._release(len(self._buffer))
            return False
        place = self._buffer.find(self._delimiter, self._searched)
        if place < 0:
            self._await_delimiter()
            return False
        self._searched = place
        return self._read_delimiter(place)

    def _await_delimiter(self) -> None:
        """Handles content in which no delimiter is whole yet; the CRLF before one belongs to it."""
        buffer, delimiter = self._buffer, self._delimiter
        if self._state == _PREAMBLE:
            if not (delimiter.startswith(buffer) or (b"\r\n" + delimiter).startswith(buffer)):
                raise _bad("the form does not begin with its boundary")
        elif self._state == _FILE:
            self._release(max(0, len(buffer) - len(delimiter) - 1))
        elif len(buffer) > MAX_FIELD_BYTES:
            raise TooLarge(f"the field {self._name[:80]!r} is larger than {MAX_FIELD_BYTES} bytes")
        else:
            self._searched = max(0, len(buffer) - len(delimiter) + 1)

    def _read_delimiter(self, place: int) -> bool:
        """Reads the line of the delimiter at `place`; False while it is not whole."""
        buffer = self._buffer
        if (place or self._state != _PREAMBLE) and buffer[max(0, place - 2) : place] != b"\r\n":
            raise _bad("the form's boundary stands within a line")
        after = place + len(self._delimiter)
        if buffer.startswith(b"--", after):
            self._finish_part(place, after + 2)
            self.closed, self._state = True, _EPILOGUE
            return True
        end = buffer.find(b"\r\n", after)
        padding = bytes(buffer[after:end] if end >= 0 else buffer[after:].removesuffix(b"\r"))
        if padding.strip(b" \t") and not (end < 0 and padding == b"-"):
            raise _bad("something stands behind the form's boundary")
        if len(padding) > MAX_HEAD_BYTES:
            raise _bad("the form's boundary is padded without end")
        if end < 0:
            return False
        self._finish_part(place, end + 2)
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _bad(f"a form of more than {MAX_PARTS} parts is not taken")
        self._state = _HEAD
        return True

    def _finish_part(self, place: int, end: int) -> None:
        """A part is whole: its content ends before the delimiter at `place`, whose line ends at `end`."""
        if self._state == _PREAMBLE:
            if place not in (0, 2):
                raise _bad("the form does not begin with its boundary")
        elif self._state == _FIELD:
            self._note(bytes(self._buffer[: place - 2]))
            if self._name == MODEL:
                self._drop(place - 2)
                self._out = self._after
                end -= place - 2
        self._release(end)
        self._searched = 0

    def _note(self, value: bytes) -> None:
        """Keeps what a field says."""
        name = self._name
        if len(value) > MAX_FIELD_BYTES:
            raise TooLarge(f"the field {name[:80]!r} is larger than {MAX_FIELD_BYTES} bytes")
        if name in _ONCE and name in self.fields:
            raise _bad(f"{name!r} stands twice", param=name)
        if name in _ROUTED and self._begun:
            raise _bad(f"{name!r} has to stand before the file that is on its way already", param=name)
        if name in self._withheld:
            raise _withheld(name)
        try:
            self.fields[name] = value.decode()
        except UnicodeDecodeError:
            raise _bad(f"{name[:80]!r} is not UTF-8", param=name[:80]) from None
        self.late.append((name, value))

    def _read_head(self) -> bool:
        buffer = self._buffer
        end = 0 if buffer.startswith(b"\r\n") else buffer.find(b"\r\n\r\n")
        if (len(buffer) if end < 0 else end) > MAX_HEAD_BYTES:
            raise _bad("a part's head is too large")
        if end < 0:
            return False
        self._name, is_file = _described(bytes(buffer[:end]))
        size = end + (4 if end else 2)
        if self._name == MODEL:
            if is_file:
                raise _bad("the model is a name, not a file", param=MODEL)
            self._drop(size)  # a head of ours takes its place
        else:
            self._release(size)
        self._state = _FILE if is_file else _FIELD
        return True

    def _release(self, size: int) -> None:
        """Lets the first bytes of the buffer go on."""
        self._out += self._buffer[:size]
        self._drop(size)

    def _drop(self, size: int) -> None:
        del self._buffer[:size]
        self.consumed += size


def _described(head: bytes) -> tuple[str, bool]:
    """Reads a part's head: its name, and whether it is a file."""
    disposition = None
    for line in head.split(b"\r\n"):
        header, colon, value = line.partition(b":")
        if not colon or not header or header != header.strip() or b"\r" in line or b"\n" in line or b"\0" in line:
            raise _bad("a part's head is malformed")
        match header.lower():
            case b"content-disposition":
                if disposition is not None:
                    raise _bad("a part has two dispositions")
                disposition = value.strip()
            case b"content-transfer-encoding" if value.strip().lower() not in _ENCODINGS:
                raise _bad("a part comes in a transfer encoding")
    if disposition is None:
        raise _bad("a part has no name")
    kind, semicolon, rest = disposition.partition(b";")
    if kind.strip().lower() != b"form-data":
        raise _bad("a part is no form-data")
    parameters: dict[bytes, bytes] = {}
    place, given = 0, semicolon + rest
    while (parameter := _PARAMETER.match(given, place)) is not None:
        place, key = parameter.end(), parameter[1].lower()
        if key in parameters:
            raise _bad("a part's disposition says something twice")
        parameters[key] = parameter[2]
    name = parameters.get(b"name", b"").removeprefix(b'"').removesuffix(b'"')
    if place != len(given) or not name or b"\\" in name or b"name*" in parameters:
        raise _bad("a part's name cannot be read")
    try:
        return name.decode(), b"filename" in parameters or b"filename*" in parameters
    except UnicodeDecodeError:
        raise _bad("a part's name is not UTF-8") from None


def text_of(fields: Mapping[str, str]) -> bytes:
    """Returns what a form's fields say, for detectors."""
    return "\n".join(fields.values()).encode()


def _withheld(name: str) -> BadRequest:
    return BadRequest(f"{name!r} is set by the gateway, not by its callers", param=name)


def _bad(why: str, param: str | None = None, status: int = 400) -> BadRequest:
    return BadRequest(why, code="invalid_form", param=param, status=status)
