"""The bytes of a request head."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Origin
from gateway.upstream.head import HeadWriter, host_header

ENDPOINT = Endpoint(
    "a#0", "a", "provider", Origin("https", "api.example.com", 443), ((b"authorization", b"Bearer sk"),)
)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (Origin("https", "api.example.com", 443), b"api.example.com"),
        (Origin("http", "api.example.com", 80), b"api.example.com"),
        (Origin("http", "api.example.com", 443), b"api.example.com:443"),
        (Origin("http", "::1", 8000), b"[::1]:8000"),
        (Origin("https", "bücher.example", 443), b"xn--bcher-kva.example"),
    ],
)
def test_the_host_header_names_a_port_that_is_not_the_schemes_own(origin, host):
    assert host_header(origin) == host


def test_a_head_is_the_same_from_the_cache_as_made_anew():
    first = UpstreamRequest(b"/v1/a", b"{}")
    requests = [
        first,
        first,
        UpstreamRequest(b"/v1/b", b"{}"),
        UpstreamRequest(b"/v1/a", b"{}", ((b"content-type", b"text/plain"),)),
        UpstreamRequest(b"/v1/a", b"", method=b"GET"),
        UpstreamRequest(b"/v1/a", b"", method=b"POST"),
        UpstreamRequest(b"/v1/a", b"x" * 1000),
    ]
    writer = HeadWriter(ENDPOINT)
    heads = [writer.head(request) for request in requests]
    assert heads == [HeadWriter(ENDPOINT).head(request) for request in requests]
    assert len(set(heads)) == 6
    assert b"content-length" not in heads[4]
    assert b"content-length: 0\r\n" in heads[5]


def test_headers_that_frame_a_message_are_the_transports_alone():
    headers = ((b"host", b"evil"), (b"transfer-encoding", b"chunked"), (b"content-length", b"1"), (b"connection", b"x"))
    endpoint = msgspec.structs.replace(ENDPOINT, auth=((b"accept-encoding", b"br"), (b"host", b"evil")))
    head = HeadWriter(endpoint).head(UpstreamRequest(b"/", b"{}", headers))
    assert head == (
        b"POST / HTTP/1.1\r\nhost: api.example.com\r\naccept-encoding: identity\r\ncontent-length: 2\r\n\r\n"
    )


def test_the_endpoints_header_goes_before_the_requests_own():
    endpoint = msgspec.structs.replace(ENDPOINT, auth=((b"anthropic-version", b"2024"),))
    head = HeadWriter(endpoint).head(UpstreamRequest(b"/", b"{}", ((b"anthropic-version", b"2023"), (b"x-a", b"b"))))
    assert b"2024" in head
    assert b"2023" not in head
    assert b"x-a: b\r\n" in head


@pytest.mark.parametrize(
    "request_",
    [
        UpstreamRequest(b"/a b", b""),
        UpstreamRequest(b"/a\r\nx: y", b""),
        UpstreamRequest(b"/a\0", b""),
        UpstreamRequest("/ä".encode(), b""),
        UpstreamRequest(b"//a\t", b""),
        UpstreamRequest(b"http://elsewhere/", b""),
        UpstreamRequest(b"", b""),
        UpstreamRequest(b"/", b"", method=b"POST /"),
        UpstreamRequest(b"/", b"", ((b"x-a", b"sk-canary\r\nx-b: c"),)),
        UpstreamRequest(b"/", b"", ((b"x-a", b"sk-canary\n"),)),
        UpstreamRequest(b"/", b"", ((b"x-a: b\r\nx-c", b"d"),)),
        UpstreamRequest(b"/", b"", ((b"", b"d"),)),
    ],
)
def test_nothing_can_be_smuggled_into_a_head(request_):
    with pytest.raises(UpstreamError) as failure:
        HeadWriter(ENDPOINT).head(request_)
    assert failure.value.reason is Reason.BAD_REQUEST
    assert "canary" not in failure.value.message
