"""LangChain's `ChatOpenAI` and `OpenAIEmbeddings`, as their users write them."""

from __future__ import annotations

import openai
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from line import Ask, Flow, Told, leave, leaving, ours, serve, weather


def model(ask: Ask) -> ChatOpenAI:
    return ChatOpenAI(
        model=ask.model,
        base_url=ask.url,
        api_key=ask.key,
        max_retries=ask.retries,
        stream_usage=True,
        include_response_headers=True,
        **ask.more,
    )


def answer(message: BaseMessage) -> Told:
    assert isinstance(message, AIMessage)
    usage = message.usage_metadata
    return {
        "text": message.text,
        "finish": message.response_metadata.get("finish_reason"),
        "usage": [usage["input_tokens"], usage["output_tokens"]] if usage else None,
        "headers": ours(message.response_metadata.get("headers", {})),
    }


def chat(ask: Ask) -> Told:
    return answer(model(ask).invoke(ask.text, extra_headers=ask.headers))


async def chat_async(ask: Ask) -> Told:
    return answer(await model(ask).ainvoke(ask.text, extra_headers=ask.headers))


def stream(ask: Ask) -> Told:
    whole, pieces = None, 0
    for chunk in model(ask).stream(ask.text, extra_headers=ask.headers):
        whole = chunk if whole is None else whole + chunk
        pieces += bool(chunk.text)
        if pieces == ask.leave_after:
            break
    return {**answer(whole), "pieces": pieces}


async def stream_async(ask: Ask) -> Told:
    whole, pieces = None, 0
    async with leaving():
        async for chunk in model(ask).astream(ask.text, extra_headers=ask.headers):
            whole = chunk if whole is None else whole + chunk
            pieces += bool(chunk.text)
            leave(pieces == ask.leave_after)
    return {**answer(whole), "pieces": pieces}


def tools(ask: Ask) -> Told:
    get_weather = tool("get_weather")(weather)
    bound = model(ask).bind_tools([get_weather], parallel_tool_calls=False)
    messages: list[BaseMessage] = [HumanMessage(ask.text)]
    asked = bound.invoke(messages)
    messages += [asked, *(get_weather.invoke(call) for call in asked.tool_calls)]
    return {**answer(bound.invoke(messages)), "called": [call["args"] for call in asked.tool_calls]}


def structured(ask: Ask) -> Told:
    told = {
        method: model(ask).with_structured_output(Flow, method=method).invoke(ask.text).model_dump()
        for method in ("json_schema", "function_calling")
    }
    return {"structured": told}


def embed(ask: Ask) -> Told:
    client = OpenAIEmbeddings(
        model=ask.model,
        base_url=ask.url,
        api_key=ask.key,
        max_retries=ask.retries,
        check_embedding_ctx_length=False,
        dimensions=64,
    )
    return {"vectors": client.embed_documents(["one", "two"])}


def responses(ask: Ask) -> Told:
    return answer(
        ChatOpenAI(model=ask.model, base_url=ask.url, api_key=ask.key, use_responses_api=True).invoke("Hello")
    )


serve(
    {
        "chat": chat,
        "chat_async": chat_async,
        "stream": stream,
        "stream_async": stream_async,
        "tools": tools,
        "structured": structured,
        "embed": embed,
        "responses": responses,
    },
    (openai.OpenAIError,),
)
