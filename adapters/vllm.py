"""vLLM's OpenAI server, relayed.

Its refusals need no code of their own: a full queue (`QueueOverflowError`) is a 503 and so overloaded, a prompt that
is too long says "maximum context length", a finish of "abort" without content is an answer given up. What needs care
is what it would do for a caller that knows its extensions.
"""

from __future__ import annotations

from typing import Final

from adapters._openai_quirks import RESPONSES
from adapters.openai import Quirks, Relay

# Extensions through which one caller could touch another
# (https://docs.vllm.ai/en/latest/serving/online_serving/openai_compatible_server/, 2026-11): `cache_salt` chooses
# whose prefix cache is shared, `priority` jumps the queue, `kv_transfer_params` reads and writes KV blocks of other
# requests, `request_id` collides with a running one.
_GATEWAYS_OWN: Final = ("cache_salt", "priority", "kv_transfer_params", "request_id")

QUIRKS: Final = Quirks(
    relays=RESPONSES,
    withheld=_GATEWAYS_OWN,
    replays=("reasoning", "reasoning_content"),  # both are read from a history (recorded requests, 2026-07)
    takes=("top_k", "min_p", "repetition_penalty", "chat_template_kwargs", "structured_outputs"),
)


def adapter() -> Relay:
    """Returns the adapter of a vLLM server or a pool of them."""
    return Relay("vllm", QUIRKS)
