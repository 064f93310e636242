"""Gemini's wire at AI Studio and at Vertex: generateContent, its stream, embeddings, errors."""

from __future__ import annotations

import base64
import re
from random import Random
from typing import Final
from urllib.parse import unquote

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.answers import Answer, Ask, CalledTool, Offered, count, key
from gateway.simulator.play import Frame, Part, Refused, Reply
from gateway.simulator.wire import members, positive, text_of

_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FINISHES: Final = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "abort": "OTHER",
}
_MODES: Final = {"AUTO": "auto", "VALIDATED": "auto", "NONE": "none", "ANY": "required"}
_IMAGE_TOKENS: Final = 258  # what Gemini counts for a tile
_SENTINEL: Final = "skip_thought_signature_validator"
_SIGNS: Final = re.compile(r"gemini-[3-9]")
_CALLED: Final = re.compile(r"/(?:models|endpoints)/([^/]+):([A-Za-z]+)$")
_DIMENSIONS: Final = 768

STREAM: Final = "streamGenerateContent"
GENERATE: Final = "generateContent"
PARTNERS: Final = {"rawPredict": False, "streamRawPredict": True}  # of Anthropic's models at Vertex
EMBED: Final = ("embedContent", "batchEmbedContents", "predict")
COUNT: Final = "countTokens"
COUNTER: Final = "count-tokens"  # stands for a model where Anthropic's at Vertex count


def called(path: str) -> tuple[str, str] | None:
    """Returns the model and the method that a path names, None for another wire's."""
    found = _CALLED.search(path)
    return (unquote(found[1]), found[2]) if found else None


class Generate:
    """POST …/models/NAME:generateContent and :streamGenerateContent; `model` and `stream` are put into the body."""

    def read(self, body: dict[str, Json]) -> Ask:
        contents = members(body, "contents")
        if not contents:
            raise Refused(400, "contents is not specified")
        _hold_to_the_rules(contents, signs=bool(_SIGNS.match(str(body["model"]))))
        config = body.get("generationConfig") or {}
        calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
        named = calling.get("allowedFunctionNames")
        functions = [function for tool in members(body, "tools") for function in members(tool, "functionDeclarations")]
        last = contents[-1]
        wants_json = config.get("responseMimeType") == "application/json"
        schema = config.get("responseJsonSchema") or config.get("responseSchema") or {}
        thinking = config.get("thinkingConfig") or {}
        parts = [part for content in contents for part in content["parts"]]
        system = (body.get("systemInstruction") or {}).get("parts")
        return Ask(
            model=body["model"],
            prompt=text_of(system) + "".join(map(_text, parts)),
            last="" if last.get("role") != "user" or _counted(last, "functionResponse") else text_of(last["parts"]),
            extra_input_tokens=4 * len(contents) + _IMAGE_TOKENS * sum("inlineData" in part for part in parts),
            seed=config.get("seed") or 0,
            stream=bool(body.get("stream")),
            max_tokens=positive(config, "maxOutputTokens"),
            stop=tuple(config.get("stopSequences") or ()),
            n=positive(config, "candidateCount") or 1,
            tools=tuple(
                Offered(each["name"], _either(each, "parametersJsonSchema") or each.get("parameters") or {})
                for each in functions
            ),
            tool_mode="tool" if named else _MODES.get(calling.get("mode", "AUTO"), "auto"),
            tool_name=named[0] if named else None,
            schema=schema if wants_json else None,
            thinking=bool(_either(thinking, "includeThoughts")),
        )

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        prompt = ask.input_tokens
        thoughts = sum(len(one.thinking) for one in answers)
        said = sum(one.output_tokens for one in answers) - thoughts
        usage: dict[str, Json] = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": said,
            "totalTokenCount": prompt + said + thoughts,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
            "serviceTier": "standard",
        }
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        if cached_tokens:
            usage["cachedContentTokenCount"] = cached_tokens
        head: dict[str, Json] = {
            "usageMetadata": usage,
            "modelVersion": ask.model,
            "responseId": key(Random(f"{ask.model}{serial}"), 22),
        }
        signs = bool(_SIGNS.match(ask.model))
        if ask.stream:
            frames = tuple(frame for number, one in enumerate(answers) for frame in _frames(head, number, one, signs))
        else:
            candidates = [
                {"content": _content(_parts(one, signs)), "finishReason": _finish(one), "index": number}
                for number, one in enumerate(answers)
            ]
            frames = (Frame("content", msgspec.json.encode({"candidates": candidates, **head})),)
        return Reply(
            frames,
            stream=ask.stream,
            error_event=b"data: " + self.failure(Refused(503, "The model is overloaded.")) + b"\r\n\r\n",
            input_tokens=prompt,
            cached_tokens=cached_tokens,
            output_tokens=said + thoughts,
            finish=answers[0].finish,
        )

    def failure(self, refused: Refused) -> bytes:
        status = refused.status
        error: dict[str, Json] = {
            "code": status,
            "message": refused.message,
            "status": _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL"),
        }
        if refused.code == "context_length_exceeded":
            error["message"] = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
        elif refused.code == "insufficient_quota":
            error["details"] = [_detail("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerDayPerProject"}])]
        elif refused.code == "invalid_api_key":
            error |= {"code": 400, "status": "INVALID_ARGUMENT", "message": "API key not valid."}
            error["details"] = [_detail("ErrorInfo", reason="API_KEY_INVALID", domain="googleapis.com")]
        elif status == 429:
            error["details"] = [_detail("RetryInfo", retryDelay="7s")]
        return msgspec.json.encode({"error": error})


def count_tokens(model: str, body: dict[str, Json]) -> bytes:
    """Answers :countTokens, which asks with a whole request (AI Studio) or with its parts (Vertex); raises Refused."""
    asked = Generate().read({**(body.get("generateContentRequest") or body), "model": model})
    details = [{"modality": "TEXT", "tokenCount": asked.input_tokens}]
    return msgspec.json.encode({"totalTokens": asked.input_tokens, "promptTokensDetails": details})


def embeddings(model: str, method: str, body: dict[str, Json]) -> bytes:
    """Answers the embeddings' methods of AI Studio and of Vertex; raises Refused."""
    if method == "predict":
        instances = members(body, "instances")
        size = (body.get("parameters") or {}).get("outputDimensionality") or _DIMENSIONS
        predictions = [
            {
                "embeddings": {
                    "statistics": {"token_count": count(each["content"]), "truncated": False},
                    "values": _vector(model, each["content"], size),
                }
            }
            for each in instances
        ]
        return msgspec.json.encode({"predictions": predictions})
    if method == "embedContent":
        text = text_of(body["content"]["parts"])
        values = _vector(model, text, body.get("outputDimensionality") or _DIMENSIONS)
        return msgspec.json.encode({"embedding": {"values": values}})
    found = [
        {"values": _vector(model, text_of(each["content"]["parts"]), each.get("outputDimensionality") or _DIMENSIONS)}
        for each in members(body, "requests")
    ]
    return msgspec.json.encode({"embeddings": found})


def _vector(model: str, text: str, size: int) -> list[float]:
    draw = Random(f"{model}\0{text}")
    raw = [draw.gauss(0.0, 1.0) for _ in range(size)]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]


# -- the rules of a history ---------------------------------------------------------------------------------------


def _hold_to_the_rules(contents: list[dict[str, Json]], signs: bool) -> None:
    """Raises Refused, in the API's own words, where it would refuse a history."""
    open_calls = 0
    for number, content in enumerate(contents):
        parts = content.get("parts")
        if not parts:
            raise Refused(400, f"GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.")
        role = content.get("role", "user")
        if role not in ("user", "model"):
            raise Refused(400, "Please use a valid role: user, model.")
        answered = _counted(content, "functionResponse")
        if answered != open_calls:
            raise Refused(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
            )
        open_calls = _counted(content, "functionCall") if role == "model" else 0
        if signs and open_calls:
            first = next(part for part in parts if "functionCall" in part)
            signature = first.get("thoughtSignature")
            name = first["functionCall"].get("name")
            if not signature:
                raise Refused(400, f"Function call is missing a thought_signature in functionCall parts: {name}.")
            if signature not in (_SENTINEL, _signature(name)):
                raise Refused(400, "Corrupted thought signature.")
    if open_calls:
        raise Refused(400, "Please ensure that function call turn is followed by a function response turn.")


def _counted(content: dict[str, Json], kind: str) -> int:
    return sum(kind in part for part in content["parts"])


def _either(holder: dict[str, Json], name: str) -> Json:
    """Returns a field in either of the spellings that the API takes, and Google's own SDK mixes."""
    return holder.get(name, holder.get(re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)))


def _text(part: dict[str, Json]) -> str:
    if "functionResponse" in part:
        return msgspec.json.encode(part["functionResponse"].get("response")).decode()
    if "functionCall" in part:
        return msgspec.json.encode(part["functionCall"].get("args")).decode()
    return text_of([part])


# -- answers ------------------------------------------------------------------------------------------------------


def _parts(one: Answer, signs: bool) -> list[Json]:
    parts: list[Json] = []
    if one.thinking:
        parts.append({"text": "".join(one.thinking), "thought": True})
    if one.pieces:
        part: dict[str, Json] = {"text": one.text}
        if signs and not one.calls:
            part["thoughtSignature"] = _signature("text")
        parts.append(part)
    parts.extend(_call(call, number, signs) for number, call in enumerate(one.calls))
    return parts


def _frames(head: dict[str, Json], number: int, one: Answer, signs: bool) -> list[Frame]:
    def frame(part: Part, parts: list[Json], **fields: Json) -> Frame:
        candidate = {"content": _content(parts), "index": number, **fields}
        document = msgspec.json.encode({"candidates": [candidate], **head})
        return Frame(part, b"data: %b\r\n\r\n" % document)

    frames = [frame("content", [{"text": piece, "thought": True}]) for piece in one.thinking]
    frames += [frame("content", [{"text": piece}]) for piece in one.pieces]
    frames += [frame("content", [_call(call, place, signs)]) for place, call in enumerate(one.calls)]
    last: dict[str, Json] = {"text": ""}
    if signs and one.pieces:
        last["thoughtSignature"] = _signature("text")
    frames.append(frame("finish", [last], finishReason=_finish(one)))
    return frames


def _call(call: CalledTool, place: int, signs: bool) -> dict[str, Json]:
    """Writes a call; the first of a step is signed, as the API does, and only newer models name it."""
    try:
        arguments = msgspec.json.decode("".join(call.pieces))
    except msgspec.DecodeError:
        arguments = {}  # cut off by maxOutputTokens
    function: dict[str, Json] = {"name": call.name, "args": arguments}
    if not signs:
        return {"functionCall": function}
    function["id"] = call.key[:8].lower()
    return {"functionCall": function} | ({"thoughtSignature": _signature(call.name)} if place == 0 else {})


def _content(parts: list[Json]) -> Json:
    return {"parts": parts, "role": "model"}


def _finish(one: Answer) -> str:
    return _FINISHES.get(one.finish, one.finish)


def _signature(of: str) -> str:
    return base64.b64encode(f"simulator signed {of}\xff".encode("latin-1")).decode()


def _detail(kind: str, **fields: Json) -> dict[str, Json]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
