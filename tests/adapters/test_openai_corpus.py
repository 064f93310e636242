"""Every OpenAI-shaped exchange of the corpus through the relay: whole, byte by byte, and cut at every event.

What is expected comes from a reading of its own, with the standard library alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from adapters import compatible, openai
from adapters.dialects.chat import ChatDialect
from adapters.dialects.completions import CompletionsDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.types import Deployment
from tests.adapters.openai_chat import adapter_of

pytestmark = pytest.mark.corpus

Line = dict[str, Any]
Reader = Callable[[str], list[Line]]

DIALECTS: dict[str, Any] = {
    "chat": (ChatDialect(), {"messages": [{"role": "user", "content": "hi"}]}),
    "completions": (CompletionsDialect(), {"prompt": "hi"}),
    "embeddings": (EmbeddingsDialect(), {"input": "hi"}),
}
FOREIGN = {
    ("cohere", "chat"),
    ("cohere", "embeddings"),
    ("gemini", "embeddings"),
    ("portkey", "completions"),  # a stored prompt by its id, answered as a chat completion
}
WORDS = {"eos": "stop", "function_call": "tool_calls"}

# A stream that is not whole, and what it raises: an error of the provider inside.
BROKEN = {"groq.chat.stream-6d7a0182ec": Reason.BAD_REQUEST}
# A provider whose answers end without a finish reason.
UNSAID = {"snowflake"}

# The recorder put two calls into one body.
TWO_ANSWERS = {"cerebras.chat.stream-af62200ebd"}


def answers(corpus_lines: Reader, form: str) -> tuple[list[Line], Counter[str]]:
    """Returns the 200s of OpenAI's shape in one form, and how many of the others were skipped, by why."""
    taken: list[Line] = []
    skipped: Counter[str] = Counter()
    for line in corpus_lines("*.jsonl"):
        if line["surface"] not in DIALECTS or line["response"]["status"] != 200:
            continue
        if line["response"]["format"] != form:
            continue
        if (line["provider"], line["surface"]) in FOREIGN:
            skipped["another wire"] += 1
        else:
            taken.append(line)
    return taken, skipped


def decoder(line: Line, stream: bool, include_usage: bool = True) -> Any:
    dialect, body = DIALECTS[line["surface"]]
    options = {"stream": True, "stream_options": {"include_usage": include_usage}} if stream else {}
    call = dialect.parse("c", json.dumps({**body, **options}).encode(), ())
    kind = line["provider"]
    return adapter_of(kind).decoder(call, Deployment("d", kind, kind, "m", kind, b"/v1", ()), dialect)


def run(one: Any, reads: Iterable[bytes]) -> bytes:
    out = [piece for read in reads for piece in one.feed(read)]
    return b"".join([*out, *one.end()])


# -- a reading of its own ------------------------------------------------------------------------------------------


def data_of(stream: str) -> list[Any]:
    lines = re.split(r"\r\n|\n|\r", stream)
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip() != "[DONE]"]


def reading(stream: str) -> dict[str, Any]:
    """Reads text, reasoning, tool calls, finishes and the last usage out of a stream's text."""
    said: dict[Any, str] = {}
    finishes: dict[int, str | None] = {}
    usage = None
    for event in data_of(stream):
        usage = event.get("usage") or (event.get("x_groq") or {}).get("usage") or usage
        for choice in event.get("choices") or []:
            index = choice["index"]
            finishes[index] = choice.get("finish_reason") or finishes.get(index)
            delta = choice.get("delta") or {"content": choice.get("text")}
            content = delta.get("content")
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            said[index, "content"] = said.get((index, "content"), "") + (content or "")
            for name in ("reasoning", "reasoning_content", "refusal"):
                said[index, name] = said.get((index, name), "") + (delta.get(name) or "")
            for place, tool in enumerate(delta.get("tool_calls") or []):
                key = (index, "tool", tool.get("index") or place)
                function = tool.get("function") or {}
                said[key] = said.get(key, "") + (function.get("name") or "") + (function.get("arguments") or "")
    return {"said": {key: text for key, text in said.items() if text}, "finishes": finishes, "usage": usage}


def speaks(choice: dict[str, Any]) -> bool:
    message = choice.get("message") or {}
    fields = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls", "function_call", "audio")
    return bool(choice.get("text") or any(message.get(name) for name in fields))


def counted(usage: dict[str, Any] | None) -> tuple[int, int] | None:
    """Returns the tokens in and out that a usage object means; None where it contradicts itself or counts nothing."""
    if usage is None:
        return None
    into, out, total = usage.get("prompt_tokens"), usage.get("completion_tokens") or 0, usage.get("total_tokens")
    if into is None:
        into = total
    details = usage.get("completion_tokens_details") or usage.get("completion_token_details") or {}
    reasoning = details.get("reasoning_tokens") or 0
    audio = (usage.get("prompt_tokens_details") or {}).get("audio_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    if cached > into:
        return None
    if total is None or total == into + out:
        return None if reasoning > out else (into, out)
    if total == into + out + reasoning:
        return into, out + reasoning
    return (into + audio, out) if total == into + out + audio else None


# -- streams -------------------------------------------------------------------------------------------------------


def test_every_recorded_stream_is_relayed_whole_byte_by_byte_and_with_a_tail(corpus_lines: Reader) -> None:
    taken, skipped = answers(corpus_lines, "sse")
    broken = 0
    for line in taken:
        source = line["response"]["sse"].encode()
        ways: tuple[list[bytes], ...] = ([source], [bytes([byte]) for byte in source], [source[:-7], source[-7:]])
        outcomes = []
        for reads in ways:
            one = decoder(line, stream=True)
            if line["id"] in BROKEN:
                with pytest.raises(UpstreamError) as caught:
                    run(one, reads)
                assert caught.value.reason is BROKEN[line["id"]]
                broken += 1
                break
            out = run(one, reads)
            outcomes.append((out, one.started, one.progress, one.finish, one.usage, one.output_bytes, one.dropped))
        else:
            assert outcomes[0] == outcomes[1] == outcomes[2], line["id"]
            out, started, progress, finish, usage, output_bytes, dropped = outcomes[0]
            expected = reading(source.decode())
            assert reading(out.decode()) == expected, line["id"]
            assert source.strip() in out, line["id"]
            assert out.count(b"data: [DONE]") == 1, line["id"]
            native = expected["finishes"][0]
            assert finish == WORDS.get(native, native), line["id"]
            assert started is (progress > 0) is bool(expected["said"]), line["id"]
            assert output_bytes >= sum(len(text) for key, text in expected["said"].items() if "tool" not in key) * 0.5
            assert dropped == 0
            tokens = counted(expected["usage"])
            if expected["usage"] is None:
                assert usage is None, line["id"]
            elif tokens is None:
                assert usage.suspect, line["id"]
            else:
                assert (usage.input_tokens, usage.output_tokens) == tokens, line["id"]
                assert not usage.suspect, line["id"]
    assert broken == len(BROKEN)
    print(f"streams relayed: {len(taken)} of {sum(skipped.values()) + len(taken)}; skipped: {dict(skipped)}")
    assert len(taken) > 80


def test_every_recorded_stream_cut_at_every_event_is_a_cut_until_it_has_finished(corpus_lines: Reader) -> None:
    taken, _ = answers(corpus_lines, "sse")
    cuts = ends = 0
    for line in taken:
        if line["id"] in BROKEN:
            continue
        events = re.findall(r".*?(?:\r\n\r\n|\n\n|$)", line["response"]["sse"], re.DOTALL)
        for count in range(len(events)):
            prefix = "".join(events[:count])
            finishes = reading(prefix)["finishes"]
            if line["provider"] in UNSAID and reading(prefix)["usage"] is not None:
                finishes = {0: "said by its usage"}
            one = decoder(line, stream=True)
            if finishes and all(finishes.values()):
                assert run(one, [prefix.encode()]).rstrip().endswith(b"data: [DONE]"), (line["id"], count)
                assert one.complete
                ends += 1
            else:
                with pytest.raises(StreamCut):
                    run(one, [prefix.encode()])
                assert not one.complete
                cuts += 1
    print(f"cuts: {cuts}, ends without the sentinel: {ends}")
    assert cuts > 1000


def test_a_recorded_stream_cut_within_its_events_never_ends_cleanly_before_its_finish(corpus_lines: Reader) -> None:
    taken, _ = answers(corpus_lines, "sse")
    for line in taken:
        if line["id"] in BROKEN or line["provider"] in UNSAID:
            continue
        source = line["response"]["sse"].encode()
        finish = re.search(rb'"finish_reason": ?"[a-z]', source)
        assert finish is not None
        for at in range(1, finish.start(), max(1, finish.start() // 40)):
            with pytest.raises(StreamCut):
                run(decoder(line, stream=True), [source[:at]])


def test_the_usage_chunk_of_every_recorded_stream_is_taken_out_where_nobody_asked(corpus_lines: Reader) -> None:
    taken, _ = answers(corpus_lines, "sse")
    removed = 0
    for line in taken:
        if line["id"] in BROKEN:
            continue
        source = line["response"]["sse"]
        one = decoder(line, stream=True, include_usage=False)
        out = run(one, [source.encode()]).decode()
        kept = [event for event in data_of(source) if event.get("choices") or not event.get("usage")]
        assert data_of(out) == kept, line["id"]
        removed += len(data_of(source)) - len(kept)
    print(f"usage chunks removed: {removed}")
    assert removed > 40


def test_every_recorded_stream_merges_to_the_answer_that_it_tells(corpus_lines: Reader) -> None:
    taken, _ = answers(corpus_lines, "sse")
    for line in taken:
        if line["id"] in BROKEN or line["id"] in TWO_ANSWERS:
            continue
        dialect, body = DIALECTS[line["surface"]]
        source = line["response"]["sse"]
        merged = json.loads(dialect.replay(source.encode(), True, dialect.parse("c", json.dumps(body).encode(), ())))
        expected = reading(source)
        said: dict[Any, str] = {}
        for choice in merged["choices"]:
            message = choice.get("message") or {"content": choice.get("text")}
            content = message.get("content")
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            said[choice["index"], "content"] = content or ""
            for name in ("reasoning", "reasoning_content", "refusal"):
                said[choice["index"], name] = message.get(name) or ""
            for place, tool in enumerate(message.get("tool_calls") or []):
                function = tool.get("function") or {}
                said[choice["index"], "tool", place] = (function.get("name") or "") + (function.get("arguments") or "")
        assert {key: text for key, text in said.items() if text} == expected["said"], line["id"]
        assert {choice["index"]: choice["finish_reason"] for choice in merged["choices"]} == expected["finishes"]
        if expected["usage"] and line["provider"] != "groq":
            assert merged["usage"] == expected["usage"], line["id"]


# -- unary answers, requests and errors ----------------------------------------------------------------------------


def test_every_recorded_answer_is_relayed_with_its_usage_and_finish(corpus_lines: Reader) -> None:
    taken, skipped = answers(corpus_lines, "json")
    for line in taken:
        answer = line["response"]["body"]
        body = json.dumps(answer).encode()
        one = decoder(line, stream=False)
        assert run(one, [body[:30], body[30:]]) == body
        assert one.complete
        assert one.started is any(map(speaks, answer.get("choices") or [{"text": "an embedding"}])), line["id"]
        tokens = counted(answer.get("usage"))
        if answer.get("usage") is None:
            assert one.usage is None
        elif tokens is None:
            assert one.usage.suspect, line["id"]
        else:
            assert (one.usage.input_tokens, one.usage.output_tokens) == tokens, line["id"]
            assert not one.usage.suspect, line["id"]
            assert json.loads(one.usage.raw) == answer["usage"]
        if line["surface"] != "embeddings":
            native = answer["choices"][0]["finish_reason"]
            assert one.finish == (WORDS.get(native, native) or None), line["id"]
    print(f"answers relayed: {len(taken)}; skipped: {dict(skipped)}")
    assert len(taken) > 120


def test_a_recorded_answer_cut_short_is_a_failure(corpus_lines: Reader) -> None:
    taken, _ = answers(corpus_lines, "json")
    for line in taken:
        body = json.dumps(line["response"]["body"]).encode()
        for at in range(0, len(body), max(1, len(body) // 20)):
            with pytest.raises(UpstreamError):
                run(decoder(line, stream=False), [body[:at]])


def test_every_recorded_answer_told_as_a_stream_and_merged_says_the_same(corpus_lines: Reader) -> None:
    taken, _ = answers(corpus_lines, "json")
    for line in taken:
        if line["surface"] == "embeddings":
            continue
        dialect, body = DIALECTS[line["surface"]]
        asked = dialect.parse(
            "c", json.dumps({**body, "stream": True, "stream_options": {"include_usage": True}}).encode(), ()
        )
        answer = line["response"]["body"]
        stream = dialect.replay(json.dumps(answer).encode(), False, asked)
        one = decoder(line, stream=True)
        if all(choice["finish_reason"] for choice in answer["choices"]):
            assert run(one, [stream]) == stream, line["id"]
        merged = json.loads(dialect.replay(stream, True, dialect.parse("c", json.dumps(body).encode(), ())))
        for before, after in zip(answer["choices"], merged["choices"], strict=True):
            assert after.get("text") == before.get("text")
            assert after["finish_reason"] == before["finish_reason"]
            told, said = before.get("message") or {}, after.get("message") or {}
            assert (said.get("content") or "") == (told.get("content") or ""), line["id"]
            calls = [{k: v for k, v in call.items() if k != "index"} for call in told.pop("tool_calls", None) or []]
            assert (said.get("tool_calls") or []) == calls, line["id"]
            for name, value in told.items():
                if value not in (None, "", []):
                    assert said[name] == value, (line["id"], name)
        assert merged.get("usage") == answer.get("usage")


def test_every_recorded_request_is_parsed_and_sent_on_as_it_came(corpus_lines: Reader) -> None:
    sent = 0
    for line in corpus_lines("*.jsonl"):
        body = line["request"].get("body")
        foreign = (line["provider"], line["surface"]) in FOREIGN
        if (
            line["surface"] not in DIALECTS
            or line["response"]["status"] != 200
            or foreign
            or not isinstance(body, dict)
        ):
            continue
        dialect, _ = DIALECTS[line["surface"]]
        call = dialect.parse("c", json.dumps(body).encode(), ())
        # By its own row: a quirk that took out what a provider has answered would be wrong.
        kind = line["provider"]
        request = adapter_of(kind).encode(call, Deployment("d", "p", "p", "m", kind, b"/v1", ()), dialect, {})
        expected = {**body, "model": "m"}
        for source, target in compatible.KINDS[kind].quirks.renames if kind in compatible.KINDS else ():
            if source in expected:
                expected[target] = expected.pop(source)
        if body.get("stream") and kind != "mistral":
            expected["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        assert json.loads(request.body) == expected, line["id"]
        assert call.model == body.get("model")
        assert ("tools" in call.needs) is bool(body.get("tools") or body.get("functions")), line["id"]
        sent += 1
    print(f"requests sent on: {sent}")
    assert sent > 150


# What a body says beyond its status; every other error has its status's reason.
SPEAKING = {
    "bedrock.converse-06ff9c52f4": Reason.BAD_REQUEST,
    "cohere.chat-d85e5495bc": Reason.CONTEXT_TOO_LONG,
    "deepseek.chat-b558456329": Reason.CONTEXT_TOO_LONG,
    "openrouter.chat-7b8e252ed7": Reason.CONTEXT_TOO_LONG,
    "perplexity.chat-2ac90e72fc": Reason.CONTEXT_TOO_LONG,
    "openai.responses-b0a526a34a": Reason.NOT_FOUND,
    "openai.responses-eb88408a91": Reason.NOT_FOUND,
    "openai.responses.stream-2c0eb5613c": Reason.NOT_FOUND,
    "xai.responses-1830776adf": Reason.UNAUTHENTICATED,
    "gemini.generate.stream-502ba32afa": Reason.UNAUTHENTICATED,
    "vertex.generate.stream-c3e5de1e3c": Reason.UNAUTHENTICATED,
}
BY_STATUS = {
    400: Reason.BAD_REQUEST,
    401: Reason.UNAUTHENTICATED,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    429: Reason.RATE_LIMITED,
    500: Reason.SERVER_ERROR,
}


def test_every_recorded_error_has_its_reason(corpus_lines: Reader) -> None:
    reasons: Counter[str] = Counter()
    for line in corpus_lines("errors.jsonl"):
        response = line["response"]
        raw = response.get("body", response.get("text", response.get("sse", "")))
        body = raw.encode() if isinstance(raw, str) else json.dumps(raw).encode()
        headers = tuple(
            (str(name).lower().encode(), str(value).encode()) for name, value in response["headers"].items()
        )
        error = openai.adapter().fault(response["status"], headers, body)
        assert error.reason is SPEAKING.get(line["id"], BY_STATUS[response["status"]]), line["id"]
        assert error.status == response["status"]
        if error.reason in (Reason.BAD_REQUEST, Reason.CONTEXT_TOO_LONG):
            assert error.message
        reasons[error.reason.value] += 1
    print(f"errors: {dict(reasons)}")
    assert sum(reasons.values()) > 90


def test_the_wait_of_a_recorded_429_is_read_against_its_own_date(corpus_lines: Reader) -> None:
    (line,) = (line for line in corpus_lines("errors.jsonl") if line["id"] == "openrouter.chat-d0d55d7c58")
    headers = tuple((name.lower().encode(), value.encode()) for name, value in line["response"]["headers"].items())
    body = json.dumps(line["response"]["body"]).encode()
    assert openai.adapter().fault(429, headers, body).retry_after_s == 26.0
