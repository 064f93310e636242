"""What the endpoints say to those who ask wrongly: status, type, code, param and headers, in OpenAI's error shape."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec
import pytest

from gateway.simulator import Simulator

from .conftest import ASK, KEY, MAX_GATEWAY_BODY, Gateway, chat, get, post, read_answer, serving

KEYED = (f"Authorization: Bearer {KEY}", "Content-Type: application/json")
ENDPOINTS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/embeddings": "input"}


def body(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "demo", "messages": [{"role": "user", "content": "Hello"}]} | fields)


def refused(gateway: Gateway, request: bytes, status: int, code: str | None, param: str | None = None) -> dict:
    answer = gateway.ask(request)
    assert answer.status == status, answer
    error = answer.error
    assert (error["code"], error["param"]) == (code, param), error
    assert answer.headers["x-request-id"].startswith("req_")
    assert "sk-test-upstream-key" not in error["message"]
    assert KEY not in error["message"]
    return error


# -- who asks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credential",
    [
        "",
        "Authorization:",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: Bearer hg-wrong",
        f"Authorization: Bearer {KEY}x",
        f"Authorization: Bearer {KEY[:-1]}",
        f"Authorization: Basic {KEY}",
        f"Authorization: {KEY}",
        "Authorization: Bearer \xff\xfe",
        "Authorization: Bearer " + "x" * 10_000,
        "x-api-key: hg-wrong",
    ],
)
@pytest.mark.parametrize("path", [*ENDPOINTS, "/v1/models", "/v1/models/demo"])
def test_without_its_key_nobody_is_served(gateway, path, credential):
    headers = [credential] if credential else []
    request = get(path, *headers) if "models" in path else post(path, ASK, *headers)
    answer = gateway.ask(request)
    assert answer.status == 401
    assert answer.error["code"] == "invalid_api_key"
    assert answer.error["type"] in ("invalid_request_error", "authentication_error")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "credential", [f"Authorization: Bearer {KEY}", f"authorization: bearer {KEY}", f"x-api-key: {KEY}"]
)
def test_a_key_is_taken_as_openais_and_anthropics_clients_send_it(gateway, credential):
    assert gateway.ask(post("/v1/chat/completions", ASK, credential)).status == 200


def test_a_key_is_asked_before_a_large_body_is_read(gateway):
    answer = gateway.ask(post("/v1/chat/completions", b"").replace(b"Length: 0", b"Length: 1000000"))
    assert answer.status == 401


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_with_a_key_any_content_type_is_taken_for_json(gateway, kind):
    headers = [f"Content-Type: {kind}"] if kind else []
    assert gateway.ask(post("/v1/chat/completions", ASK, KEYED[0], *headers)).status == 200


# -- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/v1/chat/completion", "did you mean /v1/chat/completions?"),
        ("/v1/chat/completions/", "did you mean /v1/chat/completions?"),
        ("/v1/v1/chat/completions", "did you mean /v1/chat/completions?"),
        ("/v1/model", "did you mean /v1/models?"),
        ("/health", "did you mean /healthz?"),
        ("/" + "x" * 5000, "base URL ends in /v1"),
        ("/", "base URL ends in /v1"),
        ("/v1/../etc/passwd", "base URL ends in /v1"),
        ("/%00", "base URL ends in /v1"),
        ("/%ff%fe", "base URL ends in /v1"),
    ],
)
def test_an_unknown_path_is_404_and_told_what_to_do(gateway, path, advice):
    error = refused(gateway, get(path, *KEYED), 404, "unknown_url")
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 400
    assert advice in error["message"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_wrong_method_is_405_with_the_right_one(gateway, path, method):
    answer = gateway.ask(get(path, *KEYED, method=method), bodiless=method == "HEAD")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["x-request-id"].startswith("req_")
    if method != "HEAD":
        assert answer.error["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/demo", "/healthz", "/readyz", "/metrics"])
def test_what_is_read_can_be_asked_about_with_head(gateway, path):
    full = gateway.ask(get(path, *KEYED))
    bare = gateway.ask(get(path, *KEYED, method="HEAD"), bodiless=True)
    assert full.status == bare.status == 200
    assert bare.headers["content-type"] == full.headers["content-type"]
    answer = gateway.ask(post(path, b"{}", *KEYED))
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_model_that_is_unknown_is_404_by_name(gateway):
    for path, field in ENDPOINTS.items():
        request = {"model": "dem", field: [{"role": "user", "content": "a"}] if field == "messages" else "a"}
        error = refused(gateway, chat(msgspec.json.encode(request), path=path), 404, "model_not_found", "model")
        assert "did you mean" in error["message"].lower()
        assert "demo" in error["message"]
    refused(gateway, get("/v1/models/dem", *KEYED), 404, "model_not_found", "model")


# -- what ------------------------------------------------------------------------------------------------------------

NOT_JSON = {
    "nothing": b"",
    "blanks": b"  \n ",
    "text": b"hello",
    "half": ASK[:-1],
    "two": ASK + ASK,
    "trailing bytes": ASK + b"x",
    "single quotes": ASK.replace(b'"', b"'"),
    "a byte order mark": b"\xef\xbb\xbf" + ASK,
    "UTF-16": ASK.decode().encode("utf-16"),
    "not UTF-8": ASK.replace(b"Say", b"\xff\xfe"),
    "half a character": ASK.replace(b"Say", b"\xe2\x82"),
    "an overlong character": ASK.replace(b"Say", b"\xc0\xaf"),
    "a surrogate as bytes": ASK.replace(b"Say", b"\xed\xa0\x80"),
    "not UTF-8 in an unknown field": ASK[:-1] + b',"x":"\xff"}',
    "a bad escape": ASK.replace(b"Say", rb"\x41"),
    "a control character": ASK.replace(b"Say", b"\x01"),
    "a NUL": b"\0" + ASK,
    "NaN": ASK[:-1] + b',"temperature":NaN}',
    "infinity": ASK[:-1] + b',"temperature":Infinity}',
    "a leading zero": ASK[:-1] + b',"temperature":01}',
    "a trailing comma": ASK[:-1] + b",}",
    "a comment": ASK[:-1] + b"/* */}",
    "form": b"model=demo&messages=x",
    "brackets in a field": ASK[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "braces in a message": b'{"model":"demo","messages":[' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_what_is_not_json_is_400(gateway, path, data):
    if path != "/v1/chat/completions":
        data = data.replace(b'"messages":', b'"prompt":"a","input":"a","messages":')
    error = refused(gateway, chat(data, path=path), 400, "invalid_json")
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) < 300


@pytest.mark.parametrize("data", [b"null", b"[]", b'"demo"', b"1", b"true", b"[{}]", b"[" * 100_000])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_json_that_is_no_object_is_400(gateway, path, data):
    answer = gateway.ask(chat(data, path=path))
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"].startswith("req_")


WRONG: dict[str, dict[str, list[object]]] = {
    "/v1/chat/completions": {
        "messages": [None, "hello", 1, {}, [], [1], ["a"], [None], [[]], [{"role": "user", "content": 5}]],
        "model": [1, [], {}, True],
        "stream": ["yes", 1, [], {}],
        "temperature": ["hot", [], {}, True],
        "max_tokens": ["many", 1.5, -1, 0, [], {}, 10**30],
        "max_completion_tokens": ["many", 1.5, -1, 0, [], {}, 10**30],
        "n": ["two", 0, -1, 1.5, [], 10**30],
        "user": [1, [], {}, True],
        "stream_options": ["all", 1, [], True],
        "tools": ["all", 1, {}, [1], ["a"], [None]],
        "functions": ["all", 1, {}, [1]],
        "response_format": ["json", 1, []],
        "logprobs": ["yes", 1, []],
    },
    "/v1/completions": {
        "prompt": [None, 1, {}, True],
        "model": [1, [], {}],
        "stream": ["yes", 1],
        "temperature": ["hot", []],
        "max_tokens": ["many", -1, 1.5],
        "n": ["two", 0],
        "user": [1, []],
        "logprobs": ["yes", 1.5, []],
        "stream_options": ["all", 1],
    },
    "/v1/embeddings": {
        "input": [None, 1, {}, True, "", []],
        "model": [1, [], {}],
        "dimensions": ["many", 0, -1, 1.5],
        "encoding_format": [1, []],
        "user": [1, []],
    },
}


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [(path, field, value) for path, fields in WRONG.items() for field, values in fields.items() for value in values],
    ids=lambda value: str(value)[:30],
)
def test_a_field_of_a_wrong_type_is_400_and_named(gateway, path, field, value):
    right: dict[str, object] = {"model": "demo"}
    right[ENDPOINTS[path]] = [{"role": "user", "content": "a"}] if path.endswith("chat/completions") else "a"
    answer = gateway.ask(chat(msgspec.json.encode(right | {field: value}), path=path))
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"
    assert (answer.error["param"] or "").split("[")[0].split(".")[0] == field, answer.error
    assert answer.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_field_that_is_missing_is_400_and_named(gateway, path):
    error = refused(gateway, chat(b'{"model":"demo"}', path=path), 400, "missing_required_parameter", ENDPOINTS[path])
    assert ENDPOINTS[path] in error["message"]


def test_of_a_key_that_stands_twice_one_is_decided_upon_and_sent(gateway):
    gateway.upstream.requests.clear()
    twice = b'{"model":"nowhere","messages":[{"role":"user","content":"Hello"}],"model":"demo"}'
    assert gateway.ask(chat(twice)).status == 200
    sent = gateway.upstream.requests[-1].body
    assert sent.count(b'"model"') == 1
    assert b"nowhere" not in sent
    refused(gateway, chat(twice.replace(b"demo", b"nowhere!")), 404, "model_not_found", "model")


@pytest.mark.parametrize("text", ["\u0000", "\ud800", "\uffff", "\U0001f600", "é" * 1000, "\u202e"])
def test_any_text_that_json_can_hold_is_passed_on(gateway, text):
    escaped = "".join(f"\\u{ord(each):04x}" if ord(each) < 0x10000 else each for each in text)
    answer = gateway.ask(chat(ASK.replace(b"Say", escaped.encode())))
    assert answer.status in (200, 400), answer
    assert answer.status == 200 or answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"1" * 5000, b"0." + b"1" * 5000, b"-0", b"1e-400"])
def test_any_number_is_answered(gateway, number):
    answer = gateway.ask(chat(ASK[:-1] + b',"temperature":' + number + b',"x":' + number + b"}"))
    assert answer.status in (200, 400), answer
    if answer.status == 400:
        assert answer.error["type"] == "invalid_request_error"


# -- how much --------------------------------------------------------------------------------------------------------


def test_a_body_at_the_limit_is_taken_and_a_byte_more_is_not(gateway):
    padded = ASK + b" " * (MAX_GATEWAY_BODY - len(ASK))
    assert gateway.ask(chat(padded)).status == 200
    refused(gateway, chat(padded + b" "), 413, "request_too_large")


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
def test_a_hundred_megabytes_cost_no_memory(gateway, chunked):
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {100 * 2**20}"
    piece = b"100000\r\n" + b"a" * 2**20 + b"\r\n" if chunked else b"a" * 2**20
    head = "\r\n".join(["POST /v1/chat/completions HTTP/1.1", "Host: a", *KEYED, length, "", ""]).encode()
    refused(gateway, head.replace(b"%d" % (100 * 2**20), b"%d" % (101 * 2**20)), 413, "request_too_large") if (
        not chunked
    ) else None
    before = gateway.rss_bytes
    for _ in range(5):
        with gateway.connect() as raw:
            raw.sendall(head)
            for _ in range(100):
                raw.sendall(piece)
            answer = read_answer(raw)
        assert answer.status == 413
        assert answer.error["code"] == "request_too_large"
    assert gateway.rss_bytes - before < 3 * MAX_GATEWAY_BODY


def test_ten_thousand_bytes_of_headers_are_taken_and_a_hundred_thousand_are_not(gateway):
    assert gateway.ask(chat(ASK, "X-A: " + "a" * 10_000)).status == 200
    assert gateway.ask(chat(ASK, *["X-A: " + "a" * 105] * 80)).status == 200
    refused(gateway, chat(ASK, "X-A: " + "a" * 100_000), 431, "headers_too_large")
    refused(gateway, chat(ASK, *["X-A: b"] * 1000), 431, "headers_too_large")
    refused(gateway, get("/" + "a" * 100_000), 414, "uri_too_long")


def test_a_hundred_requests_go_over_one_connection(gateway):
    with gateway.connect() as raw:
        for index in range(100):
            raw.sendall(chat(ASK) if index % 2 else chat(b"{"))
            assert read_answer(raw).status == (200 if index % 2 else 400)


# -- without keys ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that asks for no key."""
    folder = tmp_path_factory.mktemp("open")
    config = (
        "auth: open\nproviders: {demo: {kind: simulator}}\n"
        "deployments: {demo: {provider: demo, model: demo, price: free}}\n"
        "policies: {routes: [{name: default, among: [demo], pick: in_order}]}\n"
        f"store: {{url: 'sqlite:///{folder}/open.db'}}\n"
    )
    with serving(folder, config, Simulator()) as started:
        yield started


OPEN = post("/v1/chat/completions", ASK, "Content-Type: application/json")


@pytest.mark.parametrize(
    "request_",
    [
        OPEN.replace(b"Host: localhost", b"Host: evil.example"),
        OPEN.replace(b"Host: localhost", b"Host: localhost.evil.example"),
        OPEN.replace(b"Host: localhost", b"Host: 127.0.0.1.evil.example"),
        OPEN.replace(b"Host: localhost", b"Host:"),
        OPEN.replace(b"Host: localhost", b"Host: [::1"),
        OPEN.replace(b"Host: localhost", b"Host: 0.0.0.0"),
        OPEN.replace(b"/v1/chat", b"http://evil.example/v1/chat"),
        OPEN.replace(b"HTTP/1.1\r\nHost: localhost", b"HTTP/1.0"),
        OPEN.replace(b"application/json", b"text/plain"),
        OPEN.replace(b"application/json", b"application/jsonp"),
        OPEN.replace(b"Content-Type: application/json", b"X-A: b"),
        post("/v1/chat/completions", ASK, "Content-Type: application/json", "Content-Type: text/plain"),
        post("/v1/chat/completions", ASK, "Content-Type: application/json", "Origin: https://evil.example"),
        post("/v1/chat/completions", ASK, "Content-Type: application/json", "Origin: null"),
        post("/v1/chat/completions", ASK, "Content-Type: application/json", "Origin: http://localhost.evil.example"),
        *(
            post("/v1/chat/completions", ASK, "Content-Type: application/json", f"{name}: 10.0.0.1")
            for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
        ),
        get("/v1/models").replace(b"localhost", b"evil.example"),
        get("/v1/models", "Origin: https://evil.example"),
    ],
)
def test_an_open_door_is_open_to_this_machine_alone(open_gateway, request_):
    refused(open_gateway, request_, 403, "open_door_refused")


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "127.0.0.1", "127.0.0.2:1", "[::1]", "[::1]:8080", "app.localhost", "LOCALHOST"],
)
def test_an_open_door_serves_this_machine_by_any_of_its_names(open_gateway, host):
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        request = OPEN.replace(b"Host: localhost", f"Host: {host}".encode()).replace(b"application/json", kind.encode())
        assert open_gateway.ask(request).status == 200
    assert open_gateway.ask(OPEN.replace(b"\r\nHost", f"\r\nOrigin: http://{host}\r\nHost".encode())).status == 200


def test_the_log_holds_neither_keys_nor_prompts(gateway):
    secret = hashlib.sha256(b"prompt").hexdigest()
    for request in (chat(ASK.replace(b"Say something", secret.encode())), chat(f'{{"model":"{secret}"'.encode())):
        gateway.ask(request)
    log = gateway.log.read_text()
    assert secret not in log
    assert KEY not in log
