"""Providers that speak OpenAI's wire with an accent: a table, each row its address and what differs, with the reason.

What the relay does for every provider is not repeated here: finish words are translated for the receipt only, usage
is normalised by `_openai_usage`, a stream may leave `[DONE]` out once it has finished, errors are read in any shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._openai_quirks import RESPONSES
from adapters.openai import Quirks, Relay

# The older name of the same bound, for providers that refuse the new one or, worse, ignore it.
_MAX_TOKENS: Final = ("max_completion_tokens", "max_tokens")


class Note(msgspec.Struct, frozen=True):
    """A quirk in words: what differs and where that is from."""

    what: str
    source: str


class Row(msgspec.Struct, frozen=True):
    """One provider: where it listens by default, whether it wants a key, how its wire differs.

    `base_url` of None must be configured, and may be a server without a path: its API begins at `path`. `{region}`
    in it stands for that setting.
    """

    base_url: str | None
    quirks: Quirks = Quirks()
    notes: tuple[Note, ...] = ()
    needs_key: bool = True
    path: str = ""


_REASONING_CONTENT: Final = Quirks(replays=("reasoning_content",), thinking="switch", takes=("thinking",))

KINDS: Final[Mapping[str, Row]] = {
    "groq": Row(
        "https://api.groq.com/openai/v1",
        Quirks(relays=RESPONSES, replays=(), refused=("logit_bias", "store")),
        notes=(
            Note(
                "an error inside a stream comes as `event: error`, without a finish and without [DONE]",
                "recorded streams, 2026-02",
            ),
            Note("status 498 means that its flex tier is full", "https://console.groq.com/docs/errors, 2026-11"),
            Note(
                "a `reasoning_content` in the history is refused, `reasoning` by most of its models",
                "https://github.com/tashfeenahmed/freellmapi/issues/1070, 2026-08, and "
                "https://github.com/vercel/ai/pull/8057, 2025-08",
            ),
            Note("`store` is refused", "https://github.com/fanenr/chatbot/issues/21, 2024-12"),
            Note("`logit_bias` is refused", "https://console.groq.com/docs/openai, 2026-11"),
        ),
    ),
    "mistral": Row(
        "https://api.mistral.ai/v1",
        # It refuses fields it does not know (422 extra_forbidden), and its streams end with usage unasked.
        Quirks(
            asks_usage=False,
            renames=(_MAX_TOKENS, ("seed", "random_seed")),
            dropped=("stream_options",),
            refused=(
                "logit_bias",
                "moderation",
                "prompt_cache_options",
                "prompt_cache_retention",
                "safety_identifier",
                "store",
                "user",
                "verbosity",
            ),
            replays=(),
            short_ids=True,
            typed_chunks=True,
            prefix=True,
            file_urls=True,
            takes=("top_k", "min_tokens", "repetition_penalty", "prompt_mode", "guardrails", "safe_prompt"),
        ),
        notes=(
            Note(
                "max_completion_tokens is refused, max_tokens is the same bound",
                "https://github.com/editor-code-assistant/eca/issues/231, 2025-12",
            ),
            Note(
                "stream_options.include_usage is refused; usage is always on the last chunk, beside its choice",
                "https://github.com/avante-corp/avante.nvim/issues/2347, 2025-06",
            ),
            Note("the seed is named random_seed", "recorded requests, 2026-06"),
            Note(
                "a tool call's id must be nine letters or digits",
                "https://github.com/anomalyco/opencode/issues/1680, 2025-08, and "
                "https://github.com/avante-corp/avante.nvim/pull/2951, 2026-02",
            ),
            Note(
                "it knows no `user`, `store`, `logit_bias`; reasoning and documents are chunks of content of its own",
                "the request's types in its own SDK, mistralai 1.9, 2026-11",
            ),
        ),
    ),
    "deepseek": Row(
        "https://api.deepseek.com",
        Quirks(
            relays=RESPONSES,
            renames=(_MAX_TOKENS,),
            replays=("reasoning_content",),
            reasoned_calls=True,
            thinking="switch",
            takes=("thinking",),
        ),
        notes=(
            Note(
                "max_completion_tokens is ignored in silence, max_tokens is kept",
                "https://github.com/earendil-works/pi/issues/8018, 2026-08",
            ),
            Note(
                "an assistant's turn with tool calls must bring its reasoning_content back, elsewhere it is ignored",
                "https://api-docs.deepseek.com/guides/thinking_mode, 2026-11",
            ),
            Note(
                "where there was no reasoning, an empty reasoning_content is taken",
                "https://github.com/vercel/ai/pull/13203, 2026-03",
            ),
        ),
    ),
    "together": Row(
        "https://api.together.xyz/v1",
        Quirks(replays=("reasoning",), takes=("top_k", "min_p", "repetition_penalty")),
        notes=(
            Note("a finish reason may be `eos`: it counts as stop, and goes on as it is", "recorded, 2025-02"),
            Note("a history's `reasoning` is among its fields", "https://github.com/togethercomputer/openapi/pull/132"),
        ),
    ),
    "fireworks": Row("https://api.fireworks.ai/inference/v1"),
    "openrouter": Row(
        "https://openrouter.ai/api/v1",
        Quirks(
            relays=RESPONSES,
            replays=("reasoning_details", "reasoning", "images"),
            thinking="budget",
            takes=("top_k", "provider", "models", "reasoning", "transforms", "usage", "plugins"),
            file_urls=True,
            caches=True,
        ),
        notes=(
            Note(
                "usage comes on a last chunk that repeats the choice and its finish; comments keep the stream alive",
                "recorded streams, 2026-06",
            ),
            Note(
                "a 403 may be a moderation's refusal",
                "https://openrouter.ai/docs/api/reference/errors-and-debugging, 2026-11",
            ),
            Note(
                "`reasoning_details` must go back as they came",
                "https://openrouter.ai/docs/use-cases/reasoning-tokens, 2026-11, and recorded requests",
            ),
            Note(
                "`images` that a model made may go back",
                "https://openrouter.ai/docs/sdks/typescript/api-reference/models/chatassistantmessage, 2026-11",
            ),
            Note("cache markers stand on parts of content", "recorded requests, 2026-06"),
        ),
    ),
    "xai": Row(
        "https://api.x.ai/v1",
        Quirks(relays=RESPONSES, replays=("reasoning_content",)),
        notes=(
            Note("completion_tokens leave reasoning out; the total holds it", "recorded, 2026-03"),
            Note("a history's reasoning_content is taken", "recorded requests, 2026-03"),
            Note("chunks before the last have no finish_reason at all", "recorded streams, 2026-03"),
        ),
    ),
    "ollama": Row(
        "http://127.0.0.1:11434/v1",
        Quirks(renames=(_MAX_TOKENS,), replays=("reasoning", "reasoning_content")),
        notes=(
            Note(
                "max_completion_tokens is not among its fields, and unknown fields are ignored in silence",
                "https://docs.ollama.com/api/openai-compatibility, 2026-11",
            ),
        ),
        needs_key=False,
    ),
    "perplexity": Row(
        "https://api.perplexity.ai",
        Quirks(replays=()),
        notes=(
            Note(
                "chat completions were supported until 2026-09-27; what follows them is another API, not served here",
                "https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar/overview, 2026-11",
            ),
            Note(
                "each chunk repeats the whole message beside its delta, and usage; there is no [DONE]",
                "recorded streams, 2026-06",
            ),
            Note("sources are at the top of an answer: they are told as its citations", "recorded, 2026-06"),
        ),
    ),
    "cerebras": Row(
        "https://api.cerebras.ai/v1",
        Quirks(refused=("frequency_penalty", "logit_bias", "presence_penalty")),
        notes=(
            Note(
                "frequency_penalty, presence_penalty and logit_bias are refused",
                "https://hexdocs.pm/req_llm/cerebras.html, 2026-11",
            ),
        ),
    ),
    "huggingface": Row(
        "https://router.huggingface.co/v1",
        notes=(
            Note(
                "a model's name may end in a provider's (`…:groq`), whose accent its answers have", "recorded, 2026-02"
            ),
            Note("streams of some of those providers lack [DONE]", "recorded streams, 2026-02"),
        ),
    ),
    "databricks": Row(
        None,
        path="/serving-endpoints",
        notes=(
            Note(
                "base_url is the workspace, https://….cloud.databricks.com or https://adb-….azuredatabricks.net",
                "https://docs.databricks.com/machine-learning/model-serving/score-foundation-models.html, 2026-11",
            ),
            Note("usage comes on every chunk, cumulatively: the last holds", "recorded streams, 2026-03"),
        ),
    ),
    "snowflake": Row(
        None,
        Quirks(ends_unsaid=True),
        path="/api/v2/cortex/v1",
        notes=(
            Note(
                "base_url is the account, https://….snowflakecomputing.com",
                "https://docs.snowflake.com/user-guide/snowflake-cortex/open_ai_sdk, 2026-11",
            ),
            Note(
                "answers end without a finish reason, or with an empty one, also after tool calls; usage is told last "
                "and is the sign of their end",
                "recorded, 2026-07",
            ),
        ),
    ),
    "cloudflare": Row(
        None,
        notes=(
            Note(
                "base_url is the account's, https://api.cloudflare.com/client/v4/accounts/ACCOUNT/ai/v1",
                "https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility, 2026-11",
            ),
            Note("chunks before the last have no finish_reason at all", "recorded streams, 2026-03"),
        ),
    ),
    "zai": Row(
        "https://api.z.ai/api/paas/v4",
        _REASONING_CONTENT,
        notes=(
            Note("a history's reasoning_content and the setting `thinking` are taken", "recorded requests, 2026-03"),
            Note("chunks before the last have no finish_reason at all", "recorded streams, 2026-03"),
            Note(
                "the coding plan stands at https://api.z.ai/api/coding/paas/v4",
                "https://iii.dev/registry/workers/provider-zai.md, 2026-11, and recorded requests",
            ),
        ),
    ),
    "moonshot": Row(
        "https://api.moonshot.ai/v1",
        _REASONING_CONTENT,
        notes=(
            Note(
                "a turn with tool calls that lacks its reasoning_content is refused while thinking is on",
                "https://platform.moonshot.ai/docs/guide/use-kimi-k2-thinking-model, by way of "
                "https://www.librechat.ai/docs/configuration/librechat_yaml/ai_endpoints/moonshot, 2026-11",
            ),
        ),
    ),
    "alibaba": Row(
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        Quirks(takes=("top_k", "enable_thinking", "thinking_budget", "enable_search", "repetition_penalty")),
        notes=(
            Note(
                "each region, and each workspace, has an address of its own",
                "https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope, 2026-10",
            ),
            Note("pieces of a tool call after its first have an empty id", "recorded streams, 2026-02"),
        ),
    ),
    "nvidia": Row(
        "https://integrate.api.nvidia.com/v1",
        Quirks(takes=("top_k",)),
        notes=(
            Note(
                "the engine behind it is vLLM or SGLang; a NIM of one's own is given as base_url",
                "https://docs.nvidia.com/nim/large-language-models/2.1.6/reference/api-reference/llms.txt, 2026-11",
            ),
        ),
    ),
    "tgi": Row(
        None,
        Quirks(renames=(_MAX_TOKENS,)),
        notes=(
            Note(
                "of the two bounds max_tokens is among its fields",
                "https://huggingface.co/docs/text-generation-inference/messages_api, 2026-11",
            ),
        ),
        needs_key=False,
        path="/v1",
    ),
    "tensorrt_llm": Row(
        "http://127.0.0.1:8000/v1",
        notes=(
            Note(
                "trtllm-serve's own port; it serves /v1/models, /v1/completions and /v1/chat/completions",
                "https://nvidia.github.io/TensorRT-LLM/commands/trtllm-serve/trtllm-serve.html, 2026-11",
            ),
        ),
        needs_key=False,
    ),
    "sglang": Row(
        "http://127.0.0.1:30000/v1",
        Quirks(
            # Extensions through which one caller could touch another, as vLLM's: whose cache is shared, who goes
            # first, which running request is meant, where KV blocks come from, which code runs over the logits.
            withheld=(
                "bootstrap_host",
                "bootstrap_port",
                "bootstrap_room",
                "cache_salt",
                "custom_logit_processor",
                "data_parallel_rank",
                "disagg_prefill_dp_rank",
                "extra_key",
                "priority",
                "rid",
                "routed_dp_rank",
            ),
            replays=("reasoning_content",),
            takes=("top_k", "min_p", "repetition_penalty", "chat_template_kwargs"),
        ),
        notes=(
            Note(
                "fields by which one caller could touch another are not passed on",
                "https://github.com/sgl-project/sglang, python/sglang/srt/entrypoints/openai/protocol.py, 2026-11",
            ),
        ),
        needs_key=False,
    ),
    "lmstudio": Row(
        "http://127.0.0.1:1234/v1",
        Quirks(relays=RESPONSES, renames=(_MAX_TOKENS,)),
        notes=(
            Note(
                "no page says whether max_completion_tokens is kept: the older name is sent, to be safe",
                "https://lmstudio.ai/docs/api/openai-api, 2026-11",
            ),
        ),
        needs_key=False,
    ),
    "llamacpp": Row(
        "http://127.0.0.1:8080/v1",
        # `id_slot` chooses the slot, and with it whose cache of a prompt is taken.
        Quirks(withheld=("id_slot",), replays=("reasoning_content",), takes=("top_k", "min_p", "repeat_penalty")),
        notes=(
            Note("a history's reasoning_content is taken", "recorded requests, 2026-06"),
            Note(
                "a tool_choice that names a tool counts as auto",
                "the notes of the package langchain-llama-cpp, 2026-11",
            ),
        ),
        needs_key=False,
    ),
    "bedrock_openai": Row(
        "https://bedrock-mantle.{region}.api.aws/v1",
        Quirks(relays=RESPONSES, replays=()),
        notes=(
            Note(
                "Bedrock's OpenAI-shaped endpoint, with a Bedrock API key as bearer; some models stand under "
                "/openai/v1 instead, and bedrock-runtime at https://bedrock-runtime.REGION.amazonaws.com/openai/v1: "
                "write base_url for those",
                "https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html, 2026-11",
            ),
        ),
    ),
}


def adapter(kind: str) -> Relay:
    """Returns the adapter of a row; raises KeyError for a kind that has none."""
    return Relay(kind, KINDS[kind].quirks)


def unknown() -> Relay:
    """Returns the adapter of a server that nothing is known of but that it speaks OpenAI's wire."""
    return Relay("openai_compatible")
