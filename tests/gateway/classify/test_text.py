"""What detectors read: escapes decoded as deep as they go, disguises undone, and never more than linear work."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify.text import decoded, normal, unescaped, unmarked


def body(text: str) -> bytes:
    return json.dumps({"messages": [{"content": text}]}).encode()


def test_a_body_without_escapes_is_not_copied() -> None:
    plain = b'{"content": "nothing to decode"}'
    assert decoded(plain) is plain


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"536-90-\u0034399", b"536-90-4399"),
        (rb"line\nfalcon", b"line\nfalcon"),
        (rb"https:\/\/x", b"https://x"),
        (rb"\u00e4\ud83d\ude00", "ä😀".encode()),
        (rb"a \"quoted\" word", b"a /quoted/ word"),
        (rb"back\\slash", b"back\\slash"),
    ],
)
def test_escapes_are_decoded(written: bytes, read: bytes) -> None:
    assert read in decoded(b'{"content":"' + written + b'"}')


def test_json_within_json_is_decoded_twice() -> None:
    arguments = r'{"ssn": "536-90-\u0034399"}'
    assert b"536-90-4399" in decoded(body(arguments))
    assert b"536-90-4399" in decoded(body(json.dumps({"arguments": arguments})))


def test_a_path_is_read_as_it_is_too() -> None:
    read = decoded(body("C:\\new\\table holds 536-90-4399"))
    assert b"C:\\new\\table holds 536-90-4399" in read


@pytest.mark.parametrize("odd", [rb"\ud83d alone", rb"\q", rb"\u12", b"\\", rb"C:\\d\\w \u0034"])
def test_what_is_no_escape_does_no_harm(odd: bytes) -> None:
    assert b"536-90-4399" in decoded(b'{"a":"' + odd + rb'","b":"536-90-\u0034399"}')


@given(st.text())
def test_any_text_comes_out_of_any_body(text: str) -> None:
    wanted = text.replace('"', "/").encode("utf-8", "replace")
    got = decoded(json.dumps({"c": text}).encode())
    assert wanted in got or any("\ud800" <= character <= "\udfff" for character in text)


@given(st.binary())
def test_bytes_of_any_kind_are_read_without_an_error(junk: bytes) -> None:
    decoded(b'{"c":"\\' + junk)
    unescaped(junk)
    normal(unmarked(junk))


def test_only_lines_with_backslashes_are_read_twice() -> None:
    long = "a line without any\n" * 1000 + "C:\\path\n" + "another line\n" * 1000
    plain = body(long)
    assert len(decoded(plain)) < len(plain)


def test_marks_and_forms_are_undone() -> None:
    assert unmarked("536\u200b-90\u20114399\u00a0x".encode()) == b"536-90-4399 x"
    assert normal("５３６＠ｘ".encode()) == b"536@x"
    assert normal("Mu\u0308ller".encode()) == "Müller".encode()
