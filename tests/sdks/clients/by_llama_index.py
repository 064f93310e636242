"""LlamaIndex's `OpenAILike` and `OpenAILikeEmbedding`, as their users write them."""

from __future__ import annotations

import httpx
import openai
from line import Ask, Flow, Told, leave, leaving, ours, serve, weather
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike


def model(ask: Ask, seen: dict[str, str], **more: object) -> OpenAILike:
    async def note(response: httpx.Response) -> None:
        seen.update(ours(response.headers))

    def note_too(response: httpx.Response) -> None:
        seen.update(ours(response.headers))

    asked = dict(ask.more)
    return OpenAILike(
        model=ask.model,
        api_base=ask.url,
        api_key=ask.key,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=ask.retries,
        temperature=asked.pop("temperature", 0.1),
        additional_kwargs=asked,
        http_client=httpx.Client(event_hooks={"response": [note_too]}),
        async_http_client=httpx.AsyncClient(event_hooks={"response": [note]}),
        **more,
    )


def answer(response: ChatResponse, seen: dict[str, str]) -> Told:
    usage = getattr(response.raw, "usage", None)
    choices = getattr(response.raw, "choices", None)
    return {
        "text": response.message.content,
        "finish": choices[0].finish_reason if choices else None,
        "usage": [usage.prompt_tokens, usage.completion_tokens] if usage else None,
        "headers": seen,
    }


def messages(ask: Ask) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=ask.text)]


def chat(ask: Ask) -> Told:
    return answer(model(ask, seen := {}).chat(messages(ask), extra_headers=ask.headers), seen)


async def chat_async(ask: Ask) -> Told:
    return answer(await model(ask, seen := {}).achat(messages(ask), extra_headers=ask.headers), seen)


def stream(ask: Ask) -> Told:
    pieces, response, finish = 0, None, None
    for response in model(ask, seen := {}).stream_chat(messages(ask), stream_options={"include_usage": True}):
        pieces += bool(response.delta)
        finish = finish or (response.raw.choices[0].finish_reason if response.raw.choices else None)
    return {**answer(response, seen), "finish": finish, "pieces": pieces}


async def stream_async(ask: Ask) -> Told:
    pieces, response, finish = 0, None, None
    got = await model(ask, seen := {}).astream_chat(messages(ask), stream_options={"include_usage": True})
    async with leaving():
        async for response in got:
            pieces += bool(response.delta)
            finish = finish or (response.raw.choices[0].finish_reason if response.raw.choices else None)
            leave(pieces == ask.leave_after)
    return {**answer(response, seen), "finish": finish, "pieces": pieces}


async def tools(ask: Ask) -> Told:
    called = []

    def get_weather(city: str, unit: str) -> str:
        called.append({"city": city, "unit": unit})
        return weather(city, unit)

    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(get_weather, description=weather.__doc__)], llm=model(ask, seen := {})
    )
    return {"text": str(await agent.run(ask.text)), "called": called, "headers": seen}


def structured(ask: Ask) -> Told:
    told = {
        name: model(ask, {}, should_use_structured_outputs=native)
        .as_structured_llm(Flow)
        .chat(messages(ask))
        .raw.model_dump()
        for name, native in (("json_schema", True), ("function_calling", False))
    }
    return {"structured": told}


async def embed(ask: Ask) -> Told:
    client = OpenAILikeEmbedding(
        model_name=ask.model, api_base=ask.url, api_key=ask.key, max_retries=ask.retries, dimensions=64
    )
    assert await client.aget_text_embedding("one") == client.get_text_embedding("one")
    return {"vectors": client.get_text_embedding_batch(["one", "two"])}


serve(
    {
        "chat": chat,
        "chat_async": chat_async,
        "stream": stream,
        "stream_async": stream_async,
        "tools": tools,
        "structured": structured,
        "embed": embed,
    },
    (openai.OpenAIError,),
)
