"""LiteLLM's names of providers (`openai/gpt-4o`) -> kinds of ours, and where their keys and addresses are from.

Sources: https://docs.litellm.ai/docs/providers and its pages; LiteLLM's own `get_llm_provider_logic.py` for prefixes,
addresses and variables (2026-11).
"""

from __future__ import annotations

from typing import Final

import msgspec


class Prefix(msgspec.Struct, frozen=True):
    """One provider there: its kind here, the variable that LiteLLM takes its key from unless told otherwise.

    `address` is where it listens when that is not the kind's own; `address_variable` where LiteLLM looks for it.
    `version` is what LiteLLM puts behind an address by itself and our kind does not. `free`: nobody is paid by
    the token. `note` says what is not quite the same.
    """

    kind: str
    key: str | None = None
    address: str | None = None
    address_variable: str | None = None
    version: str = ""
    free: bool = False
    note: str = ""


_COMPATIBLE: Final = "relayed as to any OpenAI-compatible server"


def _compatible(key: str, address: str) -> Prefix:
    return Prefix("openai_compatible", key, address, note=_COMPATIBLE)


PREFIXES: Final[dict[str, Prefix]] = {
    "openai": Prefix("openai", "OPENAI_API_KEY"),
    "text-completion-openai": Prefix("openai", "OPENAI_API_KEY"),
    "azure": Prefix("azure", "AZURE_API_KEY", address_variable="AZURE_API_BASE"),
    "azure_text": Prefix("azure", "AZURE_API_KEY", address_variable="AZURE_API_BASE"),
    "azure_ai": Prefix(
        "azure",
        "AZURE_AI_API_KEY",
        address_variable="AZURE_AI_API_BASE",
        note="spoken to as Azure's own API of models; Anthropic's models there take `kind: anthropic` and base_url",
    ),
    "anthropic": Prefix("anthropic", "ANTHROPIC_API_KEY", version="/v1"),
    "bedrock": Prefix("bedrock"),
    "bedrock_converse": Prefix("bedrock"),
    "vertex_ai": Prefix("vertex"),
    "vertex_ai_beta": Prefix("vertex"),
    "gemini": Prefix("gemini", "GEMINI_API_KEY"),
    "groq": Prefix("groq", "GROQ_API_KEY"),
    "mistral": Prefix("mistral", "MISTRAL_API_KEY"),
    "deepseek": Prefix("deepseek", "DEEPSEEK_API_KEY"),
    "together_ai": Prefix("together", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Prefix("fireworks", "FIREWORKS_AI_API_KEY"),
    "openrouter": Prefix("openrouter", "OPENROUTER_API_KEY"),
    "xai": Prefix("xai", "XAI_API_KEY"),
    "cohere": Prefix("cohere", "COHERE_API_KEY"),
    "cohere_chat": Prefix("cohere", "COHERE_API_KEY"),
    "perplexity": Prefix("perplexity", "PERPLEXITYAI_API_KEY"),
    "cerebras": Prefix("cerebras", "CEREBRAS_API_KEY"),
    "huggingface": Prefix("huggingface", "HUGGINGFACE_API_KEY", note="by way of Hugging Face's router"),
    "databricks": Prefix("databricks", "DATABRICKS_API_KEY", address_variable="DATABRICKS_API_BASE"),
    "snowflake": Prefix("snowflake", "SNOWFLAKE_JWT", address_variable="SNOWFLAKE_API_BASE"),
    "dashscope": Prefix("alibaba", "DASHSCOPE_API_KEY"),
    "moonshot": Prefix("moonshot", "MOONSHOT_API_KEY"),
    "zai": Prefix("zai", "ZAI_API_KEY"),
    "nvidia_nim": Prefix("nvidia", "NVIDIA_NIM_API_KEY"),
    "ollama": Prefix("ollama_native", address="http://localhost:11434", free=True),
    "ollama_chat": Prefix("ollama_native", address="http://localhost:11434", free=True),
    "hosted_vllm": Prefix("vllm", address_variable="HOSTED_VLLM_API_BASE", free=True),
    "lm_studio": Prefix("lmstudio", address_variable="LM_STUDIO_API_BASE", free=True),
    "llamafile": Prefix("openai_compatible", address="http://127.0.0.1:8080/v1", free=True, note=_COMPATIBLE),
    "xinference": Prefix("openai_compatible", address="http://127.0.0.1:9997/v1", free=True, note=_COMPATIBLE),
    "openai_like": Prefix("openai_compatible", "OPENAI_LIKE_API_KEY", address_variable="OPENAI_LIKE_API_BASE"),
    "custom_openai": Prefix("openai_compatible", "OPENAI_API_KEY", address_variable="OPENAI_API_BASE"),
    "litellm_proxy": Prefix(
        "openai_compatible", "LITELLM_PROXY_API_KEY", address_variable="LITELLM_PROXY_API_BASE", note=_COMPATIBLE
    ),
    "deepinfra": _compatible("DEEPINFRA_API_KEY", "https://api.deepinfra.com/v1/openai"),
    "sambanova": _compatible("SAMBANOVA_API_KEY", "https://api.sambanova.ai/v1"),
    "meta_llama": _compatible("LLAMA_API_KEY", "https://api.llama.com/compat/v1"),
    "volcengine": _compatible("VOLCENGINE_API_KEY", "https://ark.cn-beijing.volces.com/api/v3"),
    "friendliai": _compatible("FRIENDLI_TOKEN", "https://api.friendli.ai/serverless/v1"),
    "github": _compatible("GITHUB_API_KEY", "https://models.inference.ai.azure.com"),
}

# Models without a prefix: LiteLLM looks them up in its list of models, whose names begin so.
_BEGINNINGS: Final = (
    ("openai", ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-", "dall-e-", "whisper-", "tts-", "omni-")),
    ("anthropic", ("claude-",)),
    ("cohere", ("command", "embed-english", "embed-multilingual", "rerank-english", "rerank-multilingual")),
    ("vertex_ai", ("gemini-",)),
    ("bedrock", ("anthropic.", "amazon.", "meta.llama", "mistral.", "us.anthropic.", "eu.anthropic.")),
)  # fmt: skip

# What a model serves where its name alone says so, and nothing else does.
_FAMILIES: Final = (
    ("transcriptions", ("whisper", "transcribe")),
    ("speech", ("tts-", "-tts")),
    ("images", ("dall-e", "gpt-image", "imagen")),
    ("rerank", ("rerank",)),
    ("moderations", ("moderation",)),
)
# `model_info.mode` (https://docs.litellm.ai/docs/proxy/health, 2026-11) -> a family of endpoints
MODES: Final = {
    "chat": "chat",
    "completion": "completions",
    "embedding": "embeddings",
    "image_generation": "images",
    "audio_transcription": "transcriptions",
    "audio_speech": "speech",
    "rerank": "rerank",
    "moderation": "moderations",
    "moderations": "moderations",
    "responses": "chat",
}


def split(model: str, provider: str | None) -> tuple[str, str, bool]:
    """Returns LiteLLM's provider of a model, the model's name there, and whether the provider was named at all."""
    first, slash, rest = model.partition("/")
    if provider is not None:
        return provider, rest if slash and first == provider else model, True
    if slash and first in PREFIXES:
        return first, rest, True
    for name, beginnings in _BEGINNINGS:
        if model.startswith(beginnings):
            return name, model, False
    return (first, rest, True) if slash else ("", model, False)


def family_of(model: str) -> str | None:
    """Returns the family of endpoints that a model's name tells, None for those of chat and embeddings."""
    return next((family for family, marks in _FAMILIES if any(mark in model for mark in marks)), None)
