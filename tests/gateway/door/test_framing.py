"""What is a request and what is none: smuggling shapes, versions, targets, upgrades, pipelines; byte by byte."""

from __future__ import annotations

import asyncio

import pytest

CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n"

REFUSED = {
    # two lengths, or none that can be trusted (RFC 9112, 6.3)
    "content-length and transfer-encoding": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding and content-length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "content-length twice": HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "content-length twice, unlike": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "content-length as a list": HEAD + b"Content-Length: 5, 5\r\n\r\nhello",
    "negative content-length": HEAD + b"Content-Length: -5\r\n\r\nhello",
    "signed content-length": HEAD + b"Content-Length: +5\r\n\r\nhello",
    "empty content-length": HEAD + b"Content-Length:\r\n\r\nhello",
    "hexadecimal content-length": HEAD + b"Content-Length: 0x5\r\n\r\nhello",
    "content-length past 64 bits": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\nhello",
    "blank before the colon": HEAD + b"Content-Length : 5\r\n\r\nhello",
    "chunked is not last": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": HEAD + b"Transfer-Encoding: identity\r\n\r\nhello",
    "nearly chunked": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab before chunked": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked from HTTP/1.0": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    # chunks
    "negative chunk": CHUNKED + b"\r\n-1\r\na\r\n0\r\n\r\n",
    "chunk with a prefix": CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n",
    "chunk with blanks": CHUNKED + b"\r\n1 \r\na\r\n0\r\n\r\n",
    "chunk with bare line feeds": CHUNKED + b"\r\n1\na\n0\n\n",
    "chunk longer than it says": CHUNKED + b"\r\n1\r\nabc\r\n0\r\n\r\n",
    "chunk past 64 bits": CHUNKED + b"\r\nffffffffffffffffff\r\na\r\n0\r\n\r\n",
    # lines
    "folded header": GET + b"A: b\r\n c\r\n\r\n",
    "NUL in a value": GET + b"A: b\0c\r\n\r\n",
    "NUL in a name": GET + b"A\0: b\r\n\r\n",
    "bare carriage return": GET + b"A: b\rc: d\r\n\r\n",
    "bare line feed": GET + b"A: b\nC: d\r\n\r\n",
    "line feeds alone": b"GET /echo HTTP/1.1\nHost: localhost\n\n",
    "control byte in a value": GET + b"A: \x01\r\n\r\n",
    "no colon": GET + b"ABC\r\n\r\n",
    "no name": GET + b": x\r\n\r\n",
    "blank before the first header": b"GET /echo HTTP/1.1\r\n Host: localhost\r\n\r\n",
    # Host (RFC 9112, 3.2)
    "no host": b"GET /echo HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: elsewhere\r\n\r\n",
    # targets
    "target without a slash": b"GET echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target with a blank": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target with a NUL": b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target that is not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target of another scheme": b"GET ftp://localhost/echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target with a user": b"GET http://a@localhost/echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "target without a host": b"GET http:///echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    # not HTTP/1
    "unknown method": b"FOO /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "method in small letters": b"get /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a version that was never made": b"GET /echo HTTP/1.2\r\nHost: localhost\r\n\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "an SSH hello": b"SSH-2.0-OpenSSH_9.6\r\n",
    "an SMTP hello": b"EHLO example.com\r\n",
    "JSON": b'{"model":"demo"}\r\n\r\n',
    "garbage": bytes(range(255, 127, -1)) * 8,
}

NOT_TAKEN = {
    "HTTP/0.9": (b"GET /echo\r\n\r\n", 505),
    "HTTP/0.9 that says so": (b"GET /echo HTTP/0.9\r\n\r\n", 505),
    "HTTP/2.0": (b"GET /echo HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    "gzip, chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "CONNECT": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 405),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
async def test_what_is_no_request_is_refused_and_the_connection_closed(door, data, whole):
    caller = await door.call()
    if whole:
        await caller.send(data + GET + b"\r\n")
    else:
        await caller.drip(data)
    (answer,) = await caller.answers()
    assert answer.status == 400
    assert answer.error["code"] == "invalid_http"
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"].startswith("req_")
    assert door.bodies == []
    await door.emptied()


@pytest.mark.parametrize(("data", "status"), NOT_TAKEN.values(), ids=NOT_TAKEN)
async def test_what_is_not_taken_is_told_so(door, data, status):
    caller = await door.call(data)
    (answer,) = await caller.answers()
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"
    assert door.scopes == []
    await door.emptied()


async def test_a_method_that_is_not_taken_names_those_that_are(door):
    (answer,) = await (await door.call(NOT_TAKEN["CONNECT"][0])).answers()
    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    "data",
    [
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello world",
        CHUNKED + b"\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        CHUNKED + b'\r\n5;a=b;c="d e"\r\nhello\r\n6;x\r\n world\r\n0\r\n\r\n',
        CHUNKED + b"\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nAuthorization: trailer\r\nHost: elsewhere\r\n\r\n",
        b"\r\n\r\nPOST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello world",
        b"POST /echo HTTP/1.0\r\nContent-Length: 11\r\n\r\nhello world",
        b"POST http://localhost/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello world",
    ],
    ids=["length", "chunks", "chunk extensions", "trailers", "empty lines before", "HTTP/1.0", "absolute target"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
async def test_a_request_is_read_however_it_is_cut(door, data, whole):
    caller = await door.call()
    await (caller.send(data) if whole else caller.drip(data))
    assert (await caller.answer()).status == 200
    assert door.bodies == [b"hello world"]


async def test_trailers_do_not_become_headers(door):
    caller = await door.call(CHUNKED + b"\r\n1\r\na\r\n0\r\nAuthorization: Bearer trailer\r\n\r\n")
    await caller.answer()
    await caller.send(GET + b"\r\n")
    await caller.answer()
    for scope in door.scopes:
        assert b"authorization" not in dict(scope["headers"])


async def test_the_authority_of_an_absolute_target_replaces_the_host(door):
    caller = await door.call(b"GET http://evil.example:81/echo?a=b HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await caller.answer()
    (scope,) = door.scopes
    assert scope["headers"] == [(b"host", b"evil.example:81")]
    assert (scope["path"], scope["query_string"]) == ("/echo", b"a=b")


async def test_blanks_around_a_value_are_not_part_of_it(door):
    caller = await door.call(b"GET /echo HTTP/1.1\r\nHost:  localhost \t\r\nX-A:\tb c  \r\n\r\n")
    await caller.answer()
    assert door.scopes[0]["headers"] == [(b"host", b"localhost"), (b"x-a", b"b c")]


async def test_the_scope_is_asgis(door):
    caller = await door.call(b"GET /ec%68o?a=%20b HTTP/1.1\r\nHost: localhost\r\nX-A: \xff\r\n\r\n")
    await caller.answer()
    (scope,) = door.scopes
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/echo",
        "raw_path": b"/ec%68o",
        "query_string": b"a=%20b",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"x-a", b"\xff")],
        "client": caller.socket.getsockname(),
        "server": ("127.0.0.1", door.port),
    }


@pytest.mark.parametrize("target", ["*", "/nowhere"])
async def test_options_is_answered_like_any_other_method(door, target):
    caller = await door.call(f"OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert (await caller.answer()).status == 404


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 11\r\n\r\nhello world", b"Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n"],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
async def test_a_post_that_asks_for_http2_is_answered_as_if_it_had_not(door, framing, whole):
    # As Java's HttpClient sends every request over a plain connection.
    head = HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: h2c\r\n"
    caller = await door.call()
    for _ in range(2):
        await (caller.send(head + framing) if whole else caller.drip(head + framing))
        assert (await caller.answer()).status == 200
    assert door.bodies == [b"hello world"] * 2
    assert b"upgrade" not in dict(door.scopes[0]["headers"])


async def test_a_websocket_is_answered_as_the_get_that_it_is(door):
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    caller = await door.call(f"GET /hang/socket HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
    assert (await caller.answer()).status == 404
    await caller.send(GET + b"\r\n")
    assert (await caller.answer()).status == 200


async def test_pipelined_requests_are_answered_in_order(door):
    posts = [b"a" * size for size in (3, 100_000, 0, 70_000, 7)]
    data = b"".join(
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body in posts
    )
    caller = await door.call()
    sending = asyncio.create_task(caller.send(data))
    for body in posts:
        assert (await caller.answer()).body.startswith(b'{"size":%d,' % len(body))
    await sending
    assert door.bodies == posts


async def test_a_pipelined_flood_is_bounded(door):
    caller = await door.call((GET + b"\r\n") * 5_000)
    answers = await caller.answers()
    assert 1 <= len(answers) <= 17
    assert {answer.status for answer in answers} == {200}
    assert answers[-1].headers["connection"] == "close"
    await door.emptied()


async def test_a_pipelined_flood_of_upgrades_is_bounded(door):
    caller = await door.call((GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n") * 3_000)
    answers = await caller.answers()
    assert 1 <= len(answers) <= 17
    await door.emptied()


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01 garbage\r\n\r\n", b"GET /echo HTTP/1.1\r\nA\r\n\r\n"])
async def test_garbage_behind_a_request_does_not_spoil_its_answer(door, garbage):
    caller = await door.call(b"GET /begin HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET + b"\r\n" + garbage)
    await caller.head()
    door.wake.set()
    rest = await caller.rest()
    assert rest.startswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert b"400" not in rest
    await door.emptied()


async def test_data_behind_a_request_that_closes_is_dropped(door):
    caller = await door.call(GET + b"Connection: close\r\n\r\n" + GET + b"\r\n" + b"x" * 100_000)
    (answer,) = await caller.answers()
    assert answer.status == 200
    assert len(door.scopes) == 1
    await door.emptied()


async def test_a_broken_chunk_takes_the_place_of_the_answer(door):
    caller = await door.call(CHUNKED + b"\r\n5\r\nhello\r\n")
    await asyncio.sleep(0.02)
    await caller.send(b"zz\r\n")
    (answer,) = await caller.answers()
    assert answer.status == 400
    await door.emptied()


async def test_a_broken_chunk_of_a_waiting_request_does_not_touch_the_answer_before(door):
    caller = await door.call(b"GET /begin HTTP/1.1\r\nHost: localhost\r\n\r\n" + CHUNKED + b"\r\n5\r\nhello\r\nzz\r\n")
    await caller.head()
    door.wake.set()
    assert await caller.rest() == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert door.bodies == []
    await door.emptied()
