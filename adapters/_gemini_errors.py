"""Google's errors, as an HTTP answer or inside a stream, as one reason each.

Sources (2026-11): https://ai.google.dev/gemini-api/docs/troubleshooting, https://google.aip.dev/193 (status, details),
https://docs.cloud.google.com/apis/docs/error-reasons, recorded answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from adapters._failure import decoded, failure, object_of, wordless
from adapters._retry_after import retry_after_s, should_retry
from gateway.core.blocks import Json
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers

# google.rpc.Code as its name -> reason, and the HTTP status it stands for.
_BY_NAME: Final[Mapping[str, tuple[Reason, int]]] = {
    "INVALID_ARGUMENT": (Reason.BAD_REQUEST, 400),
    "FAILED_PRECONDITION": (Reason.BAD_REQUEST, 400),
    "OUT_OF_RANGE": (Reason.BAD_REQUEST, 400),
    "UNAUTHENTICATED": (Reason.UNAUTHENTICATED, 401),
    "PERMISSION_DENIED": (Reason.UNAUTHENTICATED, 403),
    "NOT_FOUND": (Reason.NOT_FOUND, 404),
    "ABORTED": (Reason.ABORTED, 409),
    "ALREADY_EXISTS": (Reason.BAD_REQUEST, 409),
    "RESOURCE_EXHAUSTED": (Reason.RATE_LIMITED, 429),
    "CANCELLED": (Reason.ABORTED, 499),
    "INTERNAL": (Reason.SERVER_ERROR, 500),
    "UNKNOWN": (Reason.SERVER_ERROR, 500),
    "DATA_LOSS": (Reason.SERVER_ERROR, 500),
    "UNIMPLEMENTED": (Reason.SERVER_ERROR, 501),
    "UNAVAILABLE": (Reason.OVERLOADED, 503),
    "DEADLINE_EXCEEDED": (Reason.TIMEOUT, 504),
}
_BY_STATUS: Final[Mapping[int, Reason]] = {
    401: Reason.UNAUTHENTICATED,
    402: Reason.OUT_OF_CREDIT,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    408: Reason.ABORTED,
    425: Reason.ABORTED,
    429: Reason.RATE_LIMITED,
    499: Reason.ABORTED,
    503: Reason.OVERLOADED,
    504: Reason.TIMEOUT,
    529: Reason.OVERLOADED,
}

# google.rpc.ErrorInfo says more than the status: a wrong key is a 400.
_BY_INFO: Final[Mapping[str, Reason]] = {
    "API_KEY_INVALID": Reason.UNAUTHENTICATED,
    "API_KEY_EXPIRED": Reason.UNAUTHENTICATED,
    "BILLING_DISABLED": Reason.OUT_OF_CREDIT,
    "CONSUMER_SUSPENDED": Reason.OUT_OF_CREDIT,
    "RATE_LIMIT_EXCEEDED": Reason.RATE_LIMITED,
}

# What only the words tell; the first that matches.
_BY_WORDS: Final = (
    ("api key not valid", Reason.UNAUTHENTICATED),
    ("api key expired", Reason.UNAUTHENTICATED),
    ("location is not supported", Reason.UNAUTHENTICATED),
    ("credits are depleted", Reason.OUT_OF_CREDIT),
    ("spending cap", Reason.OUT_OF_CREDIT),
    ("enable billing", Reason.OUT_OF_CREDIT),
    ("requires billing", Reason.OUT_OF_CREDIT),
    ("exceeds the maximum number of tokens", Reason.CONTEXT_TOO_LONG),
    ("exceeds the maximum number of input tokens", Reason.CONTEXT_TOO_LONG),
    ("input token count", Reason.CONTEXT_TOO_LONG),
    ("input context is too long", Reason.CONTEXT_TOO_LONG),
    ("context window", Reason.CONTEXT_TOO_LONG),
)

# A quota of a day, or of nothing at all, is no matter of waiting a minute.
_BY_DAY: Final = re.compile(r"PerDay|per_day|per day|limit: 0\b")

# What of a 403 or 404 the caller named itself: a file, a cache, an operation. A model is the deployment's.
_CALLERS: Final = re.compile(r"\b(?:[Ff]ile|files/|CachedContent|cachedContents/)")

_DELAY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")


def fault(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """Reads an answer that is not 2xx; a body that is not Google's is read by its status alone."""
    return _error(error_of(decoded(body)) or {}, status, headers)


def in_band(error: Json) -> UpstreamError:
    """Reads the `error` of an event, or of a body that came with a 200."""
    return _error(object_of(error), None, ())


def error_of(body: Json) -> dict[str, Json] | None:
    """Returns the error that a body holds; one that would have been streamed as an array stands in a list."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else None


def _error(error: Mapping[str, Json], status: int | None, headers: Headers) -> UpstreamError:
    name = error.get("status")
    reason, usual = _BY_NAME.get(name if isinstance(name, str) else "", (None, None))
    code = error.get("code")
    if status is None:
        status = code if isinstance(code, int) and 400 <= code < 600 else usual
    if reason is None or (status is not None and status >= 500):
        reason = _by_status(status)
    message = error.get("message")
    if not isinstance(message, str) or not message:
        message = wordless(status)
    details = list(_details(error))
    words = f"{message} {' '.join(_debugged(details))}"
    if status is None or status < 500:
        reason = _told(reason, words, details)
    wait_s = _delay_s(details)
    if wait_s is None:
        wait_s = retry_after_s(headers, message)
    named_by_caller = reason in (Reason.NOT_FOUND, Reason.UNAUTHENTICATED) and bool(_CALLERS.search(message))
    if named_by_caller:
        reason = Reason.NOT_FOUND  # "you do not have permission to access the File, or it may not exist"
    return failure(
        reason,
        message,
        status,
        retry_after_s=wait_s if reason is not Reason.OUT_OF_CREDIT else None,  # the stated wait is a minute's
        should_retry=should_retry(headers),
        named_by_caller=named_by_caller,
    )


def _by_status(status: int | None) -> Reason:
    if status is None or status < 400:
        return Reason.SERVER_ERROR
    return _BY_STATUS.get(status) or (Reason.BAD_REQUEST if status < 500 else Reason.SERVER_ERROR)


def _told(reason: Reason, words: str, details: list[Mapping[str, Json]]) -> Reason:
    """Returns what details and words say, where they say more than the status."""
    for detail in details:
        said = detail.get("reason")
        if isinstance(said, str) and said in _BY_INFO:
            reason = _BY_INFO[said]
    lowered = words.lower()
    if reason is Reason.RATE_LIMITED:
        quotas = " ".join(_quotas(details))
        if _BY_DAY.search(f"{words} {quotas}") or any(
            phrase in lowered for phrase, found in _BY_WORDS if found is Reason.OUT_OF_CREDIT and phrase in lowered
        ):
            return Reason.OUT_OF_CREDIT
        return reason
    if reason in (Reason.BAD_REQUEST, Reason.UNAUTHENTICATED):
        return next((found for phrase, found in _BY_WORDS if phrase in lowered), reason)
    return reason


def _details(error: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail


def _debugged(details: list[Mapping[str, Json]]) -> Iterator[str]:
    """Yields what google.rpc.DebugInfo adds: the message may be a template ("$grpcMessage")."""
    for detail in details:
        said = detail.get("detail")
        if isinstance(said, str):
            yield said


def _quotas(details: list[Mapping[str, Json]]) -> Iterator[str]:
    """Yields the names of the quotas that were passed (google.rpc.QuotaFailure, ErrorInfo's metadata)."""
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                yield str(violation.get("quotaId") or "")
        metadata = detail.get("metadata")
        if isinstance(metadata, dict):
            yield str(metadata.get("quota_limit") or "")


def _delay_s(details: list[Mapping[str, Json]]) -> float | None:
    """Returns the wait of google.rpc.RetryInfo, a duration as protobuf writes it ("34.4s")."""
    for detail in details:
        delay = detail.get("retryDelay")
        found = _DELAY.fullmatch(delay) if isinstance(delay, str) else None
        if found is not None:
            return float(found[1])
    return None
