"""Faults as they are written, and what each does to an answer: values in, steps out, no socket."""

import msgspec
import pytest

from gateway.simulator import KINDS, Fault
from gateway.simulator.play import End, Frame, Reply, Step, perform, refusal

STREAM = Reply(
    (
        Frame("head", b'data: {"role":1}\n\n'),
        Frame("content", b'data: {"text":"one"}\n\n'),
        Frame("content", b'data: {"text":"two"}\n\n'),
        Frame("content", b'data: {"text":"three"}\n\n'),
        Frame("finish", b'data: {"finish":1}\n\n'),
        Frame("usage", b'data: {"usage":1}\n\n'),
        Frame("done", b"data: [DONE]\n\n"),
    ),
    stream=True,
    error_event=b'data: {"error":1}\n\n',
    output_tokens=3,
)
UNARY = msgspec.structs.replace(STREAM, frames=(Frame("content", b'{"text":"one two three"}'),), stream=False)


def played(steps: list[Step]) -> bytes:
    return b"".join(step.data for step in steps)


def body(steps: list[Step]) -> bytes:
    """Undoes the chunked framing as far as it goes."""
    rest = played(steps).partition(b"\r\n\r\n")[2]
    parts = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        parts.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return b"".join(parts)


def stream(text: str) -> list[Step]:
    return perform(STREAM, Fault.parse(text), 0.0, 0.0)


def test_a_fault_is_read_with_its_options() -> None:
    fault = Fault.parse("429;retry-after=2;times=3")
    assert (fault.kind, fault.retry_after, fault.times) == ("429", "2", 3)
    assert Fault.parse("stall; after=1; wait=250ms").wait_s == pytest.approx(0.25)
    assert Fault.parse("slow;wait=1m").wait_s == pytest.approx(60)


@pytest.mark.parametrize("text", ["", "cutt", "600", "cut;afte=1", "cut;after=x", "slow;wait=2h"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Fault.parse(text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_ends_on_every_answer(kind: str) -> None:
    fault = Fault(kind, size_bytes=64, every_s=0.0, wait_s=0.1)
    assert refusal(fault) is not None or all(
        steps[-1].end is not None and all(step.end is None for step in steps[:-1])
        for steps in (perform(STREAM, fault, 0.0, 0.0), perform(UNARY, fault, 0.0, 0.0))
    )


def test_without_a_fault_and_without_pace_a_stream_is_one_write() -> None:
    steps = perform(STREAM, None, 0.0, 0.0)
    assert body(steps) == b"".join(frame.data for frame in STREAM.frames)
    assert len(steps) == 2
    assert steps[-1] == Step(0.0, b"0\r\n\r\n", End.KEEP)


def test_a_paced_stream_waits_once_for_each_piece_of_content() -> None:
    waits = [step.wait_s for step in perform(STREAM, None, 0.5, 0.02)]
    assert waits == [0.5, 0.02, 0.02, 0.0]


def test_a_unary_answer_waits_as_long_as_its_stream() -> None:
    assert perform(UNARY, None, 0.5, 0.02)[0].wait_s == pytest.approx(0.56)


@pytest.mark.parametrize(("kind", "end"), [("cut", End.FIN), ("cut-reset", End.RST), ("stall", End.HOLD)])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 9])
def test_a_stream_breaks_off_after_so_many_pieces(kind: str, end: End, after: int) -> None:
    steps = stream(f"{kind};after={after}")
    assert body(steps).count(b"text") == min(after, 3)
    assert b"finish" not in played(steps)
    assert b"0\r\n\r\n" not in played(steps)
    assert steps[-1].end is end


def test_a_stall_with_an_end_goes_on() -> None:
    steps = stream("stall;after=1;wait=3s")
    assert [step.wait_s for step in steps] == [0.0, 3.0, 0.0]
    assert body(steps) == b"".join(frame.data for frame in STREAM.frames)


def test_an_error_event_ends_the_stream_without_a_finish() -> None:
    assert body(stream("error;after=1")).endswith(b'"one"}\n\ndata: {"error":1}\n\n')
    assert body(stream("error;after=0")) == STREAM.frames[0].data + STREAM.error_event


def test_a_malformed_event_stands_between_good_ones() -> None:
    events = body(stream("malformed;after=1")).split(b"\n\n")
    assert b"broken" in events[2]
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(events[2].removeprefix(b"data: "))
    assert events[-2] == b"data: [DONE]"


def test_a_huge_event_is_still_json() -> None:
    events = body(stream("huge;after=1;size=100000")).split(b"\n\n")
    assert len(events[2]) > 100_000
    assert msgspec.json.decode(events[2].removeprefix(b"data: ")) == {"text": "two"}


@pytest.mark.parametrize(
    ("kind", "finishes", "sentinels"),
    [("no-done", 1, 0), ("no-finish", 0, 1), ("no-end", 0, 0), ("two-finishes", 2, 1)],
)
def test_a_stream_ends_wrongly(kind: str, finishes: int, sentinels: int) -> None:
    said = body(stream(kind))
    assert (said.count(b"finish"), said.count(b"[DONE]")) == (finishes, sentinels)
    assert stream(kind)[-1].end is End.KEEP


def test_comments_are_sent_instead_of_content() -> None:
    steps = stream("comments;after=1;wait=200ms")
    assert body(steps).count(b": keep-alive\n\n") == 4
    assert sum(step.wait_s for step in steps) == pytest.approx(0.2)


def test_a_drip_is_one_byte_at_a_time() -> None:
    steps = stream("drip;every=0ms")
    assert max(len(step.data) for step in steps) == 1
    assert played(steps) == played(perform(STREAM, None, 0.0, 0.0))


def test_a_unary_answer_is_cut_in_its_body() -> None:
    steps = perform(UNARY, Fault("cut"), 0.0, 0.0)
    assert b"content-length: 24" in played(steps)
    assert played(steps).partition(b"\r\n\r\n")[2] == UNARY.frames[0].data[:12]
    assert steps[-1].end is End.FIN


def test_a_status_carries_its_waits() -> None:
    refused = refusal(Fault.parse("429;retry-after=2;retry-after-ms=1500"))
    assert refused is not None
    assert (refused.status, dict(refused.headers)) == (429, {"retry-after": "2", "retry-after-ms": "1500"})


def test_an_error_in_a_unary_200_is_a_json_body() -> None:
    said = played(perform(UNARY, Fault("error"), 0.0, 0.0))
    assert said.startswith(b"HTTP/1.1 200")
    assert msgspec.json.decode(said.partition(b"\r\n\r\n")[2]) == {"error": 1}
