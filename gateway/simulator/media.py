"""OpenAI's other endpoints: moderations, images, audio, and the reranking that others speak beside them."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.answers import count
from gateway.simulator.play import Frame, Refused, Reply
from gateway.simulator.wire import positive

_PNG: Final = base64.b64decode(  # one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
_SOUND_BYTES: Final = 4096  # of each piece of speech
_WORDS: Final = ["the", "gate", "lifts", "the", "flow", "before", "noon", "by", "right", "and", "by", "measure"]
_CATEGORIES: Final = ("harassment", "hate", "illicit", "self-harm", "sexual", "violence")
_SOUNDS: Final = {"mp3": "audio/mpeg", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac"}
_TEXTS: Final = {"text": "text/plain; charset=utf-8", "srt": "application/x-subrip", "vtt": "text/vtt"}
_NAME: Final = re.compile(rb'name="([^"]*)"')

Body = dict[str, Json]


def form(body: bytes, content_type: str) -> Body:
    """Reads a form: fields as text, files as bytes; raises Refused for what is none."""
    boundary = content_type.partition("boundary=")[2].partition(";")[0].strip('" ').encode()
    if not boundary or not body.rstrip().endswith(b"--" + boundary + b"--"):
        raise Refused(400, "We could not parse the form of your request.")
    read: Body = {}
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is None:
            raise Refused(400, "A part of your form has no name.")
        value: Json = content if b"filename=" in head else content.decode()
        read[name[1].decode()] = value
    return read


def moderations(body: Body) -> Reply:
    """POST /v1/moderations: what says "harm" is flagged."""
    given = _required(body, "input")
    results = []
    for one in given if isinstance(given, list) else [given]:
        flagged = "harm" in str(one)
        results.append(
            {
                "flagged": flagged,
                "categories": {name: flagged and name == "violence" for name in _CATEGORIES},
                "category_scores": {name: 0.9 if flagged and name == "violence" else 0.01 for name in _CATEGORIES},
                "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
            }
        )
    return _json({"id": "modr-simulator", "model": body.get("model"), "results": results})


def images(body: Body) -> Reply:
    """POST /v1/images/generations, and edits and variations of an image that came."""
    sent = [value for name, value in body.items() if name.startswith("image") and isinstance(value, bytes)]
    text = count(str(body.get("prompt") or ""))
    number = positive(body, "n") if isinstance(body.get("n"), int) else int(body.get("n") or 1)
    seen, drawn = 85 * len(sent), 100 * (number or 1)
    usage = {
        "input_tokens": text + seen,
        "output_tokens": drawn,
        "total_tokens": text + seen + drawn,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
    }
    picture = base64.b64encode(_PNG).decode()
    if _true(body.get("stream")):
        about = {"b64_json": picture, "created_at": int(time.time()), "background": "opaque", "output_format": "png"}
        kind = "image_edit" if sent else "image_generation"
        about |= {"quality": "low", "size": "1024x1024"}
        return _events(
            {"type": f"{kind}.partial_image", "partial_image_index": 0, **about},
            {"type": f"{kind}.completed", **about, "usage": usage},
        )
    data = [{"b64_json": picture} for _ in range(number or 1)]
    return _json({"created": int(time.time()), "data": data, "usage": usage})


def speech(body: Body) -> Reply:
    """POST /v1/audio/speech: noise, one piece for each word, or events that hold it."""
    said = str(_required(body, "input"))
    draw = Random(said)
    pieces = [draw.randbytes(_SOUND_BYTES) for _ in said.split() or [""]]
    if body.get("stream_format") == "sse":
        tokens = {"input_tokens": count(said), "output_tokens": len(pieces), "total_tokens": count(said) + len(pieces)}
        deltas = [{"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()} for piece in pieces]
        return _events(*deltas, {"type": "speech.audio.done", "usage": tokens})
    sound = _SOUNDS.get(str(body.get("response_format") or "mp3"), "audio/wav")
    return Reply(tuple(Frame("content", piece) for piece in pieces), stream=True, content_type=sound)


def transcriptions(body: Body) -> Reply:
    """POST /v1/audio/transcriptions and translations: a word for every 1,000 bytes that were heard."""
    heard = body.get("file")
    if not isinstance(heard, bytes):
        raise Refused(400, "Missing required parameter: 'file'.", param="file")
    words = [_WORDS[index % len(_WORDS)] for index in range(max(1, min(50, len(heard) // 1000)))]
    text, shape = " ".join(words), str(body.get("response_format") or "json")
    sound = max(1, len(heard) // 100)
    usage = {
        "type": "tokens",
        "input_tokens": sound + 1,
        "input_token_details": {"text_tokens": 1, "audio_tokens": sound},
        "output_tokens": len(words),
        "total_tokens": sound + 1 + len(words),
    }
    if shape in _TEXTS:
        return Reply((Frame("content", text.encode() + b"\n"),), content_type=_TEXTS[shape])
    if str(body.get("model")).startswith("whisper"):  # billed by the second, and does not stream
        return _json({"text": text, "usage": {"type": "duration", "seconds": 7}})
    if _true(body.get("stream")):
        deltas = [{"type": "transcript.text.delta", "delta": word} for word in words]
        return _events(*deltas, {"type": "transcript.text.done", "text": text, "usage": usage})
    return _json({"text": text, "usage": usage})


def rerank(body: Body) -> Reply:
    """POST /v1/rerank: the more words a document shares with the query, the better."""
    query, documents = str(_required(body, "query")), _required(body, "documents")
    asked = set(query.lower().split())
    texts = [one.get("text", "") if isinstance(one, dict) else str(one) for one in documents]
    scores = [len(asked & set(text.lower().split())) / max(1, len(asked)) for text in texts]
    best = sorted(range(len(texts)), key=lambda index: -scores[index])[: positive(body, "top_n") or len(texts)]
    results = [{"index": index, "relevance_score": scores[index], "document": {"text": texts[index]}} for index in best]
    tokens = count(query) + sum(map(count, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _json({"id": "rerank-simulator", "model": body.get("model"), "results": results, "usage": usage})


ENDPOINTS: Final[Mapping[str, Callable[[Body], Reply]]] = {
    "/moderations": moderations,
    "/images/generations": images,
    "/images/edits": images,
    "/images/variations": images,
    "/audio/speech": speech,
    "/audio/transcriptions": transcriptions,
    "/audio/translations": transcriptions,
    "/rerank": rerank,
}


def _required(body: Body, name: str) -> Json:
    value = body.get(name)
    if not value:
        raise Refused(400, f"Missing required parameter: '{name}'.", param=name)
    return value


def _true(value: Json) -> bool:
    return value is True or value in ("true", "True", "1")


def _json(answer: Body) -> Reply:
    error = msgspec.json.encode({"error": {"message": "The server had an error.", "type": "server_error"}})
    return Reply((Frame("content", msgspec.json.encode(answer)),), error_event=b"data: " + error + b"\n\n")


def _events(*events: Body) -> Reply:
    error = {"type": "error", "error": {"message": "The server had an error.", "type": "server_error", "code": None}}
    frames = [Frame("content", _event(event)) for event in events[:-1]]
    frames.append(Frame("finish", _event(events[-1])))
    return Reply(tuple(frames), stream=True, error_event=_event(error))


def _event(event: Body) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), msgspec.json.encode(event))
