"""A strict Bedrock on a real socket: it verifies every signature with botocore and every request against its model.

It answers what it is told to, in one piece or as an event stream, and fails on command.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.bedrock_wire import USAGE, Streamed, called, exception, problem_of, said, service, stream, whole

REGION = "us-east-1"
KEY_ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token=="
_SKEW_S = 300.0


class Asked(NamedTuple):
    """A request that was good."""

    path: str
    model: str
    operation: str
    headers: dict[str, str]
    body: Any


class Fault(NamedTuple):
    """An answer that is none: an error with its type; in a stream after so many events, or a cut of the connection."""

    type: str
    message: str = "no"
    status: int = 400
    after: int | None = None  # None: instead of an answer
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """What the model says next."""

    blocks: tuple[Streamed, ...]
    reason: str = "end_turn"
    usage: dict[str, Any] = USAGE


def text(*pieces: str, **fields: Any) -> Answer:
    """Returns an answer in words."""
    return Answer((said(*pieces),), **fields)


def calls(name: str, arguments: object, call_id: str = "tooluse_1") -> Answer:
    """Returns an answer that calls a tool, its arguments in two pieces."""
    written = json.dumps(arguments)
    middle = len(written) // 2
    return Answer((called(name, written[:middle], written[middle:], call_id=call_id),), "tool_use")


class Bedrock:
    """The server; `answers` and `faults` come next, in their order. Without any it says what it heard last."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.faults: deque[Fault] = deque()
        self.asked: list[Asked] = []
        self.refused: list[str] = []  # why requests were bad, in Bedrock's words
        self.session_token: str | None = None
        self.api_keys: set[str] = set()
        self.url = ""
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Bedrock:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                method, path, _ = line.split(" ")
                if not await self._answer(writer, method, path, headers, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> bool:
        """Answers one request; says whether the connection stays."""
        problem = self._unsigned(method, path, headers, body)
        if problem is not None:
            return await self._fail(writer, problem)
        matched = re.fullmatch(r"/model/([^/]+)/(converse|converse-stream|invoke)", path)
        if matched is None:
            return await self._fail(writer, Fault("UnknownOperationException", "no such path", 404))
        model, operation = unquote(matched[1]), matched[2]
        read = json.loads(body)
        wrong = _wrong(model, operation, read)
        if wrong is not None:
            self.refused.append(wrong)
            return await self._fail(writer, Fault("ValidationException", wrong))
        self.asked.append(Asked(path, model, operation, headers, read))
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and fault.after is None:
            return await self._fail(writer, fault)
        if operation == "invoke":
            return await self._embed(writer, model, read)
        answer = self.answers.popleft() if self.answers else text(f"You said: {_heard(read)}")
        if operation == "converse":
            return await self._send(writer, whole(_gathered(answer), answer.reason, answer.usage))
        return await self._stream(writer, answer, fault)

    async def _stream(self, writer: asyncio.StreamWriter, answer: Answer, fault: Fault | None) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        events = list(stream(*answer.blocks, reason=answer.reason, usage=answer.usage))
        if fault is not None:
            events = events[: fault.after]
            if fault.type:
                events.append(exception(fault.type, message=fault.message))
        for each in events:
            # Frames come in pieces of their own.
            for piece in (each[:9], each[9:]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        if fault is not None and not fault.type:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _embed(self, writer: asyncio.StreamWriter, model: str, body: dict[str, Any]) -> bool:
        if "inputText" in body:
            size = body.get("dimensions", 4)
            answer: dict[str, Any] = {"embedding": [0.5] * size, "inputTextTokenCount": len(body["inputText"].split())}
        else:
            vectors = [[float(index), 1.0] for index in range(len(body["texts"]))]
            answer = {"id": "1", "texts": body["texts"], "embeddings": vectors, "response_type": "embeddings_floats"}
            if "embedding_types" in body:
                answer |= {"embeddings": {"float": vectors}, "response_type": "embeddings_by_type"}
        return await self._send(writer, json.dumps(answer).encode())

    async def _fail(self, writer: asyncio.StreamWriter, fault: Fault) -> bool:
        told = {"x-amzn-errortype": f"{fault.type}:http://internal.amazon.com/coral/com.amazon.bedrock/"}
        body = json.dumps({"message": fault.message}).encode()
        return await self._send(writer, body, fault.status, {**told, **fault.headers})

    async def _send(
        self, writer: asyncio.StreamWriter, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> bool:
        fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"HTTP/1.1 {status} -\r\n{head}\r\n".encode() + body)
        await writer.drain()
        return True

    # -- who asks --

    def _unsigned(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Fault | None:
        """Says why a request is not let in: no signature, or not the one that botocore makes of what came."""
        given = headers.get("authorization", "")
        if given.startswith("Bearer "):
            known = given.removeprefix("Bearer ") in self.api_keys
            return None if known else Fault("AccessDeniedException", "Authentication failed", 403)
        pattern = r"AWS4-HMAC-SHA256 Credential=(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})"
        matched = re.fullmatch(pattern, given)
        if matched is None:
            return Fault("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        key_id, day, region, name, _ = matched[1].split("/")
        signed = matched[2].split(";")
        stamp = headers.get("x-amz-date", "")
        age_s = abs((datetime.now(UTC) - datetime.strptime(stamp + "+0000", "%Y%m%dT%H%M%SZ%z")).total_seconds())
        if key_id != KEY_ID or headers.get("x-amz-security-token") != self.session_token:
            return Fault("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
        must = {"host", "x-amz-date"} | {each for each in headers if each.startswith("x-amz-")}
        if age_s > _SKEW_S or day != stamp[:8] or (region, name) != (REGION, "bedrock") or not must <= set(signed):
            return Fault("InvalidSignatureException", "Signature expired or its scope is wrong", 403)
        request = AWSRequest(method, f"http://{headers['host']}{path}", {each: headers[each] for each in signed}, body)
        request.context["timestamp"] = stamp
        signer = SigV4Auth(Credentials(KEY_ID, SECRET, self.session_token), "bedrock", REGION)
        expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        if not hmac.compare_digest(expected, matched[3]):
            told = "The request signature we calculated does not match the signature you provided."
            return Fault("InvalidSignatureException", told, 403)
        return None


def _wrong(model: str, operation: str, body: Any) -> str | None:
    shape = service().operation_model("Converse").input_shape.members["modelId"]
    if not re.fullmatch(shape.metadata["pattern"], model):
        return "The provided model identifier is invalid."
    if operation == "invoke":
        return None
    choice = body.get("toolConfig", {}).get("toolChoice", {})
    if "llama" in model and choice.keys() & {"any", "tool"}:
        return "This model doesn't support the toolConfig.toolChoice.any field."
    return problem_of(model, body, streamed=operation == "converse-stream")


def _heard(body: dict[str, Any]) -> str:
    texts = [block["text"] for turn in body["messages"] for block in turn["content"] if "text" in block]
    return texts[-1] if texts else "nothing"


def _gathered(answer: Answer) -> list[dict[str, Any]]:
    """Returns an answer's blocks as they stand in one piece."""
    content: list[dict[str, Any]] = []
    for start, deltas in answer.blocks:
        if start is not None and "toolUse" in start:
            given = "".join(delta["toolUse"]["input"] for delta in deltas)
            content.append({"toolUse": {**start["toolUse"], "input": json.loads(given or "{}")}})
        elif deltas and "reasoningContent" in deltas[0]:
            inner = [delta["reasoningContent"] for delta in deltas]
            reasoning = {"text": "".join(each.get("text", "") for each in inner)}
            signature = "".join(each.get("signature", "") for each in inner)
            content.append({"reasoningContent": {"reasoningText": {**reasoning, "signature": signature}}})
        else:
            content.append({"text": "".join(delta["text"] for delta in deltas)})
    return content
