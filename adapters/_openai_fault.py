"""Errors of OpenAI-shaped providers, in a body or in-band, read into one reason each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._failure import MESSAGE_CHARACTERS_MAX
from adapters._retry_after import retry_after_s, should_retry
from gateway.core.blocks import Json
from gateway.core.errors import CALLERS_FAULT, Reason, UpstreamError
from gateway.core.types import Headers

# status -> reason; what is not here is the caller's fault below 500 and the provider's from there on.
_BY_STATUS: Final[Mapping[int, Reason]] = {
    401: Reason.UNAUTHENTICATED,
    402: Reason.OUT_OF_CREDIT,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    408: Reason.ABORTED,
    425: Reason.ABORTED,
    429: Reason.RATE_LIMITED,
    498: Reason.OVERLOADED,  # Groq: flex tier at capacity (https://console.groq.com/docs/flex-processing, 2026-11)
    501: Reason.SERVER_ERROR,
    503: Reason.OVERLOADED,
    529: Reason.OVERLOADED,
}

# The provider's code or type, in lower case, says more than its status: xAI and Gemini answer a wrong key with 400,
# OpenAI answers an empty account with 429, Groq a full minute with 413.
_BY_WORD: Final[Mapping[str, Reason]] = {
    "context_length_exceeded": Reason.CONTEXT_TOO_LONG,
    "too_many_prompt_tokens": Reason.CONTEXT_TOO_LONG,
    "exceed_context_size_error": Reason.CONTEXT_TOO_LONG,  # llama.cpp
    "content_filter": Reason.CONTENT_FILTERED,
    "content_policy_violation": Reason.CONTENT_FILTERED,
    "responsibleaipolicyviolation": Reason.CONTENT_FILTERED,
    "insufficient_quota": Reason.OUT_OF_CREDIT,
    "insufficient_balance": Reason.OUT_OF_CREDIT,
    "billing_hard_limit_reached": Reason.OUT_OF_CREDIT,
    "billing_not_active": Reason.OUT_OF_CREDIT,
    "invalid_api_key": Reason.UNAUTHENTICATED,
    "authentication_error": Reason.UNAUTHENTICATED,
    "permission_error": Reason.UNAUTHENTICATED,
    "model_not_found": Reason.NOT_FOUND,
    "rate_limit_exceeded": Reason.RATE_LIMITED,
    "rate_limit_error": Reason.RATE_LIMITED,
    "too_many_requests": Reason.RATE_LIMITED,
    "overloaded_error": Reason.OVERLOADED,
    "overloaded": Reason.OVERLOADED,
    "capacity_exceeded": Reason.OVERLOADED,
    "service_unavailable": Reason.OVERLOADED,
}

# Types that say no more than 400 or 500 does: used where no status is known, in an event of a stream.
_BY_TYPE: Final[Mapping[str, Reason]] = {
    "invalid_request_error": Reason.BAD_REQUEST,
    "badrequesterror": Reason.BAD_REQUEST,  # vLLM
}

# What a 4xx says in words alone. Order matters: the first that matches.
_BY_PHRASE: Final[tuple[tuple[str, Reason], ...]] = (
    ("maximum context length", Reason.CONTEXT_TOO_LONG),  # OpenAI, vLLM, DeepSeek, OpenRouter, Mistral
    ("context length", Reason.CONTEXT_TOO_LONG),
    ("context window", Reason.CONTEXT_TOO_LONG),
    ("context size", Reason.CONTEXT_TOO_LONG),  # llama.cpp
    ("maximum model length", Reason.CONTEXT_TOO_LONG),  # vLLM
    ("maximum prompt length", Reason.CONTEXT_TOO_LONG),  # xAI
    ("prompt is too long", Reason.CONTEXT_TOO_LONG),
    ("input is too long", Reason.CONTEXT_TOO_LONG),
    ("too many tokens", Reason.CONTEXT_TOO_LONG),
    ("messages is too long", Reason.CONTEXT_TOO_LONG),  # Perplexity
    ("content management policy", Reason.CONTENT_FILTERED),  # Azure
    ("violates usage guidelines", Reason.CONTENT_FILTERED),  # xAI, as a 403
    ("input was flagged", Reason.CONTENT_FILTERED),  # OpenRouter, as a 403
    ("credit balance", Reason.OUT_OF_CREDIT),
    ("insufficient balance", Reason.OUT_OF_CREDIT),
    ("insufficient credits", Reason.OUT_OF_CREDIT),  # OpenRouter
    ("used all available credits", Reason.OUT_OF_CREDIT),  # xAI, as a 403
    ("spending limit", Reason.OUT_OF_CREDIT),
    ("incorrect api key", Reason.UNAUTHENTICATED),  # xAI, as a 400
    ("api key not valid", Reason.UNAUTHENTICATED),  # Gemini, as a 400
    ("invalid api key", Reason.UNAUTHENTICATED),
)


class Told(msgspec.Struct, frozen=True):
    """What a provider's error says, wherever in the body it says it."""

    message: str = ""
    type: str | None = None
    code: str | None = None
    param: str | None = None
    status: int | None = None  # where the body names one


def read_fault(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """Reads an answer that is not 2xx; never raises, whatever the body is."""
    told = tell(body)
    return _error(
        reason_of(status, told),
        told,
        status,
        retry_after=retry_after_s(headers, told.message),
        retry=should_retry(headers),
    )


def read_in_band(document: bytes) -> UpstreamError:
    """Reads an error found inside a 200 or an event of a stream."""
    told = tell(document)
    return _error(reason_of(told.status, told), told, told.status, retry_after=retry_after_s((), told.message))


def means_error(error: bytes) -> bool:
    """Whether an `error` member is one: clients raise on any value that is true."""
    return error not in (b"", b"null", b"false", b'""', b"{}", b"[]", b"0")


def reason_of(status: int | None, told: Told) -> Reason:
    """Returns the reason of an error: the provider's code first, then its words, then the status."""
    if status is not None and 300 <= status < 400:
        return Reason.SERVER_ERROR  # an API that redirects is not the API
    words = [word.lower() for word in (told.code, told.type) if word]
    if status is None or status < 500:
        for word in words:
            if word in _BY_WORD:
                return _BY_WORD[word]
        message = told.message.lower()
        for phrase, reason in _BY_PHRASE:
            if phrase in message:
                return reason
    elif status in (500, 502) and any(_BY_WORD.get(word) is Reason.OVERLOADED for word in words):
        return Reason.OVERLOADED
    if status is None:
        return next((_BY_TYPE[word] for word in words if word in _BY_TYPE), Reason.SERVER_ERROR)
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    return Reason.BAD_REQUEST if 400 <= status < 500 else Reason.SERVER_ERROR


def _error(
    reason: Reason, told: Told, status: int | None, *, retry_after: float | None, retry: bool | None = None
) -> UpstreamError:
    callers = reason in CALLERS_FAULT and bool(told.message)
    answered = f"the provider answered with status {status}" if status is not None else "the provider sent an error"
    return UpstreamError(
        reason,
        told.message[:MESSAGE_CHARACTERS_MAX] if callers else answered,
        status=status,
        type=told.type,
        code=told.code,
        param=told.param,
        retry_after_s=retry_after,
        should_retry=retry,
    )


def tell(body: bytes) -> Told:
    """Finds message, type, code, param and status in an error of any of the shapes providers use."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Told()
    if isinstance(value, list) and value:
        value = value[0]  # Gemini's streams wrap the error in a list
    if isinstance(value, str):
        return Told(message=value)
    if not isinstance(value, dict):
        return Told()
    error = value.get("error")
    if isinstance(error, str) and error:  # xAI, Ollama: {"code": …, "error": "text"}
        return Told(message=error, code=_word(value.get("code")), type=_word(value.get("type")))
    if isinstance(error, dict):
        return _told(error)
    return _told(value)


def _told(error: Mapping[str, Json]) -> Told:
    code = error.get("code")
    statuses = (error.get("status_code"), code, error.get("status"))  # Groq in-band, OpenRouter and vLLM, others
    status = next((s for s in map(_status, statuses) if s is not None), None)
    if _status(code) is not None:
        code = None  # vLLM repeats the status there: no word of what is wrong
    inner = error.get("innererror")  # Azure says there which of its policies it was
    if isinstance(inner, dict) and _word(inner.get("code")) is not None and not error.get("type"):
        return Told(_message(error), _word(inner["code"]), _word(code), _word(error.get("param")), status)
    return Told(_message(error), _word(error.get("type")), _word(code), _word(error.get("param")), status)


def _status(value: Json) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 300 <= value <= 599 else None


def _word(value: Json) -> str | None:
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _message(error: Mapping[str, Json]) -> str:
    """Returns the words: OpenAI's `message`, FastAPI's and Mistral's `detail` (a text, or a list of what is wrong)."""
    for name in ("message", "detail", "msg"):
        value = error.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict):
            return _message(value)
        if isinstance(value, list):
            said = [_detail(item) for item in value if isinstance(item, dict)]
            return "; ".join(item for item in said if item)
    return ""


def _detail(item: Mapping[str, Json]) -> str:
    where = item.get("loc")
    path = ".".join(str(step) for step in where) if isinstance(where, list) else ""
    what = item.get("msg")
    return f"{path}: {what}" if path and isinstance(what, str) else str(what or "")
