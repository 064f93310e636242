"""Bedrock's errors, as an HTTP answer or as a frame in a stream, as one reason each.

An answer's type stands in `x-amzn-errortype` ("ValidationException:http://…"), its body holds a message alone.
Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html (2026-11), botocore's model (1.44) and
recorded errors (2024 to 2026).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters._failure import decoded, failure, object_of, wordless
from adapters._retry_after import retry_after_s, should_retry
from gateway.core.blocks import Json
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers

# type, in lower case and without "exception" -> its reason and the status that it comes with
_BY_TYPE: Final[Mapping[str, tuple[Reason, int]]] = {
    "validation": (Reason.BAD_REQUEST, 400),
    "serialization": (Reason.BAD_REQUEST, 400),
    "requestentitytoolarge": (Reason.BAD_REQUEST, 413),
    "accessdenied": (Reason.UNAUTHENTICATED, 403),
    "expiredtoken": (Reason.UNAUTHENTICATED, 403),
    "incompletesignature": (Reason.UNAUTHENTICATED, 403),
    "invalidclienttokenid": (Reason.UNAUTHENTICATED, 403),
    "invalidsignature": (Reason.UNAUTHENTICATED, 403),
    "missingauthenticationtoken": (Reason.UNAUTHENTICATED, 403),
    "notauthorized": (Reason.UNAUTHENTICATED, 403),
    "optinrequired": (Reason.UNAUTHENTICATED, 403),
    "requestexpired": (Reason.UNAUTHENTICATED, 400),
    "signaturedoesnotmatch": (Reason.UNAUTHENTICATED, 403),
    "unrecognizedclient": (Reason.UNAUTHENTICATED, 403),
    "resourcenotfound": (Reason.NOT_FOUND, 404),
    "unknownoperation": (Reason.NOT_FOUND, 404),
    "modeltimeout": (Reason.TIMEOUT, 408),
    "throttling": (Reason.RATE_LIMITED, 429),
    "toomanyrequests": (Reason.RATE_LIMITED, 429),
    # A 400 that says to come back later.
    "servicequotaexceeded": (Reason.RATE_LIMITED, 400),
    # Not ready to serve yet; AWS's own clients try again.
    "modelnotready": (Reason.OVERLOADED, 429),
    "serviceunavailable": (Reason.OVERLOADED, 503),
    "conflict": (Reason.SERVER_ERROR, 400),
    "internalfailure": (Reason.SERVER_ERROR, 500),
    "internalserver": (Reason.SERVER_ERROR, 500),
    "modelerror": (Reason.SERVER_ERROR, 424),
    "modelstreamerror": (Reason.SERVER_ERROR, 424),
}
_BY_STATUS: Final[Mapping[int, Reason]] = {
    401: Reason.UNAUTHENTICATED,
    402: Reason.OUT_OF_CREDIT,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    408: Reason.TIMEOUT,
    424: Reason.SERVER_ERROR,
    429: Reason.RATE_LIMITED,
    503: Reason.OVERLOADED,
    504: Reason.TIMEOUT,
}

# All of these come as a 400 ValidationException; only the words tell them apart.
_BY_WORDS: Final = (
    ("input is too long", Reason.CONTEXT_TOO_LONG),
    ("prompt is too long", Reason.CONTEXT_TOO_LONG),
    ("input tokens exceeded", Reason.CONTEXT_TOO_LONG),  # recorded from Nova 2, 2026-08
    ("too many input tokens", Reason.CONTEXT_TOO_LONG),
    ("maximum context length", Reason.CONTEXT_TOO_LONG),
    ("exceed context limit", Reason.CONTEXT_TOO_LONG),
    ("exceeds the context window", Reason.CONTEXT_TOO_LONG),
    ("blocked by content filtering policy", Reason.CONTENT_FILTERED),
    ("model identifier is invalid", Reason.NOT_FOUND),  # recorded, 2025-02: the model's name is the deployment's
    ("with on-demand throughput isn", Reason.NOT_FOUND),
)


def fault(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """Reads an answer that is not 2xx; one without a type is read by its status and its words."""
    error = object_of(decoded(body))
    named = next((value.decode("latin-1") for name, value in headers if name == b"x-amzn-errortype"), None)
    if named is None:
        named = error.get("__type") or error.get("code")
    message = error.get("message") or error.get("Message")
    text = message if isinstance(message, str) else ""
    return _error(named, text, status, retry_after_s(headers, text), should_retry(headers))


def in_band(kind: Json, payload: bytes, told: Json = None) -> UpstreamError:
    """Reads an exception or an error frame of a stream; `told` is its message where a header carries it."""
    error = object_of(decoded(payload))
    message = error.get("message") or error.get("originalMessage") or told
    read = _error(kind, message if isinstance(message, str) else "", None, None, None)
    original = error.get("originalStatusCode")
    if read.reason is Reason.SERVER_ERROR and isinstance(original, int) and original in (429, 503, 529):
        read.reason = Reason.OVERLOADED  # the model behind Bedrock had no room
    return read


def _error(kind: Json, message: str, status: int | None, wait_s: float | None, retry: bool | None) -> UpstreamError:
    name = kind.partition(":")[0].rpartition("#")[2].lower() if isinstance(kind, str) else ""
    reason, usual = _BY_TYPE.get(name.removesuffix("error").removesuffix("exception"), (None, None))
    if reason is None:
        reason, usual = _BY_TYPE.get(name.removesuffix("exception"), (None, None))
    if status is None:
        status = usual
    if reason is None and status is not None:
        reason = _BY_STATUS.get(status, Reason.BAD_REQUEST if 400 <= status < 500 else None)
    if reason is None:
        reason = Reason.SERVER_ERROR
    if reason is Reason.BAD_REQUEST:
        words = message.lower()
        reason = next((found for said, found in _BY_WORDS if said in words), reason)
    return failure(reason, message or wordless(status), status, retry_after_s=wait_s, should_retry=retry)
