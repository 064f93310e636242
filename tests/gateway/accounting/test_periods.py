"""The calendar's periods: across months, weeks and changes of the clock, without a gap."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounting.periods import period_before, period_of
from gateway.core.allowances import PERIODS, Per

HOUR = 3600.0
ZONES = sorted(zone for zone in available_timezones() if zone[0].isupper())


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("per", "zone", "moment", "start", "end"),
    [
        ("hour", "UTC", "2026-11-27T23:59:59", "2026-11-27T23:00", "2026-11-28T00:00"),
        ("day", "UTC", "2026-11-27T00:00", "2026-11-27T00:00", "2026-11-28T00:00"),
        ("day", "Europe/Berlin", "2026-11-27T23:30", "2026-11-27T00:00", "2026-11-28T00:00"),
        ("week", "UTC", "2026-11-29T12:00", "2026-11-23T00:00", "2026-11-30T00:00"),  # a Sunday
        ("week", "UTC", "2026-12-31T12:00", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "America/New_York", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "Pacific/Apia", "2011-12-31T12:00", "2011-12-01T00:00", "2012-01-01T00:00"),  # had no 30th
    ],
)
def test_a_moment_is_in_its_period(per: Per, zone: str, moment: str, start: str, end: str) -> None:
    assert period_of(per, zone, at(moment, zone)) == (at(start, zone), at(end, zone))


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("Africa/Cairo", "2023-04-28T12:00", 23),  # the clock jumped from midnight to one
        ("America/Havana", "2025-11-02T12:00", 25),  # midnight came twice
        ("Australia/Lord_Howe", "2026-04-05T12:00", 24.5),
        ("Asia/Kathmandu", "2026-04-05T12:00", 24),
    ],
)
def test_a_day_has_as_many_hours_as_the_clock_gives_it(zone: str, day: str, hours: float) -> None:
    start, end = period_of("day", zone, at(day, zone))
    assert end - start == hours * HOUR
    assert period_of("day", zone, start) == period_of("day", zone, end - 1) == (start, end)


@given(st.sampled_from(PERIODS), st.sampled_from(ZONES), st.integers(0, 2**31))
def test_periods_follow_each_other_without_a_gap(per: Per, zone: str, time: int) -> None:
    period = period_of(per, zone, time)
    assert period.start <= time < period.end
    assert period_of(per, zone, period.start) == period_of(per, zone, period.end - 1) == period
    assert period_of(per, zone, period.end).start == period.end
    assert period_before(per, zone, period).end == period.start


def test_utc_needs_no_database_of_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.accounting.periods.ZoneInfo", None)
    assert period_of("day", "UTC", 0).end == datetime(1970, 1, 2, tzinfo=UTC).timestamp()
