"""What holds after every sequence, whatever befell it: held against what callers heard and simulators were asked.

Nothing here asks the gateway what it did but by its receipts, and each receipt must agree with both ends of its call.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.simulator.play import Reply
from tests.storms.calls import Asked, Past
from tests.storms.places import ATTEMPTS, FLOORS, PERMITTED, STANDS, TEAMS, Heard, nano_usd
from tests.storms.steps import Ask

DONE: Final = "[DONE]"
LEVELS: Final = ("public", "internal", "confidential", "restricted")
RAISED: Final = {"number": "restricted", "term": "restricted"}
RETRIES: Final = (3, 0.2)  # at least so many, or such a share of the calls that asked a server
RETRIES_WITHIN_S: Final = 10.0

# Faults after which an answer cannot be whole: in one piece, as a stream, and as a stream of Anthropic's, which alone
# ends with a sentinel that cannot be left out. A status is no answer at all.
SPOILT_WHOLE: Final = frozenset({"cut", "cut-reset", "error", "malformed", "torn"})
SPOILT_STREAM: Final = frozenset({"cut", "cut-reset", "error", "torn", "no-finish", "no-end"})
SPOILT_EVENTS: Final = SPOILT_STREAM | {"no-done"}
UNHEARD: Final = frozenset({"connect", "timeout", "cancelled"})  # an attempt that failed so may have reached nobody
BEFORE_A_BYTE: Final = frozenset({"reset", "close"})  # over a kept connection, such a request is sent once more


class Told(NamedTuple):
    """What a caller was told, as far as it came."""

    ids: frozenset[str]
    text: str
    finish: str | None
    usage: dict[str, Any] | None
    done: bool
    error: dict[str, Any] | None


def check(past: Past) -> Counter[str]:
    """Fails where a law is broken; returns how often what happened, so that a storm can show that it was one."""
    receipts: dict[str, dict[str, Any]] = {}
    for receipt in past.receipts:
        user = str(receipt.get("user"))
        assert user not in receipts, f"two receipts of one call: {receipts[user]} and {receipt}"
        receipts[user] = receipt
    strangers = receipts.keys() - {call.user for call in past.calls}
    assert not strangers, f"receipts of calls that nobody made: {strangers}"
    heard_of: dict[int, list[Heard]] = {}
    for heard in past.heard:
        heard_of.setdefault(heard.call, []).append(heard)
    happened: Counter[str] = Counter(heard.fault.kind for heard in past.heard)
    for call in past.calls:
        receipt = receipts.get(call.user)
        heard = heard_of.get(call.number, [])
        try:
            happened[_check_call(past, call, receipt, heard)] += 1
        except AssertionError as broken:
            caller = call.caller
            raise AssertionError(
                f"{broken}\ncall: {call.number} {call.ask}\nasked: {[(h.place, h.fault.kind) for h in heard]}\n"
                f"told: {caller.status} {caller.headers} {caller.body[:3000]!r}"
                f" complete={caller.complete} left={caller.left}\nreceipt: {json.dumps(receipt)}"
            ) from None
    _check_retries(past.receipts)
    _check_levers(past)
    return happened


def level_of(ask: Ask) -> str:
    """Returns how sensitive a call is: by its words, its label, and its team's floor."""
    floor = FLOORS[TEAMS[ask.key]]
    return max(RAISED.get(ask.level, ask.level or floor), floor, key=LEVELS.index)


def _check_call(past: Past, call: Asked, receipt: Mapping[str, Any] | None, heard: Sequence[Heard]) -> str:
    ask, caller = call.ask, call.caller
    assert caller.broken is None, f"what came is no HTTP: {caller.broken}"
    assert caller.messages <= 1, "answered twice"
    # A caller that reads slowly shares its process with the gateway: where that stood still, it read nothing.
    reads = ask.pace == "fast" or (ask.pace == "slow" and not past.held_up)
    whole_or_told = caller.complete or caller.left or not reads or past.killed
    assert whole_or_told, "the connection was broken off without a word"
    if receipt is None:
        assert not heard, "an upstream was asked, and there is no receipt"
        assert not caller.complete, "no receipt of a call that was answered"
        assert past.killed or caller.left, "no receipt of a call that was not answered either"
        # Of a call that rides with another, nothing is written before it ends.
        assert not caller.status or (past.killed and ask.twin is not None), "no receipt of an answer that had begun"
        return "left before it was heard"
    assert ask.leave is None or ask.leave.after_bytes >= 0, "a receipt of a call that was never made"
    if receipt.get("reason") == "interrupted":
        assert past.killed
        _check_interrupted(call, receipt)
        return "interrupted"
    _check_identity(call, receipt)
    _check_places(call, receipt, heard)
    _check_attempts(past, ask, receipt, heard)
    told = _read(call)
    origin = None
    if caller.status == 200 and told.ids:
        origin = _check_truth(past, call, receipt, told)
    _check_end(call, receipt, told, origin)
    _check_money(receipt, origin, heard)
    if caller.left:
        return f"left ({receipt['status']})"
    if not caller.complete:
        return "cut off" if not past.killed else "killed after its receipt"
    form = "stream" if ask.stream else "unary"
    if caller.status != 200:
        return f"refused ({caller.status})"
    return f"{form} {'failed' if told.error else 'whole'} ({receipt.get('cache', '-')})"


def _check_interrupted(call: Asked, receipt: Mapping[str, Any]) -> None:
    """Holds what a call is booked as that died with the gateway's process: as its opening line foresaw."""
    assert not call.caller.complete, "an answer that came whole is booked as interrupted"
    assert (receipt["key"], receipt["model"], receipt["status"]) == (call.ask.key, call.ask.model, 499)
    assert receipt["estimated"]
    assert receipt["tokens"]["fresh_input"] > 0
    assert receipt["cost_nano"] == nano_usd(receipt["deployment"], receipt["tokens"])
    assert receipt["deployment"] in _permitted(call.ask, receipt)


# -- who and where ------------------------------------------------------------------------------------------------


def _check_identity(call: Asked, receipt: Mapping[str, Any]) -> None:
    ask, caller = call.ask, call.caller
    assert (receipt["key"], receipt["team"]) == (ask.key, TEAMS[ask.key])
    assert receipt["model"] == ask.model
    assert receipt.get("sensitivity") == level_of(ask)
    assert receipt.get("stream", False) == ask.stream
    if caller.status:
        assert caller.headers["x-request-id"] == receipt["id"]
    assert call.first_revision <= receipt["config_revision"] <= call.last_revision, (
        f"served by revision {receipt['config_revision']}, not by one of {call.first_revision}–{call.last_revision}"
    )


def _permitted(ask: Ask, receipt: Mapping[str, Any]) -> frozenset[str]:
    variant = str(receipt.get("route") or "").rpartition("-")[2]
    if variant in PERMITTED:
        return PERMITTED[variant][level_of(ask)]
    return frozenset.intersection(*(levels[level_of(ask)] for levels in PERMITTED.values()))


def _check_places(call: Asked, receipt: Mapping[str, Any], heard: Sequence[Heard]) -> None:
    permitted = _permitted(call.ask, receipt)
    asked = {each.place for each in heard} | {line["deployment"] for line in receipt.get("attempts", ())}
    if receipt.get("deployment"):
        asked.add(receipt["deployment"])
    assert asked <= permitted, f"a {level_of(call.ask)} call went to {sorted(asked - permitted)}"


def _check_attempts(past: Past, ask: Ask, receipt: Mapping[str, Any], heard: Sequence[Heard]) -> None:
    lines = receipt.get("attempts", [])
    assert len(lines) <= ATTEMPTS.get(ask.model, 0), f"{len(lines)} attempts"
    if receipt.get("cache") == "hit":
        assert not lines
    assert sum(line.get("reason") is None for line in lines) <= 1, "answered by two attempts"
    assert all(line.get("reason") is not None for line in lines[:-1]), "tried again after an answer"
    for place in STANDS:
        noted = [line for line in lines if line["deployment"] == place]
        seen = [each for each in heard if each.place == place]
        sure = sum(line.get("reason") not in UNHEARD for line in noted)
        again = len(seen) if place in past.fallen else sum(each.fault.kind in BEFORE_A_BYTE for each in seen)
        assert sure <= len(seen) <= len(noted) + again, (
            f"{place} was asked {len(seen)} times, and the receipt has {len(noted)} attempts"
        )


# -- what was said ------------------------------------------------------------------------------------------------


def _read(call: Asked) -> Told:
    """Reads an answer, as far as it came; fails where it is not what it claims to be."""
    ask, caller = call.ask, call.caller
    if not caller.status or caller.status != 200 or not ask.stream:
        if not caller.complete:
            return Told(frozenset(), "", None, None, False, None)
        value = json.loads(caller.body)
        if caller.status != 200:
            assert {"message", "type", "param", "code"} == value["error"].keys()
            return Told(frozenset(), "", None, None, False, value["error"])
        choice = value["choices"][0]
        text = choice["message"]["content"] or ""
        return Told(frozenset({value["id"]}), text, choice["finish_reason"], value.get("usage"), False, None)
    *blocks, rest = caller.body.decode("utf-8", "replace").split("\n\n")
    assert not (rest and caller.complete), f"the stream ended within an event: {rest!r}"
    data = [line.removeprefix("data: ") for block in blocks for line in block.split("\n") if line[:6] == "data: "]
    assert DONE not in data[:-1], "something follows the sentinel"
    done = bool(data) and data[-1] == DONE
    events = [json.loads(each) for each in data if each != DONE]
    error = events.pop()["error"] if events and "error" in events[-1] else None
    assert not any(event.get("error") for event in events), "something follows an error"
    finish = usage = None
    text = ""
    for event in events:
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
        usage = event.get("usage") or usage
    if caller.complete:
        assert done != (error is not None), "neither an end nor an error" if not done else "an end and an error"
    return Told(frozenset(event["id"] for event in events), text, finish, usage, done, error)


def _check_truth(past: Past, call: Asked, receipt: Mapping[str, Any], told: Told) -> Heard:
    """Finds whose answer it was, and holds what was told against what was meant."""
    assert len(told.ids) == 1, f"parts of {len(told.ids)} answers"
    place = call.caller.headers["x-headgate-deployment"]
    assert place == receipt["deployment"]
    meant = past.answers.get((place, next(iter(told.ids))), [])
    origin = next((each for each in meant if words_of(each.reply).startswith(told.text)), None)
    assert origin is not None, f"{place} never said this: {[words_of(each.reply) for each in meant]}"
    assert origin.reply is not None
    if origin.call == call.number:
        assert receipt.get("cache") != "hit"
    else:
        leader = next(each.ask for each in past.calls if each.number == origin.call)
        assert receipt.get("cache") == "hit", f"told what call {origin.call} was told"
        assert call.ask.twin is not None
        alike = [(each.twin, each.model, TEAMS[each.key], level_of(each), each.tokens) for each in (call.ask, leader)]
        assert alike[0] == alike[1], f"shared with {leader}"
    whole = told.done if call.ask.stream else call.caller.complete
    if whole:
        assert told.text == words_of(origin.reply), "the end of an answer that was not whole"
        assert told.finish is not None
        spoilt = SPOILT_WHOLE
        if origin.reply.stream:
            spoilt = SPOILT_EVENTS if STANDS[place].kind == "anthropic" else SPOILT_STREAM
        lacking = origin.endless and not origin.reply.stream and origin.fault.kind != "drip"  # whose last step is empty
        assert not lacking, "an answer without its last byte was told as whole"
        assert origin.fault.kind not in spoilt, f"an answer that was spoilt by {origin.fault.kind} was told as whole"
    return origin


def words_of(reply: Reply | None) -> str:
    """Reads the text out of a simulator's answer, whatever its wire."""
    assert reply is not None
    text = ""
    for frame in reply.frames:
        data = frame.data
        if reply.stream:
            data = data.partition(b"data: ")[2]
        if data.strip() == DONE.encode():
            continue
        value = json.loads(data)
        if "choices" in value:
            for choice in value["choices"]:
                text += (choice.get("delta") or choice.get("message") or {}).get("content") or ""
        elif isinstance(value.get("content"), list):
            text += "".join(block["text"] for block in value["content"])
        elif value["type"] == "content_block_delta":
            text += value["delta"]["text"]
    return text


# -- the books ----------------------------------------------------------------------------------------------------


def _check_end(call: Asked, receipt: Mapping[str, Any], told: Told, origin: Heard | None) -> None:
    """Holds the receipt's end of a call against its caller's."""
    caller, reason = call.caller, receipt.get("reason")
    if not caller.complete:
        return
    assert receipt["status"] == caller.status
    if caller.status != 200:
        assert reason is not None
        assert receipt.get("deployment") is None or receipt.get("attempts")
        return
    assert origin is not None or told.error is not None
    if told.error is not None:
        assert reason is not None, "a stream that failed is booked as whole"
        return
    assert reason is None
    assert receipt["finish"] == told.finish
    if receipt.get("cache") != "hit":
        assert receipt["attempts"][-1]["deployment"] == receipt["deployment"]
    if call.ask.usage or not call.ask.stream:
        assert told.usage is not None
        assert origin is not None
        assert told.usage["total_tokens"] == sum(tokens_of(origin.reply).values())


def tokens_of(reply: Reply | None) -> dict[str, int]:
    """Returns what an answer used, by bucket, as the simulator counts it."""
    assert reply is not None
    tokens = {
        "fresh_input": reply.input_tokens - reply.cached_tokens,
        "cached_input": reply.cached_tokens,
        "output_text": reply.output_tokens,
    }
    return {bucket: count for bucket, count in tokens.items() if count}


def _check_money(receipt: Mapping[str, Any], origin: Heard | None, heard: Sequence[Heard]) -> None:
    whole = receipt.get("reason") is None and receipt["status"] == 200
    tokens, lines = receipt.get("tokens", {}), receipt.get("attempts", [])
    began = {each.place for each in heard if each.reply is not None}
    if receipt.get("cache") == "hit":
        assert receipt["cost_nano"] == 0
        assert not tokens
        if whole and origin is not None:
            assert receipt["saved_nano"] == nano_usd(origin.place, tokens_of(origin.reply))
        return
    spent = 0
    for line in lines:
        used = line.get("tokens", {})
        assert not (used and line.get("reason") is None), "an answer's tokens stand twice"
        assert not used or line["deployment"] in began, "a refusal cost tokens"
        assert line.get("cost_nano", 0) == nano_usd(line["deployment"], used)
        spent += line.get("cost_nano", 0)
    own = nano_usd(receipt["deployment"], tokens) if tokens else 0
    assert receipt.get("cost_nano") == own + spent, f"{own} + {spent}"
    if whole:
        answered = origin or next(each for each in reversed(heard) if each.reply is not None)
        assert not receipt.get("estimated")
        assert not receipt.get("usage_suspect")
        assert tokens == tokens_of(answered.reply)
    elif receipt.get("estimated"):
        said = max((len(words_of(each.reply).encode()) for each in heard if each.reply is not None), default=0)
        assert tokens.get("output_text", 0) <= -(-said // 4), "more was estimated than was ever said"


def _check_retries(receipts: Sequence[Mapping[str, Any]]) -> None:
    times = [receipt["time"] for receipt in receipts]
    if not times or max(times) - min(times) > RETRIES_WITHIN_S:
        return
    calls: Counter[str] = Counter()
    retries: Counter[str] = Counter()
    for receipt in receipts:
        for server, count in Counter(map(_server, receipt.get("attempts", ()))).items():
            calls[server] += 1
            retries[server] += count - 1
    for server, count in retries.items():
        assert count <= max(RETRIES[0], int(calls[server] * RETRIES[1])), f"{server} was retried {count} times"


def _server(line: Mapping[str, str]) -> str:
    """Returns whose retry budget an attempt is of: each replica of a pool has its own, credentials share one."""
    return line["endpoint"] if STANDS[line["deployment"]].replicas > 1 else line["provider"]


def _check_levers(past: Past) -> None:
    for heard in past.heard:
        since = past.shut.get(heard.place)
        assert since is None or heard.call < since, (
            f"{heard.place} was asked by {heard.call}, though it was forced open"
        )
