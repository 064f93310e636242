"""What a model on Bedrock takes, by its family: Converse is one wire, and refuses what the model behind it lacks.

A row says only what a source says; what no source speaks of is sent as it was asked, and Bedrock decides. Sources:
[guide] https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html,
[choice] https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolChoice.html,
[cache] https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html,
[format] https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html (all 2026-11),
[models] a recorded list of foundation models with what Converse takes of each (2025-12).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from adapters._anthropic_model import Model as Claude
from adapters._anthropic_model import model_of as claude_of
from gateway.core.types import Deployment

ANY: Final = frozenset({"any"})
FORCED: Final = frozenset({"any", "tool"})
AUTO: Final[frozenset[str]] = frozenset()


class Family(msgspec.Struct, frozen=True):
    """One family's abilities.

    `choices` are the tool choices it takes beside auto; None: no source says, so any is sent. `cache` says where cache
    points may stand. `structured`: it can be held to a schema. `top_k` is the path of that field, `reasoning` how an
    effort is said ("claude", "nova", "flat", "nested"), "" where it cannot be. `error_status`: a tool's result may say
    that it failed.
    """

    name: str
    tools: bool = True
    choices: frozenset[str] | None = None
    cache: frozenset[str] = frozenset()
    cache_ttl: bool = False
    structured: bool = False
    top_k: tuple[str, ...] = ()
    reasoning: str = ""
    system: bool = True
    error_status: bool = False
    claude: Claude | None = None


_ALL: Final = frozenset({"system", "tools", "messages"})

# The first row whose beginning fits holds.
_ROWS: Final[tuple[tuple[str, Family], ...]] = (
    # [guide]: Claude 2 and Instant have no tools.
    ("anthropic.claude-v", Family("claude-2", tools=False, top_k=("top_k",))),
    ("anthropic.claude-instant", Family("claude-2", tools=False, top_k=("top_k",))),
    # [choice]; [cache]; a tool result's status: botocore's model of ToolResultBlock, 1.44.
    (
        "anthropic.claude",
        Family("claude", choices=FORCED, cache=_ALL, top_k=("top_k",), reasoning="claude", error_status=True),
    ),
    # Forced tools since 2025-03: https://aws.amazon.com/about-aws/whats-new/2025/03/amazon-nova-expands-tool-converse-api/
    # [cache]: system and messages, not tools; no ttl. topK inside inferenceConfig: recorded requests, 2025-02.
    # Reasoning: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html (2026-11).
    (
        "amazon.nova-2",
        Family(
            "nova-2",
            choices=FORCED,
            cache=frozenset({"system", "messages"}),
            top_k=("inferenceConfig", "topK"),
            reasoning="nova",
            error_status=True,
        ),
    ),
    (
        "amazon.nova",
        Family(
            "nova",
            choices=FORCED,
            cache=frozenset({"system", "messages"}),
            top_k=("inferenceConfig", "topK"),
            error_status=True,
        ),
    ),
    ("amazon.titan-t", Family("titan", tools=False, system=False)),  # [guide]
    # [guide], and https://github.com/run-llama/llama_index/issues/19886 (2025-09): a forced tool is refused.
    ("meta.llama3-8b", Family("llama", tools=False)),
    ("meta.llama3-70b", Family("llama", tools=False)),
    ("meta.llama3-2-1b", Family("llama", tools=False)),
    ("meta.llama3-2-3b", Family("llama", tools=False)),
    ("meta.llama", Family("llama", choices=AUTO)),
    ("mistral.mistral-7b", Family("mistral", tools=False, system=False, top_k=("top_k",))),  # [guide]
    ("mistral.mixtral", Family("mistral", tools=False, system=False, top_k=("top_k",))),
    ("mistral.mistral-large-2", Family("mistral", choices=ANY)),  # [choice]; the dated ones, 2402 and 2407
    ("mistral.mistral-small-2", Family("mistral", choices=ANY)),
    ("mistral.pixtral", Family("mistral")),
    ("mistral.", Family("mistral-3", structured=True)),  # [format]: Large 3, Ministral, Magistral, Voxtral
    ("cohere.command", Family("command", choices=AUTO, top_k=("k",))),  # [choice]
    ("deepseek.r1", Family("deepseek-r1", tools=False)),  # https://github.com/langchain-ai/langchain-aws/issues/447
    # https://github.com/langchain-ai/langchain-aws/pull/688 (2025-10): of the forced ones V3.1 obeys `any` alone.
    ("deepseek.v3-v1", Family("deepseek", choices=ANY, structured=True)),
    ("deepseek.", Family("deepseek", structured=True)),
    # https://github.com/langchain-ai/langchain-aws/issues/1278 (2026-09): forced tools are obeyed.
    # https://github.com/anomalyco/opencode/pull/48195 (2026-09): only these take the effort flat.
    ("openai.gpt-oss", Family("gpt-oss", choices=FORCED, structured=True, reasoning="flat")),
    ("openai.", Family("gpt", choices=FORCED, structured=True, reasoning="nested")),
    # https://github.com/langchain-ai/docs/pull/5239 (2026-07): the effort as gpt-oss takes it.
    ("moonshot", Family("kimi", structured=True, reasoning="flat")),
    ("xai.", Family("grok", choices=FORCED)),  # https://github.com/langchain-ai/langchain-aws/pull/1239 (2026-08)
    ("qwen.", Family("qwen", structured=True)),  # [format], as the next ones
    ("google.gemma", Family("gemma", structured=True)),
    ("minimax.", Family("minimax", structured=True)),  # and a recorded answer, 2026-02
    ("nvidia.", Family("nemotron", structured=True)),
)
_UNKNOWN: Final = Family("unknown")

# A profile across regions says where it routes before the model's own id: us.anthropic.claude-…, global.amazon.nova-…
_GEOGRAPHY: Final = re.compile(r"^(?:us|eu|apac|jp|au|ca|sa|me|af|global|us-gov)\.(?=[a-z0-9]+\.)")

# [models]: of the older Claudes only these have explicit caching. An hour's ttl: [cache], from 4.5 on.
_UNCACHED_CLAUDES: Final = re.compile(r"claude-3-(?:opus|sonnet|haiku)|claude-3-5-sonnet")
_TTL_CLAUDES: Final = re.compile(r"claude-(?:[a-z]+-4-[5-9]|[a-z]+-[5-9])")


def base_model(deployment: Deployment) -> str:
    """Returns the foundation model's id: the option `base_model` where the config has it, else what the name shows.

    An application's inference profile, a provisioned or an imported model shows nothing, and is a family unknown.
    """
    name = deployment.options.get("base_model") or deployment.model
    if name.startswith("arn:"):
        name = name.rsplit("/", 1)[-1]
    return _GEOGRAPHY.sub("", name)


def family_of(deployment: Deployment) -> Family:
    """Returns what the deployment's model takes."""
    return _family(base_model(deployment), deployment.options.get("claude_version"))


@lru_cache(maxsize=256)
def _family(name: str, claude_version: str | None) -> Family:
    family = next((row for beginning, row in _ROWS if name.startswith(beginning)), _UNKNOWN)
    if family.name != "claude":
        return family
    options = {} if claude_version is None else {"claude_version": claude_version}
    claude = claude_of(Deployment(name, "", "", name, "", b"", (), options=options))
    return msgspec.structs.replace(
        family,
        claude=claude,
        structured=claude.structured,
        cache=AUTO if _UNCACHED_CLAUDES.search(name) else family.cache,
        cache_ttl=_TTL_CLAUDES.search(name) is not None,
    )
