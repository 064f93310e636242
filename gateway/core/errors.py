"""Every error the gateway raises on purpose, and the one place where each becomes an answer.

HeadgateError
├── ConfigError                 a config that cannot serve; carries file, line and column
├── CallError                   ends a call with a status, a code and a message; rendered by the caller's dialect
│   ├── BadRequest              400, the caller's fault; names the field in `param`
│   ├── Unauthorized            401
│   ├── Forbidden               403: the key may not use this model, or no deployment is permitted
│   ├── UnknownModel            404, with a did-you-mean
│   ├── UnknownPath             404
│   ├── WrongMethod             405
│   ├── TooLarge                413
│   ├── Overloaded              429 or 503 with a wait: shed before any upstream was asked
│   └── Unanswered              what a caller is told when every attempt failed (`unanswered`)
├── UpstreamError               one attempt failed, for one `Reason`; the attempt loop decides what follows
│   └── StreamCut               an answer that stopped before its end
└── ClientGone                  the caller left; nothing is answered, the receipt is still written
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why an attempt failed: the same word in adapters, routes, receipts and metrics."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    QUEUE_FULL = "queue_full"
    SERVER_ERROR = "server_error"
    OUT_OF_CREDIT = "out_of_credit"
    UNAUTHENTICATED = "unauthenticated"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    CONTEXT_TOO_LONG = "context_too_long"
    CONTENT_FILTERED = "content_filtered"
    STREAM_CUT = "stream_cut"
    ABORTED = "aborted"
    CANCELLED = "cancelled"


class HeadgateError(Exception):
    """The root: an error that was meant."""


class ConfigError(HeadgateError):
    """A config that is refused; `str()` is one line per problem, each `file:line:column: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ClientGone(HeadgateError):
    """The caller closed its connection before the answer was whole."""


# The message of the cancellation by which the door tells a call's task that its caller has gone.
CALLER_GONE: Final = "caller gone"


class CallError(HeadgateError):
    """An error a caller is answered with. `retry_after_s` becomes `Retry-After`; `headers` go with it as they are.

    `request_id` is the call's, for dialects that name it in the body; whoever answers sets it.
    """

    status = 500
    type = "server_error"
    code: str | None = "internal_error"
    request_id: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        type: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        if type is not None:
            self.type = type

    @property
    def word(self) -> str:
        """The word that the books know it by: its code or, where a provider named none, its type."""
        return self.code or self.type


class BadRequest(CallError):
    """The request cannot be served as written; `param` names the field."""

    status = 400
    type = "invalid_request_error"
    code = None


class Unauthorized(CallError):
    """No key, or one that is unknown, disabled or expired."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(CallError):
    """The key or the guarantees do not allow it; retrying cannot help."""

    status = 403
    type = "permission_error"
    code = "no_permitted_deployment"


class UnknownModel(CallError):
    """No route, deployment or pattern has this name (or the key may not see it)."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class UnknownPath(CallError):
    """Nothing is served at this path."""

    status = 404
    type = "invalid_request_error"
    code = "unknown_url"


class WrongMethod(CallError):
    """The path exists, but not for this method; `allow` is the header's value."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class TooLarge(CallError):
    """The body or the headers pass a configured limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class Overloaded(CallError):
    """Shed before any upstream was asked: limits are full, or every permitted deployment rests."""

    status = 503
    type = "server_error"
    code = "overloaded"


class Unanswered(CallError):
    """What the caller is told when the attempts are used up; made by `unanswered` alone."""

    status = 502
    type = "upstream_error"
    code: str | None = "upstream_error"


class UpstreamError(HeadgateError):
    """One attempt failed.

    `message` is the provider's own word where the fault is the caller's, else ours; `body_code`, `param` and `type`
    are the provider's, passed on only for the caller's own faults. `retry_after_s` is the provider's wait.
    `sent` is False where no connection ever stood, so that nothing of the request can have reached the provider.
    `named_by_caller` is False when a 404 speaks of our deployment's model name rather than of what the caller named.
    `notify`: it lasts until people have mended something, and `message` says what, in our words.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        named_by_caller: bool = False,
        sent: bool = True,
        notify: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        self.named_by_caller = named_by_caller
        self.sent = sent
        self.notify = notify


class StreamCut(UpstreamError):
    """The upstream stopped before its answer was whole: no finish, no end, or half an event."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.STREAM_CUT, message)


CALLERS_FAULT: Final = frozenset({Reason.BAD_REQUEST, Reason.CONTEXT_TOO_LONG, Reason.CONTENT_FILTERED})

# reason -> (status, code): the faults that are not the caller's, never shown as its own (docs/failures.md)
_OURS: Final[Mapping[Reason, tuple[int, str]]] = {
    Reason.CONNECT: (502, "upstream_unreachable"),
    Reason.TIMEOUT: (504, "upstream_timeout"),
    Reason.RATE_LIMITED: (429, "rate_limit_exceeded"),
    Reason.OVERLOADED: (503, "upstream_overloaded"),
    Reason.QUEUE_FULL: (503, "upstream_overloaded"),
    Reason.SERVER_ERROR: (502, "upstream_error"),
    Reason.OUT_OF_CREDIT: (502, "upstream_credentials"),
    Reason.UNAUTHENTICATED: (502, "upstream_credentials"),
    Reason.NOT_FOUND: (502, "upstream_model_not_found"),
    Reason.STREAM_CUT: (502, "upstream_stream_cut"),
    Reason.ABORTED: (502, "upstream_aborted"),
    Reason.CANCELLED: (499, "cancelled"),
}

_CALLERS_STATUS: Final[Mapping[Reason, tuple[int, str]]] = {
    Reason.BAD_REQUEST: (400, ""),
    Reason.CONTEXT_TOO_LONG: (400, "context_length_exceeded"),
    Reason.CONTENT_FILTERED: (400, "content_filter"),
}


def unanswered(error: UpstreamError, deployment: str) -> Unanswered:
    """Turns the last attempt's failure into the caller's answer: its own faults verbatim, ours as ours."""
    if error.reason in CALLERS_FAULT or (error.reason is Reason.NOT_FOUND and error.named_by_caller):
        status, code = _CALLERS_STATUS.get(error.reason, (404, "not_found"))
        answer = Unanswered(
            error.message,
            status=error.status if error.status is not None and 400 <= error.status < 500 else status,
            type=error.type or "invalid_request_error",
            param=error.param,
        )
        answer.code = error.code or code or None  # a provider that names none leaves none
        return answer
    status, code = _OURS[error.reason]
    said = _OURS_MESSAGES.get(error.reason)
    if said is None:
        said = error.message if error.status is None else f"the provider answered with status {error.status}"
    return Unanswered(
        f"deployment {deployment!r} failed: {error.reason.value}: {said}",
        status=status,
        type="rate_limit_error" if status == 429 else "upstream_error",
        code=code,
        retry_after_s=error.retry_after_s,
    )


# Where the provider's words could speak of our account, they are replaced; so are those of every HTTP answer (quotas).
_OURS_MESSAGES: Final[Mapping[Reason, str]] = {
    Reason.UNAUTHENTICATED: "the provider refused the gateway's credential",
    Reason.OUT_OF_CREDIT: "the gateway's account at the provider is out of credit",
    Reason.NOT_FOUND: "the provider does not know the deployment's model",
}
