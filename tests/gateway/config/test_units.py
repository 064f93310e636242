"""Units: what they mean, and that writing gives back what was read."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.units import duration, http_url, listen, size, split_address, usd, write_duration, write_size


@pytest.mark.parametrize(
    ("text", "seconds"), [("800ms", 0.8), ("1.5s", 1.5), ("5m", 300), ("24h", 86400), ("7d", 604800), ("0s", 0)]
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "5 s", "s", "-1s", "1e3s", "5S", "5sec", "", 5, 5.0, None, True, [], "٣s"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.parametrize(("text", "count"), [("512B", 512), ("64KiB", 65536), ("1.5MiB", 1572864), ("10MB", 10**7)])
def test_sizes_are_bytes(text: str, count: int) -> None:
    assert size(text) == count


@given(st.integers(min_value=0, max_value=10**9))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    assert round(duration(write_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.integers(min_value=0, max_value=2**50))
def test_a_written_size_reads_back(count: int) -> None:
    assert size(write_size(count)) == count


@pytest.mark.parametrize("value", [0.25, 2, True, None, "", "abc", "1e400000", "NaN", "Infinity", "-1", "0.1234567891"])
def test_money_is_exact_text(value: object) -> None:
    with pytest.raises(ValueError):
        usd(value)
    assert usd("0.123456789") == Decimal("0.123456789")


@pytest.mark.parametrize("text", ["8080", ":80", "a:b", "a:70000", "::1:80", "[::1]", "a:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        listen(text)


def test_addresses_split_into_host_and_port() -> None:
    assert split_address("127.0.0.1:8080") == ("127.0.0.1", 8080)
    assert split_address("[::1]:0") == ("::1", 0)


@pytest.mark.parametrize(
    "text",
    ["example.com", "ftp://a", "http://", "http://u:p@a", "http://a?x=1", "http://a#f", "http://a:99999", "http://a:0"],
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        http_url(text)
