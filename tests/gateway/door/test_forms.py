"""Forms read as they come: what goes on is what came, and what two parsers could read differently is refused."""

from __future__ import annotations

import email.parser
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadRequest, CallError, TooLarge
from gateway.door.forms import MAX_FIELD_BYTES, MAX_HEAD_BYTES, MAX_PARTS, FormReader, boundary_of, text_of

B = b"4b1d"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'


def field(name: str, value: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), value)


def form(*parts: bytes, end: bytes = b"\r\n") -> bytes:
    return b"".join(b"--%b\r\n%b\r\n" % (B, part) for part in parts) + b"--%b--%b" % (B, end)


def read(data: bytes, size: int = 0) -> FormReader:
    reader = FormReader(B)
    for start in range(0, len(data), size or len(data)):
        reader.feed(data[start : start + (size or len(data))])
    reader.end()
    return reader


def parts_of(data: bytes) -> list[tuple[str, str | None, bytes]]:
    """Reads a form with the standard library's parser of MIME."""
    head = b"Content-Type: multipart/form-data; boundary=" + B + b"\r\n\r\n"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + data)
    return [
        (
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get_payload(decode=True),  # type: ignore[misc]
        )
        for part in message.iter_parts()  # type: ignore[attr-defined]
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_form_goes_on_as_it_came_but_for_its_model(size):
    data = form(field("language", b"en"), field("model", b"whisper"), FILE + b"\0\r\n--\r\n4b1", field("prompt", b"x"))
    reader = read(data, size)
    assert reader.fields == {"language": "en", "model": "whisper", "prompt": "x"}
    assert text_of(reader.fields) == b"en\nwhisper\nx"
    assert reader.head("whisper") == data
    assert reader.head("other-name") == data.replace(b"whisper", b"other-name")
    assert reader.consumed == len(data)


def test_a_model_that_nobody_named_is_added():
    data = form(FILE + b"sound")
    assert parts_of(read(data).head("tiny")) == [("model", None, b"tiny"), ("file", "a.wav", b"sound")]


def test_the_models_own_part_is_written_anew():
    odd = b"content-type: text/plain\r\nCONTENT-DISPOSITION:form-data;name=model\r\n\r\nwhisper"
    assert read(form(odd)).head("tiny") == form(field("model", b"tiny"))


@pytest.mark.parametrize("size", [1, 5, 64, 4096])
def test_a_form_can_be_routed_when_its_model_is_known_and_a_file_begins(size):
    data = form(field("model", b"whisper"), field("language", b"en"), FILE + b"x" * 5000)
    reader = FormReader(B)
    fed = 0
    while not reader.routable:
        reader.feed(data[fed : fed + size])
        fed += size
    assert data.index(b"audio/wav") + len(b"audio/wav\r\n\r\n") <= fed < data.index(b"audio/wav") + 13 + size
    assert reader.fields == {"model": "whisper", "language": "en"}
    head = reader.head("tiny")
    consumed = reader.consumed
    reader.begin()
    went = [reader.take()]
    for start in range(fed, len(data), size):
        reader.feed(data[start : start + size])
        went.append(reader.take())
    reader.end()
    assert head + b"".join(went) == data.replace(b"whisper", b"tiny")
    assert len(b"".join(went)) == len(data) - consumed
    assert reader.held == 0


def test_a_file_that_comes_first_is_held_until_the_model_is_known():
    reader = FormReader(B)
    reader.feed(b"--%b\r\n%b" % (B, FILE) + b"x" * 5000)
    assert not reader.routable
    assert reader.held > 5000
    reader.feed(b"\r\n--%b\r\n%b\r\n--%b\r\n" % (B, field("model", b"m"), B))
    assert not reader.routable  # more fields may follow
    reader.feed(FILE)
    assert reader.routable


@given(
    st.lists(
        st.tuples(st.sampled_from(["file", "image[]", "prompt", "x"]), st.booleans(), st.binary(max_size=60)),
        max_size=6,
    ),
    st.integers(0, 6),
    st.integers(1, 50),
)
def test_what_goes_on_says_what_came_however_it_came_cut(parts, place, size):
    place = min(place, len(parts))
    written = [
        (b'Content-Disposition: form-data; name="%b"; filename="f"\r\n\r\n%b' % (name.encode(), value))
        if is_file
        else field(name, value.hex().encode())
        for name, is_file, value in parts
        if B not in value
    ]
    written.insert(place, field("model", b"one"))
    data = form(*written)
    reader = FormReader(B)
    went = b""
    begun = False
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        if reader.routable and not begun:
            begun = True
            went = reader.head("two")
            assert "model" in reader.fields
            reader.begin()
        if begun:
            went += reader.take()
    reader.end()
    assert went == data.replace(b'name="model"\r\n\r\none', b'name="model"\r\n\r\ntwo')
    again = read(went)
    assert again.fields.get("model") == "two"


@given(st.binary(max_size=300), st.integers(1, 20))
def test_bytes_that_are_no_form_are_refused_and_never_crash(data, size):
    for sent in (data, form(data), form(FILE + b"x", data), b"--" + B + data):
        try:
            read(sent, size)
        except CallError:
            pass


M = field("model", b"a")


@pytest.mark.parametrize(
    "data",
    [
        form(M, field("model", b"b")),
        form(M, field("stream", b"true"), field("stream", b"false")),
        form(M).replace(b'"model"', b'"mod\\"el"'),
        form(M).replace(b'name="model"', b"name*=UTF-8''model"),
        form(M).replace(b'name="model"', b'name="x"; name="model"'),
        form(M).replace(b'name="model"', b'name="model"; filename="m"'),
        form(M).replace(b'name="model"', b'name=""'),
        form(M).replace(b'name="model"', b"name"),
        form(M).replace(b'name="model"', b'name="model'),
        form(M).replace(b"form-data", b"attachment"),
        form(M).replace(b'name="model"', b'name="model"\r\nContent-Transfer-Encoding: base64'),
        form(M).replace(b'name="model"', b'name="model"\r\nContent-Disposition: form-data; name="x"'),
        form(M).replace(b'; name="model"', b';\r\n name="model"'),
        form(M).replace(b"Content-Disposition:", b"Content-Disposition :"),
        form(M).replace(b'"model"\r\n', b'"model"\n'),
        form(M).replace(b'name="model"', b'name="model"\nx: y'),
        form(M).replace(b"\r\n", b"\n"),
        b"preamble\r\n" + form(M),
        b"\n" + form(M),
        form(M) + b"epilogue",
        form(M, end=b"x"),
        form(M)[:-6],
        form(M)[:-4],
        b"",
        b"--" + B,
        form(M, FILE + b"x\n--" + B + b"\n" + field("model", b"b")),
        form(M, FILE + b"x--" + B + b"--"),
        form(M, FILE + b"x\r\n--" + B + b"x\r\n" + field("model", b"b")),
        form(M, FILE + b"x\r\n--" + B + b"-\r\n"),
        form(M, FILE + b"x\r\n--" + B + b" \t x\r\n"),
        form(M, FILE + b"x\r\n--" + B + b" " * (MAX_HEAD_BYTES + 1)),
        form(M, b"x: y\r\n\r\nz"),
        form(M, b"\r\nz"),
        form(M, b"x" * (MAX_HEAD_BYTES + 10)),
        form(M, field("prompt", b"\xff")),
        form(*[field("x", b"")] * (MAX_PARTS + 1)),
    ],
)
@pytest.mark.parametrize("size", [1, 0])
def test_what_two_parsers_could_read_differently_is_refused(data, size):
    if data == b"":
        reader = FormReader(B)
        with pytest.raises(BadRequest):
            reader.end()
        return
    with pytest.raises(BadRequest) as error:
        read(data, size)
    assert error.value.code == "invalid_form"


def test_transport_padding_and_a_leading_line_end_are_no_fault():
    data = b"\r\n--%b \t\r\n%b\r\n--%b--" % (B, M, B)
    assert read(data).head("a") == data
    assert read(data, 1).head("a") == data


def test_a_field_is_bounded():
    with pytest.raises(TooLarge):
        read(form(field("prompt", b"x" * (MAX_FIELD_BYTES + 1))), 100_000)
    with pytest.raises(TooLarge):
        read(form(field("prompt", b"x" * (MAX_FIELD_BYTES + 1))))


@pytest.mark.parametrize("late", [M, field("stream", b"true"), field("user", b"eve")])
def test_what_routing_reads_cannot_come_behind_a_file_that_is_on_its_way(late):
    reader = FormReader(B)
    reader.feed(b"--%b\r\n%b\r\n--%b\r\n%bxyz" % (B, field("model", b"m"), B, FILE))
    reader.begin()
    with pytest.raises(BadRequest) as error:
        reader.feed(b"\r\n--%b\r\n%b\r\n--%b--" % (B, late, B))
    assert error.value.param in ("model", "stream", "user")


def test_fields_that_are_withheld_are_refused_whenever_they_come():
    reader = read(form(M, field("priority", b"1")))
    with pytest.raises(BadRequest) as error:
        reader.withhold(("cache_salt", "priority"))
    assert error.value.param == "priority"
    reader = FormReader(B)
    reader.feed(b"--%b\r\n%b\r\n--%b\r\n%bxyz" % (B, M, B, FILE))
    reader.withhold(("priority",))
    reader.begin()
    with pytest.raises(BadRequest):
        reader.feed(b"\r\n--%b\r\n%b\r\n--%b--" % (B, field("priority", b"1"), B))


def test_fields_that_come_late_are_there_to_be_judged():
    reader = FormReader(B)
    reader.feed(b"--%b\r\n%b\r\n--%b\r\n%bxyz" % (B, field("model", b"m"), B, FILE))
    reader.begin()
    assert not reader.late
    reader.feed(b"\r\n--%b\r\n%b\r\n--%b--\r\n" % (B, field("prompt", b"my number is 4111"), B))
    assert reader.late == [("prompt", b"my number is 4111")]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data; charset=utf-8; Boundary="a b:c"', b"a b:c"),
        (b"multipart/form-data;boundary=----WebKitFormBoundary7MA4", b"----WebKitFormBoundary7MA4"),
    ],
)
def test_a_boundary_is_read(content_type, boundary):
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"application/json",
        b"multipart/mixed; boundary=a",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary=""',
        b"multipart/form-data; boundary=" + b"a" * 71,
        b'multipart/form-data; boundary="a\r\nb"',
        b'multipart/form-data; boundary="a "',
    ],
)
def test_a_content_type_without_a_boundary_is_refused(content_type):
    with pytest.raises(BadRequest):
        boundary_of(content_type)
