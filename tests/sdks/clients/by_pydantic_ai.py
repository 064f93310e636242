"""pydantic-ai's `Agent` and `Embedder`, as their users write them."""

from __future__ import annotations

import httpx2
from line import Ask, Flow, Told, ours, serve, weather
from openai import AsyncOpenAI
from pydantic_ai import Agent, AgentRunError, AgentRunResult, Embedder, NativeOutput, ToolOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider


def provider(ask: Ask, seen: dict[str, str]) -> OpenAICompatibleProvider:
    async def note(response: httpx2.Response) -> None:
        seen.update(ours(response.headers))

    client = AsyncOpenAI(
        base_url=ask.url,
        api_key=ask.key,
        max_retries=ask.retries,
        http_client=httpx2.AsyncClient(event_hooks={"response": [note]}),
    )
    return OpenAICompatibleProvider("headgate", openai_client=client)


def agent(ask: Ask, seen: dict[str, str], **more: object) -> Agent:
    settings = {**ask.more, "extra_headers": ask.headers}
    return Agent(OpenAIChatModel(ask.model, provider=provider(ask, seen)), model_settings=settings, **more)


def answer(result: AgentRunResult[str], seen: dict[str, str]) -> Told:
    usage = result.usage
    return {
        "text": result.output,
        "finish": result.response.finish_reason,
        "usage": [usage.input_tokens, usage.output_tokens],
        "headers": seen,
    }


def chat(ask: Ask) -> Told:
    return answer(agent(ask, seen := {}).run_sync(ask.text), seen)


async def chat_async(ask: Ask) -> Told:
    return answer(await agent(ask, seen := {}).run(ask.text), seen)


async def stream_async(ask: Ask) -> Told:
    pieces, said = 0, ""
    async with agent(ask, seen := {}).run_stream(ask.text) as result:
        async for piece in result.stream_text(delta=True, debounce_by=None):
            pieces += 1
            said += piece
            if pieces == ask.leave_after:
                break
        told = {"text": said, "finish": result.response.finish_reason, "headers": seen, "pieces": pieces}
        return told | {"usage": [result.usage.input_tokens, result.usage.output_tokens]}


async def tools(ask: Ask) -> Told:
    called = []
    talker = agent(ask, seen := {})

    @talker.tool_plain(description=weather.__doc__)
    def get_weather(city: str, unit: str) -> str:
        called.append({"city": city, "unit": unit})
        return weather(city, unit)

    return {**answer(await talker.run(ask.text), seen), "called": called}


async def structured(ask: Ask) -> Told:
    return {
        "structured": {
            name: (await agent(ask, {}, output_type=form(Flow)).run(ask.text)).output.model_dump()
            for name, form in (("json_schema", NativeOutput), ("function_calling", ToolOutput))
        }
    }


async def embed(ask: Ask) -> Told:
    embedder = Embedder(OpenAIEmbeddingModel(ask.model, provider=provider(ask, {})), settings={"dimensions": 64})
    return {"vectors": [list(each) for each in (await embedder.embed_documents(["one", "two"])).embeddings]}


async def responses(ask: Ask) -> Told:
    talker = Agent(OpenAIResponsesModel(ask.model, provider=provider(ask, seen := {})))
    return answer(await talker.run(ask.text), seen)


serve(
    {
        "chat": chat,
        "chat_async": chat_async,
        "stream_async": stream_async,
        "tools": tools,
        "structured": structured,
        "embed": embed,
        "responses": responses,
    },
    (AgentRunError,),
)
