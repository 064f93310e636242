"""OpenAI's other endpoints, relayed: what goes, what comes, what it used, and that no half answer passes for whole."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import azure, openai, vllm
from adapters._openai_media import PATHS, usage_of
from adapters.dialects.audio import SpeechDialect, TranscriptionsDialect, TranslationsDialect
from adapters.dialects.images import ImageEditsDialect, ImagesDialect, ImageVariationsDialect
from adapters.dialects.moderations import ModerationsDialect
from adapters.dialects.rerank import RerankDialect
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.money import BUCKETS, Price, Rates, charge, knows
from gateway.core.types import Deployment

PLACE = Deployment("d", "p", "openai", "their-name", "openai", b"/v1", ())
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


class Whole:
    """A form that has come."""

    content_type = b"multipart/form-data; boundary=b"
    upload = None

    def __init__(self, **fields: str) -> None:
        self.fields = fields
        self.text = "\n".join(fields.values()).encode()

    def head(self, model: str) -> bytes:
        return b"<" + model.encode() + b">"

    def withhold(self, names) -> None:
        for name in names:
            if name in self.fields:
                raise BadRequest("withheld", param=name)

    def watch(self, judge) -> None:
        raise AssertionError


def json_call(dialect, **body):
    return dialect.parse("req_1", msgspec.json.encode(body), ((b"x-headgate-strict", b"true"),), 7)


def form_call(dialect, **fields):
    return dialect.of(Whole(**fields)).parse("req_1", b"", (), 7)


def decoder_of(call):
    return openai.adapter().decoder(call, PLACE, ImagesDialect())


def fed(decoder, data: bytes, size: int = 0) -> bytes:
    out = []
    for start in range(0, len(data), size or max(1, len(data))):
        out += decoder.feed(data[start : start + (size or len(data))])
    out += decoder.end()
    return b"".join(out)


# -- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "body", "family", "path"),
    [
        (ModerationsDialect(), {"input": "x"}, "moderations", b"/v1/moderations"),
        (ImagesDialect(), {"prompt": "x", "unknown": [1]}, "images", b"/v1/images/generations"),
        (ImageEditsDialect(), {"prompt": "x", "images": []}, "images", b"/v1/images/edits"),
        (SpeechDialect(), {"input": "x", "voice": "v"}, "speech", b"/v1/audio/speech"),
        (RerankDialect(), {"query": "x", "documents": ["y"]}, "rerank", b"/v1/rerank"),
    ],
)
def test_json_goes_on_with_its_model_replaced(dialect, body, family, path):
    call = json_call(dialect, model="ours", **body)
    assert (call.endpoint, call.dialect, call.model, call.strict) == (family, dialect.name, "ours", True)
    request = openai.adapter().encode(call, PLACE, dialect, {})
    assert request.path == path
    assert msgspec.json.decode(request.body) == {"model": "their-name", **body}
    assert request.upload is None
    assert json_call(dialect, **body).model is None


@pytest.mark.parametrize(
    ("dialect", "family", "path"),
    [
        (ImageEditsDialect(), "images", b"/v1/images/edits"),
        (ImageVariationsDialect(), "images", b"/v1/images/variations"),
        (TranscriptionsDialect(), "transcriptions", b"/v1/audio/transcriptions"),
        (TranslationsDialect(), "transcriptions", b"/v1/audio/translations"),
    ],
)
def test_a_form_goes_on_with_its_model_replaced(dialect, family, path):
    call = form_call(dialect, model="ours", prompt="of gates", stream="true", n="2", user="eve")
    assert (call.endpoint, call.dialect, call.model, call.stream, call.n) == (family, dialect.name, "ours", True, 2)
    assert (call.user, call.has_media, call.opaque) == ("eve", True, True)
    assert b"of gates" in call.body
    request = vllm.adapter().encode(call, PLACE, dialect, {})
    assert (request.path, request.body) == (path, b"<their-name>")
    assert request.headers == ((b"content-type", Whole.content_type),)


def test_every_dialect_has_its_path_and_no_other_provider_translates_it():
    for dialect in (ModerationsDialect(), ImagesDialect(), SpeechDialect(), RerankDialect(), TranscriptionsDialect()):
        assert dialect.name in PATHS
        call = form_call(TranscriptionsDialect())
        for ask in (dialect.conversation, dialect.embedding_request, lambda call, d=dialect: d.writer(call, "m")):
            with pytest.raises(BadRequest, match="does not speak"):
                ask(call)


def test_fields_whose_meaning_is_the_gateways_never_pass():
    body = {"query": "x", "documents": ["y"], "priority": -5, "cache_salt": "z"}
    call = msgspec.structs.replace(json_call(RerankDialect(), **body), strict=False)
    request = vllm.adapter().encode(call, PLACE, RerankDialect(), {})
    assert set(msgspec.json.decode(request.body)) == {"model", "query", "documents"}
    assert len(request.warnings) == 2
    with pytest.raises(BadRequest) as error:
        vllm.adapter().encode(json_call(RerankDialect(), **body), PLACE, RerankDialect(), {})
    assert error.value.param in body
    form = form_call(TranscriptionsDialect(), priority="-5")
    with pytest.raises(BadRequest) as error:
        vllm.adapter().encode(form, PLACE, TranscriptionsDialect(), {})
    assert error.value.param == "priority"
    assert openai.adapter().encode(form, PLACE, TranscriptionsDialect(), {}).body


def test_azure_takes_them_where_its_deployments_stand():
    dated = Deployment(
        "d", "p", "azure", "whisper", "azure", b"", (), options={"api_version": "2024-10-21", "deployment_name": "ear"}
    )
    request = azure.adapter().encode(form_call(TranscriptionsDialect()), dated, TranscriptionsDialect(), {})
    assert request.path == b"/openai/deployments/ear/audio/transcriptions?api-version=2024-10-21"
    assert request.body == b"<ear>"


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        (ModerationsDialect(), {}, "input"),
        (ModerationsDialect(), {"input": []}, "input"),
        (ImagesDialect(), {}, "prompt"),
        (ImagesDialect(), {"prompt": "x", "n": 0}, "n"),
        (SpeechDialect(), {"input": 5}, "input"),
        (RerankDialect(), {"query": "x"}, "documents"),
        (RerankDialect(), {"query": "x", "documents": []}, "documents"),
    ],
)
def test_what_no_provider_could_answer_is_refused_by_its_field(dialect, body, param):
    with pytest.raises(BadRequest) as error:
        json_call(dialect, **body)
    assert error.value.param == param


@pytest.mark.parametrize("n", ["0", "-1", "x", "", "1e9", "٣"])
def test_a_forms_number_is_a_number(n):
    with pytest.raises(BadRequest) as error:
        form_call(ImageEditsDialect(), n=n)
    assert error.value.param == "n"


@pytest.mark.parametrize(
    ("call", "media"),
    [
        (json_call(ModerationsDialect(), input=["a", "b"]), False),
        (json_call(ModerationsDialect(), input=[{"type": "text", "text": "a"}]), False),
        (json_call(ModerationsDialect(), input=[{"type": "image_url", "image_url": {"url": "https://a"}}]), True),
        (json_call(ImagesDialect(), prompt="x"), False),
        (json_call(ImageEditsDialect(), prompt="x"), True),
        (json_call(RerankDialect(), query="x", documents=["image"]), False),
        (json_call(RerankDialect(), query={"image": "https://a"}, documents=["y"]), True),
        (form_call(TranscriptionsDialect()), True),
    ],
)
def test_what_detectors_cannot_read_is_media(call, media):
    assert call.has_media is media


def test_a_form_dialect_without_a_form_takes_none():
    with pytest.raises(BadRequest, match="multipart/form-data"):
        TranscriptionsDialect().parse("r", b"{}", ())


# -- usage and money --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "buckets"),
    [
        (USAGE | {"input_tokens_details": {"text_tokens": 4, "image_tokens": 6}}, (4, 0, 0, 0, 0, 6, 5, 0, 0)),
        (
            USAGE | {"type": "tokens", "input_token_details": {"text_tokens": 1, "audio_tokens": 9}},
            (1, 0, 0, 0, 9, 0, 5, 0, 0),
        ),
        (USAGE, (10, 0, 0, 0, 0, 0, 5, 0, 0)),
        ({"prompt_tokens": 7, "total_tokens": 7}, (7, 0, 0, 0, 0, 0, 0, 0, 0)),
        ({"total_tokens": 7}, (7, 0, 0, 0, 0, 0, 0, 0, 0)),
    ],
)
def test_tokens_go_into_their_buckets(raw, buckets):
    usage = usage_of(msgspec.json.encode(raw))
    assert tuple(getattr(usage, bucket) for bucket in BUCKETS) == buckets
    assert (usage.suspect, usage.uncounted, usage.estimated) == (False, False, False)
    assert msgspec.json.decode(usage.raw) == raw


def test_what_is_spoken_counts_as_audio():
    usage = usage_of(msgspec.json.encode(USAGE), spoken=True)
    assert (usage.fresh_input, usage.output_text, usage.audio_output) == (10, 0, 5)


@pytest.mark.parametrize(
    "raw", [b"", b"null", b'{"type":"duration","seconds":7}', b'{"billed_units":{"search_units":1}}', b"[]", b"7"]
)
def test_what_counts_no_tokens_is_never_priced_by_them(raw):
    usage = usage_of(raw)
    assert usage.uncounted
    assert usage.input_tokens == usage.output_tokens == 0
    assert not knows(Price("v", ((0, Rates(1, output_text=1)),)), usage)
    by_call = Price("v", ((0, Rates(1, output_text=1)),), per_request_nano=5)
    assert knows(by_call, usage)
    assert charge(usage, by_call).nano_usd == 5
    assert knows(Price("v", ((0, Rates()),)), usage)  # free


numbers = st.none() | st.integers(-50, 10_000)
details = st.none() | st.fixed_dictionaries({"text_tokens": numbers, "image_tokens": numbers, "audio_tokens": numbers})


@given(
    st.fixed_dictionaries(
        {
            "input_tokens": numbers,
            "output_tokens": numbers,
            "total_tokens": numbers,
            "input_tokens_details": details,
            "input_token_details": details,
        }
    )
)
def test_buckets_are_never_negative_and_sum_to_what_was_told(raw):
    usage = usage_of(msgspec.json.encode(raw))
    assert all(getattr(usage, bucket) >= 0 for bucket in BUCKETS)
    if not usage.suspect and not usage.uncounted and raw["input_tokens"] is not None:
        assert usage.input_tokens == raw["input_tokens"]
        assert usage.output_tokens == (raw["output_tokens"] or 0)


# -- whole answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 7])
def test_json_comes_back_as_it_came(size):
    body = b'{ "created": 1,\n "data": [{"b64_json": "AA=="}], "usage": {"input_tokens": 3, "output_tokens": 4} }'
    decoder = decoder_of(json_call(ImagesDialect(), prompt="x"))
    assert fed(decoder, body, size) == body
    assert decoder.complete
    assert decoder.started
    assert (decoder.usage.fresh_input, decoder.usage.output_text) == (3, 4)


@pytest.mark.parametrize(
    "body", [b"1\n00:00 --> 00:01\nthe gate\n", b"WEBVTT\n\nthe gate", b"the gate", "Das Tor – ü".encode()]
)
def test_a_transcript_may_be_text(body):
    decoder = decoder_of(form_call(TranscriptionsDialect(), response_format="srt"))
    assert fed(decoder, body) == body
    assert decoder.usage.uncounted


@pytest.mark.parametrize("body", [b"<!doctype html><title>It works", b" <HTML>", b"\xff\xfe\x00"])
def test_a_page_of_a_proxy_is_no_transcript(body):
    with pytest.raises(UpstreamError) as error:
        fed(decoder_of(form_call(TranscriptionsDialect())), body)
    assert error.value.reason is Reason.SERVER_ERROR


@pytest.mark.parametrize("body", [b"", b"text", b"[1]", b"<html>"])
def test_where_json_is_asked_nothing_else_is_an_answer(body):
    with pytest.raises(UpstreamError):
        fed(decoder_of(json_call(ModerationsDialect(), input="x")), body)


ERROR = b'{"error":{"message":"Overloaded","type":"server_error","code":"overloaded"}}'


@pytest.mark.parametrize(
    "call",
    [
        json_call(ModerationsDialect(), input="x"),
        json_call(SpeechDialect(), input="x"),
        form_call(TranscriptionsDialect()),
        json_call(ImagesDialect(), prompt="x", stream=True),
        json_call(SpeechDialect(), input="x", stream_format="sse"),
    ],
)
def test_an_error_within_a_200_is_an_error(call):
    with pytest.raises(UpstreamError) as error:
        fed(decoder_of(call), ERROR)
    assert error.value.reason is Reason.OVERLOADED


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_sound_goes_on_piece_by_piece(size):
    sound = bytes(range(256)) * 20
    decoder = decoder_of(json_call(SpeechDialect(), input="x"))
    assert fed(decoder, sound, size) == sound
    assert decoder.complete
    assert decoder.usage.uncounted
    assert decoder.output_bytes == 0  # an estimate would take sound for words


def test_no_sound_is_no_answer():
    with pytest.raises(UpstreamError, match="empty"):
        decoder_of(json_call(SpeechDialect(), input="x")).end()


# -- streams ----------------------------------------------------------------------------------------------------------


def event(kind: str, **more) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **more}))


STREAMS = {
    "image_generation": (
        json_call(ImagesDialect(), prompt="x", stream=True),
        event("image_generation.partial_image", b64_json="AA") + event("image_generation.completed", usage=USAGE),
    ),
    "image_edit": (
        form_call(ImageEditsDialect(), stream="true"),
        event("image_edit.partial_image", b64_json="AA") + event("image_edit.completed", usage=USAGE),
    ),
    "transcript": (
        form_call(TranscriptionsDialect(), stream="true"),
        event("transcript.text.delta", delta="a") * 3 + event("transcript.text.done", text="aaa", usage=USAGE),
    ),
    "speech": (
        json_call(SpeechDialect(), input="x", stream_format="sse"),
        event("speech.audio.delta", audio="AA") * 2 + event("speech.audio.done", usage=USAGE),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [0, 1, 13])
def test_events_go_on_as_they_came(name, size):
    call, stream = STREAMS[name]
    decoder = decoder_of(call)
    assert fed(decoder, stream, size) == stream
    assert decoder.usage.input_tokens == 10
    assert decoder.usage.output_tokens == 5
    assert (decoder.complete, decoder.finish) == (True, "stop")


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_a_cut(name):
    call, stream = STREAMS[name]
    for end in range(len(stream)):
        decoder = decoder_of(call)
        out = b"".join(decoder.feed(stream[:end]))
        assert stream.startswith(out)
        with pytest.raises(StreamCut):
            decoder.end()


@pytest.mark.parametrize("name", STREAMS)
def test_an_error_in_a_stream_is_one_wherever_it_stands(name):
    call, stream = STREAMS[name]
    first = stream.index(b"\n\n") + 2
    for error in (event("error", error={"message": "no", "type": "server_error"}), b"data: " + ERROR + b"\n\n"):
        with pytest.raises(UpstreamError):
            fed(decoder_of(call), stream[:first] + error + stream[first:])


def test_the_last_event_waits_for_the_end_that_proves_it():
    call, stream = STREAMS["transcript"]
    decoder = decoder_of(call)
    out = b"".join(decoder.feed(stream))
    assert b"transcript.text.done" not in out
    assert b"transcript.text.done" in b"".join(decoder.end())


def test_what_is_no_json_in_a_stream_is_dropped_and_counted():
    call, stream = STREAMS["transcript"]
    decoder = decoder_of(call)
    assert fed(decoder, b"data: {broken\n\n: comment\n\n" + stream + b"data: [DONE]\n\n").startswith(b": comment\n\n")
    assert decoder.dropped == 1


def test_a_model_that_does_not_stream_answers_in_one_body():
    call, _ = STREAMS["transcript"]
    body = b'{"text":"the gate","usage":{"type":"duration","seconds":3}}'
    decoder = decoder_of(call)
    assert fed(decoder, body, 5) == body
    assert decoder.usage.uncounted
    assert decoder.complete
