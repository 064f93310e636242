"""Writes a provider's events as OpenAI chat: chunks of a stream as they come, or one completion at the end.

What OpenAI's schema has no field for rides in extensions: `reasoning_content`; `thinking_blocks` with the signatures
that must go back; `provider_blocks`, which only their provider reads, with the place they stood at; `citations`
that have no URL; `images` as OpenRouter answers with them
(https://openrouter.ai/docs/features/multimodal/image-generation, 2026-11); `native_finish_reason` and `stop_sequence`
beside a finish; `extra_content` with the signature of a tool call, which its id holds too, or of the text. In a stream
each element of such a list carries an `index`, because the official SDKs merge lists by it. The schema of chunks knows
no custom tool calls: they are written as in a whole completion, piece by piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters._signatures import wrap
from adapters.dialects._chat_signatures import with_signature
from adapters.dialects._citations import placed, titled
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Json,
    Logprobs,
    Metered,
    OpaqueBlock,
    RefusalDelta,
    TextDelta,
    TextEnd,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.dialect import Writer
from gateway.core.money import Usage
from gateway.core.types import Call

_encode: Final = msgspec.json.Encoder().encode

_OPEN: Final = b',"logprobs":null,"finish_reason":null}]'
_FUNCTION_DELTA: Final = b'"tool_calls":[{"index":%d,"function":{"arguments":%b}}]'
_CUSTOM_DELTA: Final = b'"tool_calls":[{"index":%d,"custom":{"input":%b}}]'

# What OpenAI's schema allows for `service_tier`; Anthropic's "standard" is its "default".
_TIERS: Final = {tier: tier for tier in ("auto", "default", "flex", "scale", "priority", "fast")} | {
    "standard": "default"
}


def writer(call: Call, model: str) -> Writer:
    """Returns a writer for one answer; `model` is shown where the provider does not name its own."""
    return _Stream(call, model) if call.stream else _Whole(call, model)


def usage_object(usage: Usage) -> dict[str, Json]:
    """Writes usage as OpenAI counts it: cached tokens inside the prompt's, reasoning inside the completion's.

    A detail that is 0 is left out: a bucket does not tell none from not reported, and no number is made up.
    """
    written: dict[str, Json] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    cache_write = usage.cache_write_5m + usage.cache_write_1h
    prompt: dict[str, Json] = {}
    if usage.cached_input or cache_write:
        prompt["cached_tokens"] = usage.cached_input
    if cache_write:
        prompt["cache_write_tokens"] = cache_write
    if usage.audio_input:
        prompt["audio_tokens"] = usage.audio_input
    if usage.image_input:
        prompt["image_tokens"] = usage.image_input
    if prompt:
        written["prompt_tokens_details"] = prompt
    completion: dict[str, Json] = {}
    if usage.reasoning:
        completion["reasoning_tokens"] = usage.reasoning
    if usage.audio_output:
        completion["audio_tokens"] = usage.audio_output
    if completion:
        written["completion_tokens_details"] = completion
    return written


class _Choice:
    """What one choice has said so far, as far as it must be known to write the rest."""

    __slots__ = (
        "annotations",
        "citations",
        "custom",
        "finished",
        "images",
        "length",
        "logprobs",
        "provider_blocks",
        "reasoning",
        "refusal",
        "signed",
        "text",
        "thinking",
        "thinking_blocks",
        "tool_calls",
    )

    def __init__(self) -> None:
        self.length = 0  # characters of text
        self.thinking: list[str] = []  # of the reasoning block that is open
        self.thinking_blocks: list[Json] = []
        self.provider_blocks: list[Json] = []
        self.images: list[Json] = []
        self.annotations: list[Json] = []
        self.citations: list[Json] = []
        self.custom: set[int] = set()  # the tool calls of plain text
        # gathered for a unary answer only
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tool_calls: list[tuple[ToolCallBegin, list[str]]] = []
        self.logprobs: list[Json] = []
        self.signed: TextEnd | None = None
        self.finished: Finished | None = None

    def thinking_block(self, event: ThinkingEnd) -> Json:
        """Closes the open reasoning block; None where no provider asks to have it back."""
        text, self.thinking = "".join(self.thinking), []
        if event.redacted is not None:
            block: dict[str, Json] = {"type": "redacted_thinking", "data": event.redacted}
        elif event.signature is not None:
            block = {"type": "thinking", "thinking": text, "signature": event.signature}
            if event.id is not None:
                block["id"] = event.id
        else:
            return None
        if event.provider is not None:
            block["provider"] = event.provider
        if self.length:
            block["offset"] = self.length
        self.thinking_blocks.append(block)
        return block

    def provider_block(self, event: OpaqueBlock) -> Json:
        block = {
            "provider": event.provider,
            "offset": self.length,
            "thinking_before": len(self.thinking_blocks),
            "block": event.value,
        }
        self.provider_blocks.append(block)
        return block

    def image(self, event: ImagePart) -> Json:
        """Writes an image as OpenRouter does, which clients know: as the part that requests have."""
        image = {"type": "image_url", "image_url": {"url": f"data:{event.media_type};base64,{event.data}"}}
        self.images.append(image)
        return image

    def citation(self, value: Json) -> tuple[str, int, Json]:
        """Returns the list a citation belongs to, its place there, and the citation as it is written."""
        url = value.get("url") or value.get("source")
        if not isinstance(url, str) or "://" not in url:
            self.citations.append(value)
            return "citations", len(self.citations) - 1, value
        annotation = {
            "type": "url_citation",
            "url_citation": {
                "start_index": placed(value, "start_index"),
                "end_index": placed(value, "end_index"),
                "url": url,
                "title": titled(value, url),
            },
        }
        self.annotations.append(annotation)
        return "annotations", len(self.annotations) - 1, annotation


class _Stream:
    """Chunks; the first of a choice carries the role, the last event is the sentinel."""

    __slots__ = ("_call", "_choices", "_head", "_model", "_opened", "_tail", "_usage")

    def __init__(self, call: Call, model: str) -> None:
        self._call = call
        self._model = model
        self._head = b""
        # With usage asked for, every chunk has the field, null until the last (as OpenAI's own chunks do).
        self._tail = b',"usage":null}\n\n' if call.include_usage else b"}\n\n"
        self._choices: dict[int, _Choice] = {}
        self._opened: dict[int, bytes] = {}  # choice -> its text chunk up to the text
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        if isinstance(event, TextDelta):
            head = self._opened.get(event.choice)
            opening = b""
            if head is None:
                opening = self._open(event.choice)
                head = self._opened[event.choice]
            self._choices[event.choice].length += len(event.text)
            return b"".join((opening, head, _encode(event.text), b"}", _OPEN, self._tail))
        if isinstance(event, Begin):
            self._begin(event.id, event.model, event.created)
            return self._open(0)
        if isinstance(event, Metered):
            self._usage = event.usage
            return b""
        opening = b"" if event.choice in self._opened else self._open(event.choice)
        return opening + self._other(event, event.choice, self._choices[event.choice])

    def _other(self, event: Event, number: int, choice: _Choice) -> bytes:
        if isinstance(event, ToolCallDelta):
            form = _CUSTOM_DELTA if event.index in choice.custom else _FUNCTION_DELTA
            return self._delta(number, form % (event.index, _encode(event.arguments)))
        if isinstance(event, ThinkingDelta):
            choice.thinking.append(event.text)
            return self._delta(number, b'"reasoning_content":' + _encode(event.text))
        if isinstance(event, ToolCallBegin):
            if event.custom:
                choice.custom.add(event.index)
            return self._delta(number, _encode({"tool_calls": [{"index": event.index, **_call(event, "")}]})[1:-1])
        if isinstance(event, Finished):
            return self._finish(event)
        if isinstance(event, ThinkingEnd):
            block = choice.thinking_block(event)
            return (
                b"" if block is None else self._element(number, "thinking_blocks", len(choice.thinking_blocks), block)
            )
        if isinstance(event, OpaqueBlock):
            block = choice.provider_block(event)
            return self._element(number, "provider_blocks", len(choice.provider_blocks), block)
        if isinstance(event, Citation):
            name, index, citation = choice.citation(event.value)
            return self._element(number, name, index + 1, citation)
        if isinstance(event, ImagePart):
            image = choice.image(event)
            return self._element(number, "images", len(choice.images), image)
        if isinstance(event, Logprobs):
            return b'%b{"index":%d,"delta":{},"logprobs":%b,"finish_reason":null}]%b' % (
                self._head,
                number,
                _encode(_logprobs(event.content)),
                self._tail,
            )
        if isinstance(event, RefusalDelta):
            return self._delta(number, b'"refusal":' + _encode(event.text))
        if isinstance(event, TextEnd):
            signed = with_signature({}, event.signature, event.provider)
            return self._delta(number, _encode(signed)[1:-1]) if signed else b""
        return b""

    def end(self) -> bytes:
        if self._usage is None or not self._call.include_usage:
            return b"data: [DONE]\n\n"
        written = usage_object(self._usage)
        tier = _TIERS.get(self._usage.service_tier or "")
        last = b"" if tier is None else b',"service_tier":"%b"' % tier.encode()
        return b'%b],"usage":%b%b}\n\ndata: [DONE]\n\n' % (self._head, _encode(written), last)

    def _begin(self, answer_id: str, model: str, created: int | None) -> None:
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            _encode(answer_id or self._call.id),
            created or self._call.received_at,
            _encode(model or self._model),
        )

    def _open(self, number: int) -> bytes:
        if not self._head:
            self._begin("", "", None)
        self._choices[number] = _Choice()
        self._opened[number] = b'%b{"index":%d,"delta":{"content":' % (self._head, number)
        return self._delta(number, b'"role":"assistant","content":"","refusal":null')

    def _delta(self, number: int, delta: bytes) -> bytes:
        return b'%b{"index":%d,"delta":{%b}%b%b' % (self._head, number, delta, _OPEN, self._tail)

    def _element(self, number: int, name: str, count: int, element: dict[str, Json]) -> bytes:
        return self._delta(number, _encode({name: [{"index": count - 1, **element}]})[1:-1])

    def _finish(self, event: Finished) -> bytes:
        return b'%b{"index":%d,"delta":{},"logprobs":null,%b]%b' % (
            self._head,
            event.choice,
            _encode(_ending(event))[1:],
            self._tail,
        )


class _Whole:
    """One completion, written when the answer is whole."""

    __slots__ = ("_begin", "_call", "_choices", "_model", "_usage")

    def __init__(self, call: Call, model: str) -> None:
        self._call = call
        self._model = model
        self._begin = Begin("", "")
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        if isinstance(event, Begin):
            self._begin = event
        elif isinstance(event, Metered):
            self._usage = event.usage
        else:
            choice = self._choices.get(event.choice)
            if choice is None:
                choice = self._choices[event.choice] = _Choice()
            _gather(choice, event)
        return b""

    def end(self) -> bytes:
        choices = self._choices or {0: _Choice()}
        written: dict[str, Json] = {
            "id": self._begin.id or self._call.id,
            "object": "chat.completion",
            "created": self._begin.created or self._call.received_at,
            "model": self._begin.model or self._model,
            "choices": [
                {
                    "index": number,
                    "message": _message(choice),
                    "logprobs": _logprobs(choice.logprobs) if choice.logprobs else None,
                    **_ending(choice.finished),
                }
                for number, choice in sorted(choices.items())
            ],
        }
        if self._usage is not None:
            written["usage"] = usage_object(self._usage)
            tier = _TIERS.get(self._usage.service_tier or "")
            if tier is not None:
                written["service_tier"] = tier
        return _encode(written)


def _gather(choice: _Choice, event: Event) -> None:
    if isinstance(event, TextDelta):
        choice.length += len(event.text)
        choice.text.append(event.text)
    elif isinstance(event, ThinkingDelta):
        choice.thinking.append(event.text)
        choice.reasoning.append(event.text)
    elif isinstance(event, ThinkingEnd):
        choice.thinking_block(event)
    elif isinstance(event, ToolCallBegin):
        choice.tool_calls.append((event, []))
    elif isinstance(event, ToolCallDelta):
        choice.tool_calls[event.index][1].append(event.arguments)
    elif isinstance(event, TextEnd):
        choice.signed = event if event.signature is not None else choice.signed
    elif isinstance(event, RefusalDelta):
        choice.refusal.append(event.text)
    elif isinstance(event, Citation):
        choice.citation(event.value)
    elif isinstance(event, OpaqueBlock):
        choice.provider_block(event)
    elif isinstance(event, ImagePart):
        choice.image(event)
    elif isinstance(event, Logprobs):
        choice.logprobs.extend(event.content)
    elif isinstance(event, Finished):
        choice.finished = event


def _message(choice: _Choice) -> dict[str, Json]:
    refusal = "".join(choice.refusal)
    message: dict[str, Json] = {
        "role": "assistant",
        "content": "".join(choice.text) if choice.text or not (choice.tool_calls or refusal) else None,
        "refusal": refusal or None,
    }
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    for name in ("thinking_blocks", "provider_blocks", "images", "annotations", "citations"):
        elements = getattr(choice, name)
        if elements:
            message[name] = elements
    if choice.tool_calls:
        message["tool_calls"] = [_call(begun, "".join(arguments)) for begun, arguments in choice.tool_calls]
    if choice.signed is not None:
        with_signature(message, choice.signed.signature, choice.signed.provider)
    return message


def _call(event: ToolCallBegin, arguments: str) -> dict[str, Json]:
    """Writes a tool call; a signature over it stands in Google's field, and in the id, which every client keeps."""
    written: dict[str, Json] = {"id": wrap(event.id, event.signature, event.provider)}
    if event.custom:
        written |= {"type": "custom", "custom": {"name": event.name, "input": arguments}}
    else:
        written |= {"type": "function", "function": {"name": event.name, "arguments": arguments}}
    return with_signature(written, event.signature, event.provider)


def _logprobs(content: Sequence[Json]) -> dict[str, Json]:
    """Writes the tokens' log-probabilities with every field that the schema requires, null where none was given."""
    tokens = [{**token, "top_logprobs": [_token(one) for one in token.get("top_logprobs") or ()]} for token in content]
    return {"content": [_token(token) for token in tokens], "refusal": None}


def _token(given: Mapping[str, Json]) -> dict[str, Json]:
    return {"bytes": None, **given}


def _ending(event: Finished | None) -> dict[str, Json]:
    if event is None:
        return {"finish_reason": None}
    ending: dict[str, Json] = {"finish_reason": event.finish}
    if event.native is not None:
        ending["native_finish_reason"] = event.native
    if event.stop_sequence is not None:
        ending["stop_sequence"] = event.stop_sequence
    return ending
