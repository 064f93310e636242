"""Days and hours of time zones: their lengths, their names, and that they leave nothing out."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounting.calendar import MOST_SPANS, UNITS, ceil_quarter, floor_quarter, is_time, spans, zone_named


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def hours_of(tz: str, since: str, until: str) -> list[tuple[str, float]]:
    found = spans("day", at(since), at(until), zone_named(tz))
    return [(span.name, (span.stop - span.start) / 3600) for span in found]


def test_days_have_23_and_25_hours_where_the_clock_is_put_on_and_back() -> None:
    assert hours_of("Europe/Berlin", "2026-03-27T23:00Z", "2026-03-30T22:00Z") == [
        ("2026-03-28", 24),
        ("2026-03-29", 23),
        ("2026-03-30", 24),
    ]
    assert hours_of("Europe/Berlin", "2026-10-23T22:00Z", "2026-10-26T23:00Z") == [
        ("2026-10-24", 24),
        ("2026-10-25", 25),
        ("2026-10-26", 24),
    ]


def test_half_hour_zones_begin_their_days_and_hours_on_the_half() -> None:
    assert hours_of("Asia/Kolkata", "2026-11-18T18:30Z", "2026-11-20T18:30Z") == [
        ("2026-11-19", 24),
        ("2026-11-20", 24),
    ]
    first, second, *_ = spans("hour", at("2026-11-20T00:00Z"), at("2026-11-20T03:00Z"), zone_named("Asia/Kathmandu"))
    assert (first.name, second.name) == ("2026-11-20T05:00+05:45", "2026-11-20T06:00+05:45")
    assert (first.start, first.stop) == (at("2026-11-20T00:00Z"), at("2026-11-20T00:15Z"))


def test_an_hour_that_comes_twice_has_two_names() -> None:
    found = spans("hour", at("2026-10-25T00:00Z"), at("2026-10-25T02:00Z"), zone_named("Europe/Berlin"))
    assert [span.name for span in found] == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]


def test_a_clock_that_is_put_back_by_half_an_hour_makes_a_short_hour() -> None:
    found = spans("hour", at("2026-04-04T14:00Z"), at("2026-04-04T16:30Z"), zone_named("Australia/Lord_Howe"))
    assert [(span.name, span.stop - span.start) for span in found] == [
        ("2026-04-05T01:00+11:00", 3600),
        ("2026-04-05T01:30+10:30", 1800),
        ("2026-04-05T02:00+10:30", 3600),
    ]


def test_a_day_without_midnight_begins_when_the_clock_is_put_on() -> None:
    assert hours_of("Africa/Cairo", "2026-04-22T22:00Z", "2026-04-24T21:00Z") == [
        ("2026-04-23", 24),
        ("2026-04-24", 23),
    ]


def test_a_day_that_a_zone_left_out_is_left_out() -> None:
    found = hours_of("Pacific/Apia", "2011-12-29T10:00Z", "2011-12-31T10:00Z")
    assert found == [("2011-12-29", 24), ("2011-12-31", 24)]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    since, until = at("2026-12-30T23:00Z"), at("2027-01-11T23:00Z")
    zone = zone_named("Europe/Berlin")
    assert [(span.name, span.start) for span in spans("week", since, until, zone)] == [
        ("2026-W53", since),
        ("2027-W01", at("2027-01-03T23:00Z")),
        ("2027-W02", at("2027-01-10T23:00Z")),
    ]
    assert [(span.name, span.start) for span in spans("month", since, until, zone)] == [
        ("2026-12", since),
        ("2027-01", at("2026-12-31T23:00Z")),
    ]


def test_an_amount_of_time_is_counted_from_the_beginning() -> None:
    found = spans("6h", at("2026-11-20T00:15Z"), at("2026-11-20T13:00Z"), UTC)
    assert [(span.name, (span.stop - span.start) / 900) for span in found] == [
        ("2026-11-20T00:15Z", 24),
        ("2026-11-20T06:15Z", 24),
        ("2026-11-20T12:15Z", 3),
    ]


@pytest.mark.parametrize("word", ["15m", "45m", "6h", "2d", *UNITS])
def test_time_is_a_unit_or_so_many_quarters_of_an_hour(word: str) -> None:
    assert is_time(word)


@pytest.mark.parametrize("word", ["10m", "0h", "1w", "h", "team", "-6h", "6 h", "٣h", "999999h"])
def test_what_is_no_time_is_none(word: str) -> None:
    assert not is_time(word)


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "Europe/Berlin\0", "x" * 99]
)
def test_a_zone_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        zone_named(name)


def test_more_spans_than_anybody_reads_are_refused() -> None:
    assert len(spans("15m", 0, MOST_SPANS * 900, UTC)) == MOST_SPANS
    with pytest.raises(ValueError, match="more than"):
        spans("15m", 0, MOST_SPANS * 900 + 1, UTC)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*UNITS, "15m", "7h"]),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "America/St_Johns", "Pacific/Apia"]
    ),
    st.integers(at("2005-01-01T00:00Z"), at("2030-01-01T00:00Z")),
    st.integers(0, 300 * 3600),
)
def test_spans_follow_one_another_from_beginning_to_end(word: str, tz: str, since: int, length: int) -> None:
    begin = floor_quarter(since)
    end = ceil_quarter(begin + length)
    found = spans(word, begin, end, ZoneInfo(tz))
    assert [span.start for span in found] == ([begin, *(span.stop for span in found)][:-1] if found else [])
    assert (found[-1].stop if found else begin) == end
    assert len({span.name for span in found}) == len(found)
    assert all(span.start % 900 == span.stop % 900 == 0 < span.stop - span.start for span in found)
