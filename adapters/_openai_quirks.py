"""How a provider's wire differs from OpenAI's: data, never a branch on a provider's name."""

from __future__ import annotations

from typing import Final

import msgspec

# Members of a message beyond OpenAI's schema in which reasoning, signatures and providers' own blocks go back: those
# that providers answer with, and those that the gateway's chat dialect writes.
EXTENSIONS: Final = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "provider_blocks",
    "extra_content",
    "citations",
    "images",
)

_USUAL: Final = frozenset({"chat", "completions", "embeddings"})
RESPONSES: Final = _USUAL | {"responses"}


class Quirks(msgspec.Struct, frozen=True):
    """What a request must mind, and what an answer may look like.

    `relays` are the dialects whose bytes go on as they came; every other is translated to chat and back.

    Of any request: `asks_usage`: a stream's usage is asked for with `stream_options`. `renames` are fields that it
    knows by another name. `withheld` are fields that never reach it: their meaning is the gateway's, so a caller that
    set one is told, or refused where it is strict. `dropped` are fields whose absence changes nothing. `refused` are
    hints that it answers with an error: left out, and the caller is told.

    Of messages: `replays` are the `EXTENSIONS` that it takes back, the one that it answers with first; the others are
    left out and declared. None where nothing is known, and a relay passes all. `reasoned_calls`: an assistant's turn
    with tool calls must have a `reasoning_content`, be it empty. `short_ids`: tool call ids are nine letters or digits.

    Of translations: `takes` are fields beyond OpenAI's that may be written. `thinking` is how a caller's own setting
    of that name is told: "switch" ({"type": …}), "budget" (`reasoning.max_tokens`), "effort", or not at all.
    `reasoners` matches the models that take an effort and no sampling; None: nothing is known. `rests` matches those of
    them that can do without reasoning; None: nothing is known. `typed_chunks`:
    reasoning and documents are Mistral's content chunks. `prefix`: an assistant's last message is gone on from.
    `file_urls`: files may be URLs. `custom_tools`: tools that take plain text. `caches`: cache markers.

    Of answers: `ends_unsaid`: they end without a finish reason.
    """

    relays: frozenset[str] = _USUAL
    asks_usage: bool = True
    renames: tuple[tuple[str, str], ...] = ()
    withheld: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    replays: tuple[str, ...] | None = None
    reasoned_calls: bool = False
    short_ids: bool = False
    takes: tuple[str, ...] = ()
    thinking: str = ""
    reasoners: str | None = None
    rests: str | None = None
    typed_chunks: bool = False
    prefix: bool = False
    file_urls: bool = False
    custom_tools: bool = False
    caches: bool = False
    ends_unsaid: bool = False
