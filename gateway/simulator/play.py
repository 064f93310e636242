"""From an answer's frames and a fault to timed steps on a socket: pure, so that every misbehaviour is a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum
from http import HTTPStatus
from typing import Final, Literal

import msgspec

from gateway.simulator.faults import Fault

Part = Literal["head", "content", "finish", "usage", "done"]


class End(Enum):
    """How a step leaves the connection."""

    KEEP = "the answer is whole, the connection serves the next request"
    FIN = "closed"
    RST = "reset"
    HOLD = "left open, in silence"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream, or (as the only frame) a unary body."""

    part: Part
    data: bytes


class Reply(msgspec.Struct, frozen=True):
    """An answer ready for the wire; `error_event` is what this wire says when it fails within a 200."""

    frames: tuple[Frame, ...]
    stream: bool = False
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    error_event: bytes = b""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    finish: str = "stop"


class Step(msgspec.Struct, frozen=True, gc=False):
    """Wait, then send, then (perhaps) end."""

    wait_s: float
    data: bytes = b""
    end: End | None = None


class Refused(Exception):
    """A request that a provider answers with an error; each wire writes it in its own shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers


MESSAGES: Final = {
    400: "We could not parse the JSON body of your request.",
    401: "Incorrect API key provided.",
    402: "Insufficient balance.",
    403: "You do not have access to this model.",
    404: "The model does not exist or you do not have access to it.",
    408: "The request took too long.",
    413: "Request too large.",
    422: "Unprocessable request.",
    429: "Rate limit reached.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The engine is currently overloaded, please try again later.",
    504: "Gateway timeout.",
    529: "Overloaded.",
}
_CODES: Final = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
PACED_S: Final = 1e-9  # instead of a wait: as long as the engine takes for a step now
_RESET_AFTER_S: Final = 0.02  # a reader must see what was sent before an RST throws it away
_COMMENT: Final = b": keep-alive\n\n"
_COMMENT_EVERY_S: Final = 0.05
_GARBAGE: Final = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 220 mail ready\r\n\r\n\x00\xff\xfe"

_FINISH: Final = re.compile(rb'"finish_reason":"[a-z_]+"')

Beats = list[tuple[float, bytes]]


def refusal(fault: Fault) -> Refused | None:
    """Returns the error answer that a fault stands for, or None where it is another kind of fault."""
    headers = []
    if fault.retry_after is not None:
        headers.append(("retry-after", fault.retry_after))
    if fault.retry_after_ms is not None:
        headers.append(("retry-after-ms", str(fault.retry_after_ms)))
    status, message, code = _refused_as(fault)
    if status is None:
        return None
    return Refused(status, fault.message or message, code=fault.code or code, headers=tuple(headers))


def _refused_as(fault: Fault) -> tuple[int | None, str, str | None]:
    match fault.kind:
        case "context":
            return 400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded"
        case "quota":
            return 429, "You exceeded your current quota, please check your plan.", "insufficient_quota"
        case "early":
            return fault.status, MESSAGES.get(fault.status, "Refused."), None
        case kind if kind.isdigit():
            return int(kind), MESSAGES.get(int(kind), "Refused."), _CODES.get(int(kind))
    return None, "", None


def perform(reply: Reply, fault: Fault | None, ttft_s: float, tpot_s: float) -> list[Step]:
    """Returns the steps that answer with `reply`, misbehaving as `fault` says.

    A streamed answer waits `ttft_s` for its first event and `tpot_s` for each further piece of content; a unary one
    waits as long in all.
    """
    kind = fault.kind if fault else "ok"
    if fault is not None:
        if fault.ttft_s is not None:
            ttft_s = fault.ttft_s
        if fault.tpot_s is not None:
            tpot_s = fault.tpot_s
        if kind == "slow":
            ttft_s += 2.0 if fault.wait_s is None else fault.wait_s
        if kind in _WITHOUT_ANSWER:
            return _WITHOUT_ANSWER[kind](ttft_s)
        if kind in _INSTEAD:
            return _unary(_INSTEAD[kind](reply), ttft_s)
    if not reply.stream:
        return _dripped(_unary_faulty(reply, fault, ttft_s + tpot_s * reply.output_tokens), fault)
    return _dripped(_streamed(reply, fault, ttft_s, tpot_s), fault)


_WITHOUT_ANSWER: Final[dict[str, Callable[[float], list[Step]]]] = {
    "reset": lambda wait_s: [Step(wait_s, end=End.RST)],
    "close": lambda wait_s: [Step(wait_s, end=End.FIN)],
    "hang": lambda wait_s: [Step(wait_s, end=End.HOLD)],
    "garbage": lambda wait_s: [Step(wait_s, _GARBAGE, End.FIN)],
}

_INSTEAD: Final[dict[str, Callable[[Reply], Reply]]] = {
    "redirect": lambda reply: Reply(
        (Frame("content", b""),), status=302, headers=(("location", "http://192.0.2.1/elsewhere"),)
    ),
    "content-type": lambda reply: Reply(
        (Frame("content", b"<!doctype html><title>Welcome</title><p>It works."),), content_type="text/html"
    ),
    "empty": lambda reply: Reply(
        (Frame("content", b""),), content_type="text/event-stream" if reply.stream else reply.content_type
    ),
}


def _streamed(reply: Reply, fault: Fault | None, ttft_s: float, tpot_s: float) -> list[Step]:
    frames = list(reply.frames)
    kind = fault.kind if fault else "ok"
    if kind in _SHORTENED:
        frames = [frame for frame in frames if frame.part not in _SHORTENED[kind]]
    elif kind == "two-finishes":
        frames = [again for frame in frames for again in (frame, frame)[: 2 if frame.part == "finish" else 1]]
    beats: Beats = []
    struck = len(frames)
    seen = 0
    for frame in frames:
        if frame.part == "content":
            if fault is not None and seen == fault.after:
                struck = min(struck, len(beats))
            seen += 1
        beats.append((tpot_s if frame.part == "content" and seen > 1 else 0.0, frame.data))
    if seen and fault is not None and seen <= fault.after:
        struck = _after_content(frames)
    last = End.KEEP
    if fault is not None:
        beats, last = _struck(reply, fault, beats, struck)
    start = _head(reply, (("transfer-encoding", "chunked"),))
    steps = _joined(ttft_s, start, beats)
    whole = kind not in ("cut", "cut-reset") and last is End.KEEP
    if whole:
        steps.append(Step(0.0, b"0\r\n\r\n", End.KEEP))
    else:
        steps.append(Step(_RESET_AFTER_S if last is End.RST else 0.0, b"", last))
    return steps


_SHORTENED: Final[dict[str, tuple[Part, ...]]] = {
    "no-done": ("done",),
    "no-finish": ("finish",),
    "no-end": ("finish", "usage", "done"),
}


def _after_content(frames: list[Frame]) -> int:
    """Returns the place after the last piece of content: an answer shorter than `after` is struck before its end."""
    return max(index for index, frame in enumerate(frames) if frame.part == "content") + 1


def _struck(reply: Reply, fault: Fault, beats: Beats, at: int) -> tuple[Beats, End]:
    """Applies what strikes in mid-stream; returns what is sent and how it ends."""
    before, rest = beats[:at], beats[at:]
    match fault.kind:
        case "cut":
            return before, End.FIN
        case "cut-reset":
            return before, End.RST
        case "stall" if fault.wait_s is None:
            return before, End.HOLD
        case "stall":
            return [*before, *_delayed(rest, fault.wait_s or 0.0)], End.KEEP
        case "comments":
            lasts = 60.0 if fault.wait_s is None else fault.wait_s
            comments = [(_COMMENT_EVERY_S, _COMMENT)] * int(lasts / _COMMENT_EVERY_S)
            return [*before, *comments, *rest], End.KEEP
        case "error":
            return [*before, (0.0, reply.error_event)], End.KEEP
        case "malformed":
            return [*before, (0.0, b'data: {"id": "broken", "choices": [{"delta": \n\n'), *rest], End.KEEP
        case "torn":
            half = rest[0][1] if rest else b"data: {}\n\n"
            return [*before, (0.0, half[: len(half) // 2])], End.KEEP
        case "huge" if rest:
            wait_s, event = rest[0]
            padded = event.replace(b"data: {", b"data: {" + b" " * fault.size_bytes, 1)
            return [*before, (wait_s, padded), *rest[1:]], End.KEEP
    return beats, End.KEEP


def _delayed(beats: Beats, wait_s: float) -> Beats:
    return [(beats[0][0] + wait_s, beats[0][1]), *beats[1:]] if beats else []


def _joined(ttft_s: float, start: bytes, beats: Beats) -> list[Step]:
    """Makes steps of beats: the head leaves with the first, and what nothing separates leaves in one write."""
    steps: list[Step] = []
    wait_s, pending = ttft_s, [start]
    for beat_s, data in beats:
        if beat_s > 0:
            steps.append(Step(wait_s, b"".join(pending)))
            wait_s, pending = beat_s, []
        pending.append(b"%x\r\n%b\r\n" % (len(data), data))
    steps.append(Step(wait_s, b"".join(pending)))
    return steps


def _unary(reply: Reply, wait_s: float) -> list[Step]:
    body = reply.frames[0].data
    return [Step(wait_s, _head(reply, (("content-length", str(len(body))),)) + body, End.KEEP)]


def _unary_faulty(reply: Reply, fault: Fault | None, wait_s: float) -> list[Step]:
    """Does to a body what the fault does to a stream: half of it is what has left when it strikes."""
    body = reply.frames[0].data
    head = _head(reply, (("content-length", str(len(body))),))
    half = head + body[: len(body) // 2]
    match fault.kind if fault else "ok":
        case "cut":
            return [Step(wait_s, half, End.FIN)]
        case "cut-reset":
            return [Step(wait_s, half), Step(_RESET_AFTER_S, end=End.RST)]
        case "stall" | "comments":
            if fault is None or fault.wait_s is None:
                return [Step(wait_s, half, End.HOLD)]
            return [Step(wait_s, half), Step(fault.wait_s, body[len(body) // 2 :], End.KEEP)]
        case "error":
            error = reply.error_event.split(b"data: ", 1)[-1].strip()
            return _unary(msgspec.structs.replace(reply, frames=(Frame("content", error),)), wait_s)
        case "malformed" | "torn":
            return _unary(msgspec.structs.replace(reply, frames=(Frame("content", body[: len(body) // 2]),)), wait_s)
        case "huge" if fault is not None:
            padded = body + b" " * fault.size_bytes
            return _unary(msgspec.structs.replace(reply, frames=(Frame("content", padded),)), wait_s)
    return _unary(reply, wait_s)


def _dripped(steps: list[Step], fault: Fault | None) -> list[Step]:
    if fault is None or fault.kind != "drip":
        return steps
    return list(_bytewise(steps, fault.every_s))


def _bytewise(steps: Iterable[Step], every_s: float) -> Iterable[Step]:
    for step in steps:
        yield Step(step.wait_s)
        for at in range(len(step.data)):
            yield Step(every_s, step.data[at : at + 1])
        if step.end is not None:
            yield Step(0.0, end=step.end)


def aborting(reply: Reply) -> bytes:
    """Returns how a stream ends that its engine gives up."""
    last = b"".join(frame.data for frame in reply.frames if frame.part in ("finish", "usage", "done"))
    return _FINISH.sub(b'"finish_reason":"abort"', last)


def failing(reply: Reply) -> bytes:
    """Returns how a stream ends whose engine has died."""
    return reply.error_event


def plain(
    status: int, body: bytes, headers: tuple[tuple[str, str], ...] = (), content_type: str = "application/json"
) -> list[Step]:
    """Returns the steps of an answer that is no model's: an error, a list of models, a metrics page."""
    reply = Reply((Frame("content", body),), status=status, headers=headers, content_type=content_type)
    return _unary(reply, 0.0)


def _head(reply: Reply, framing: tuple[tuple[str, str], ...]) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Overloaded"  # 529 is Anthropic's own
    events = reply.stream and reply.content_type == "application/json"  # else a stream of something else: sound
    content_type = "text/event-stream; charset=utf-8" if events else reply.content_type
    fields = (("content-type", content_type), *reply.headers, *framing)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {reply.status} {phrase}\r\n{lines}\r\n".encode("latin-1")
