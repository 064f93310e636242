"""Callers that stream without a pause, and what they saw: on raw sockets, since a busy client would measure itself."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from tests.gpu.environment import prompt_of

WITHIN_S: Final = 120.0
_CONTENT: Final = re.compile(rb'"content":"(?!")')
_COMPLETION: Final = re.compile(rb'"completion_tokens":\s*(\d+)')
_DONE: Final = b"data: [DONE]"


@dataclass
class Stream:
    """One call: `how` it ended (whole, broken: said in-band, refused: instead of an answer, false: as neither)."""

    how: str
    sent_at: float
    first_at: float = 0.0
    ended_at: float = 0.0
    output_tokens: int = 0
    told: str = ""

    @property
    def ttft_s(self) -> float:
        """Seconds to the first content."""
        return self.first_at - self.sent_at


@dataclass
class Seen:
    """What a load saw."""

    streams: list[Stream] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Output tokens a second of calls that were answered whole."""
        return sum(each.output_tokens for each in self.streams if each.how == "whole") / self.seconds

    def ttft_s(self, share: float) -> float:
        """A quantile of the time to first token."""
        times = sorted(each.ttft_s for each in self.streams if each.first_at)
        return times[round(share * (len(times) - 1))] if times else float("nan")

    @property
    def endings(self) -> Counter[str]:
        """How many ended how."""
        return Counter(each.how for each in self.streams)


async def stream(url: str, model: str, prompt_tokens: int, output_tokens: int, seed: int) -> Stream:
    """Makes one call on a connection of its own, and reads it to its end."""
    body = json.dumps(
        {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": output_tokens,
            "ignore_eos": True,
            "messages": [{"role": "user", "content": prompt_of(prompt_tokens, seed)}],
        }
    ).encode()
    at = urlsplit(url)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n" % at.netloc.encode()
    call = Stream("false", time.monotonic())
    text = b""
    try:
        async with asyncio.timeout(WITHIN_S):
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
            try:
                call.sent_at = time.monotonic()
                writer.write(b"%bconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body))
                while piece := await reader.read(1 << 16):
                    if not call.first_at and _CONTENT.search(piece):
                        call.first_at = time.monotonic()
                    text = (text + piece)[-4096:] if call.first_at else text + piece
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        call.told = repr(error)
        return call
    call.ended_at = time.monotonic()
    if not call.first_at:
        call.how, call.told = "refused", text[-300:].decode(errors="replace")
    elif _DONE in text:
        found = _COMPLETION.findall(text)
        call.how, call.output_tokens = "whole", int(found[-1]) if found else 0
    elif b'"error"' in text:
        call.how = "broken"
    return call


async def load(
    url: str,
    model: str,
    callers: int,
    prompt_tokens: int,
    output_tokens: int,
    goes_on: Callable[[Seen], bool],
    seed: int = 0,
) -> Seen:
    """Has callers ask without a pause while `goes_on`; those under way then end."""
    seen = Seen()
    began = time.monotonic()

    async def ask_on(number: int) -> None:
        turn = 0
        while goes_on(seen):
            turn += 1
            at = (seed * callers + number) * 100_003 + turn
            seen.streams.append(await stream(url, model, prompt_tokens, output_tokens, at))

    await asyncio.gather(*(ask_on(number) for number in range(callers)))
    seen.seconds = time.monotonic() - began
    return seen
