"""Every recorded error: its reason by a table of the test's own, its words as the provider said them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import CALLERS_FAULT, Reason, UpstreamError, unanswered
from gateway.wiring.kinds import DIALECTS
from tests.corpus.lines import Record, answer_of, headers_of, records
from tests.corpus.places import adapter, kinds_of, wire_of
from tests.corpus.schemas import error_problem
from tests.corpus.tally import Tally

pytestmark = pytest.mark.corpus

BY_STATUS = {
    400: Reason.BAD_REQUEST,
    401: Reason.UNAUTHENTICATED,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    429: Reason.RATE_LIMITED,
    500: Reason.SERVER_ERROR,
}
# What the body says and the status does not, by the words in which it says so.
BY_WORDS = (
    ("exceeds maximum length", Reason.CONTEXT_TOO_LONG),
    ("too many tokens", Reason.CONTEXT_TOO_LONG),
    ("maximum context length", Reason.CONTEXT_TOO_LONG),
    ("all messages is too long", Reason.CONTEXT_TOO_LONG),
    ("api key not valid", Reason.UNAUTHENTICATED),
    ("incorrect api key provided", Reason.UNAUTHENTICATED),
    ("the requested model", Reason.NOT_FOUND),
    ("model identifier is invalid", Reason.NOT_FOUND),
    ("$grpcmessage", Reason.UNAUTHENTICATED),  # Gemini's FAILED_PRECONDITION: not from where we call
    ("exceeded your current quota", Reason.RATE_LIMITED),  # Gemini's RESOURCE_EXHAUSTED
)


def errors() -> list[Any]:
    found = [pytest.param(line, id=line["id"]) for line in records() if line["response"]["status"] != 200]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]


def words_of(record: Record) -> str:
    """Reads what the provider said, in whichever field it says it."""
    try:
        body = json.loads(answer_of(record).raw)
    except ValueError:
        return ""
    error = body.get("error", body)
    if isinstance(error, str):
        return error
    said = error.get("message") or error.get("detail") or ""
    return said if isinstance(said, str) else json.dumps(said)


def kind_of(record: Record, tally: Tally) -> str | None:
    """Returns the kind whose adapter reads an error of this line's provider."""
    wire = wire_of(record) or {"bedrock": "converse", "openai": "chat"}.get(record["provider"])
    if wire is None:
        tally.skip(record["id"], f"/{record['surface']} is not spoken")
        return None
    kinds = kinds_of(record, wire)
    own = {"bedrock": "bedrock", "cohere": "cohere", "gemini": "gemini", "vertex": "vertex"}.get(record["provider"])
    if not kinds or (own is not None and own not in kinds):
        tally.pending[f"errors of {record['provider']}"] = f"no kind reads {wire}"
        return None
    return kinds[0]


def told(record: Record, kind: str, body: bytes) -> UpstreamError:
    return adapter(kind).fault(record["response"]["status"], headers_of(record), body)


@pytest.mark.parametrize("record", errors())
def test_a_recorded_error_has_its_reason_and_its_words(record: Record, tally: Tally) -> None:
    kind = kind_of(record, tally)
    if kind is None:
        return
    tally.cover(record["id"], "errors")
    words = words_of(record)
    expected = next(
        (reason for said, reason in BY_WORDS if said in words.lower()), BY_STATUS[record["response"]["status"]]
    )
    error = told(record, kind, answer_of(record).raw)
    assert error.reason is expected
    assert error.status == record["response"]["status"]
    answer = unanswered(error, "the-deployment")
    if expected in CALLERS_FAULT:
        assert error.message == words[:2000]
        assert answer.message == error.message
        assert 400 <= answer.status < 500
    elif expected is not Reason.NOT_FOUND or not error.named_by_caller:
        # What speaks of our account or our deployment is no business of the caller's.
        assert not words or words not in answer.message
        assert "the-deployment" in answer.message
        assert answer.status == {Reason.RATE_LIMITED: 429}.get(expected, 502)
    wait = record["response"].get("headers", {}).get("retry-after")
    if wait is not None and float(wait) > 0:
        assert error.retry_after_s == float(wait)
    for name, dialect in DIALECTS.items():
        assert error_problem(name, dialect.error(answer), dialect.error_event(answer), answer.status) is None, name
    tally.passed.add(record["id"])


@pytest.mark.parametrize("record", errors())
def test_an_error_that_is_no_json_or_cut_off_is_read_by_its_status(record: Record, tally: Tally) -> None:
    kind = kind_of(record, tally)
    if kind is None:
        return
    raw = answer_of(record).raw
    for body in (b"", b"<html>nginx</html>", b"[]", b"null", b"\xff\xfe", *(raw[:at] for at in range(0, len(raw), 37))):
        status = record["response"]["status"]
        error = told(record, kind, body)
        assert isinstance(error, UpstreamError)
        assert error.status == status
        if not body.startswith(b"{"):
            assert error.reason is BY_STATUS[status]
