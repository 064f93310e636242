"""instructor over the `openai` SDK of the generation before, as its users write it."""

from __future__ import annotations

import httpx
import instructor
from instructor.core import InstructorError
from line import Ask, Flow, Told, leave, leaving, ours, serve
from openai import AsyncOpenAI, OpenAI, OpenAIError
from openai.types.chat import ChatCompletion
from pydantic import field_validator


def settings(ask: Ask) -> Told:
    return {"base_url": ask.url, "api_key": ask.key, "max_retries": ask.retries}


def client(ask: Ask, seen: dict[str, str], mode: instructor.Mode = instructor.Mode.TOOLS) -> instructor.Instructor:
    http = httpx.Client(event_hooks={"response": [lambda response: seen.update(ours(response.headers))]})
    return instructor.from_openai(OpenAI(**settings(ask), http_client=http), mode=mode)


def client_async(ask: Ask, seen: dict[str, str]) -> instructor.AsyncInstructor:
    async def note(response: httpx.Response) -> None:
        seen.update(ours(response.headers))

    http = httpx.AsyncClient(event_hooks={"response": [note]})
    return instructor.from_openai(AsyncOpenAI(**settings(ask), http_client=http))


def asked(ask: Ask) -> Told:
    messages = [{"role": "user", "content": ask.text}]
    return {"model": ask.model, "messages": messages, "max_retries": 1, "extra_headers": ask.headers, **ask.more}


def answer(flow: Flow, completion: ChatCompletion, seen: dict[str, str]) -> Told:
    return {
        "text": flow.model_dump_json(),
        "finish": completion.choices[0].finish_reason,
        "usage": [completion.usage.prompt_tokens, completion.usage.completion_tokens],
        "headers": seen,
    }


def chat(ask: Ask) -> Told:
    return answer(*client(ask, seen := {}).create_with_completion(response_model=Flow, **asked(ask)), seen)


async def chat_async(ask: Ask) -> Told:
    got = await client_async(ask, seen := {}).create_with_completion(response_model=Flow, **asked(ask))
    return answer(*got, seen)


def stream(ask: Ask) -> Told:
    flows = list(client(ask, seen := {}).create_partial(response_model=Flow, **asked(ask)))
    return {"text": flows[-1].model_dump_json(), "headers": seen, "pieces": len(flows)}


async def stream_async(ask: Ask) -> Told:
    flows = []
    async with leaving():
        async for flow in client_async(ask, seen := {}).create_partial(response_model=Flow, **asked(ask)):
            flows.append(flow)
            leave(len(flows) == ask.leave_after)
    return {"text": flows[-1].model_dump_json(), "headers": seen, "pieces": len(flows)}


def structured(ask: Ask) -> Told:
    modes = {"json_schema": instructor.Mode.JSON_SCHEMA, "function_calling": instructor.Mode.TOOLS}
    told = {
        name: client(ask, {}, mode).create(response_model=Flow, **asked(ask)).model_dump()
        for name, mode in modes.items()
    }
    return {"structured": told}


def corrected(ask: Ask) -> Told:
    """Asks for what the first answer is refused as: the second try tells the model what was wrong."""
    tries = []

    class Checked(Flow):
        @field_validator("litres")
        @classmethod
        def _once(cls, litres: int) -> int:
            tries.append(litres)
            if len(tries) == 1:
                raise ValueError("the gauge says otherwise")
            return litres

    flow = client(ask, {}).create(response_model=Checked, **asked(ask))
    return {"structured": {"corrected": flow.model_dump()}, "tries": len(tries)}


serve(
    {
        "chat": chat,
        "chat_async": chat_async,
        "stream": stream,
        "stream_async": stream_async,
        "structured": structured,
        "corrected": corrected,
    },
    (InstructorError, OpenAIError),
)
