"""What befell replicas: kept within bounds, told in the log, counted."""

from __future__ import annotations

from structlog.testing import capture_logs

from gateway.pool.events import EventRing


def test_events_are_kept_logged_and_counted() -> None:
    counted: list[tuple[str, str]] = []
    ring = EventRing(lambda pool, what: counted.append((pool, what)))
    with capture_logs() as logged:
        ring.tell("lab", "0", "suspect", "its engine stands still", steps=7, event="a word of the log's own")
    (event,) = ring.after()
    assert (event.serial, event.pool, event.replica, event.what, event.why) == (
        1,
        "lab",
        "0",
        "suspect",
        logged[0]["why"],
    )
    assert event.facts["steps"] == logged[0]["steps"] == 7
    assert (logged[0]["event"], logged[0]["pool"]) == ("pool_event", "lab")
    assert counted == [("lab", "suspect")]


def test_the_oldest_go_first_and_a_reader_goes_on_where_it_was() -> None:
    ring = EventRing(kept=3)
    for at in range(5):
        ring.tell("lab" if at % 2 else "other", str(at), "ready")
    assert [event.serial for event in ring.after()] == [3, 4, 5]
    assert [event.serial for event in ring.after(4)] == [5]
    assert [event.replica for event in ring.after(0, "lab")] == ["3"]
