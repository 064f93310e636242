"""vLLM's wire where it differs from OpenAI's: reasoning in the open, true cached tokens, its errors and metrics."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.simulator.answers import BYTES_PER_TOKEN, Answer, Ask
from gateway.simulator.openai import Chat, Completions
from gateway.simulator.play import Frame, Refused, Reply

VERSION: Final = "0.33.0"
MAX_MODEL_LEN: Final = 32768
_BLOCK_TOKENS: Final = 16  # vLLM's default block size
_BLOCKS: Final = 8192
_TYPES: Final = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    500: "InternalServerError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}
_BUCKETS: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


class PrefixCache:
    """The blocks that recent prompts left behind: least recently used go first; a hit needs the whole prefix."""

    def __init__(self, block_tokens: int = _BLOCK_TOKENS, blocks: int = _BLOCKS) -> None:
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self._capacity = blocks
        self._block_tokens = block_tokens

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def share(self) -> float:
        """How full it is, from 0 to 1."""
        return len(self._blocks) / self._capacity

    def pass_through(self, prompt: str, salt: str = "") -> int:
        """Returns how many tokens of the prompt's head were there, and keeps its blocks for the next."""
        data = prompt.encode("utf-8", "replace")
        size = self._block_tokens * BYTES_PER_TOKEN
        parent, hits, whole = hash(salt) if salt else 0, 0, True
        # the last token is always computed anew: a prompt is never cached whole
        for at in range(0, len(data) - size, size):
            parent = hash((parent, data[at : at + size]))
            whole = whole and parent in self._blocks
            hits += whole
            self._blocks[parent] = None
            self._blocks.move_to_end(parent)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)
        return hits * self._block_tokens


class _House:
    """What vLLM's chat and completions share."""

    def failure(self, refused: Refused) -> bytes:
        error = {
            "message": refused.message,
            "type": _TYPES.get(refused.status, "BadRequestError" if refused.status < 500 else "InternalServerError"),
            "param": refused.param,
            "code": refused.status,
        }
        return msgspec.json.encode({"error": error})

    def usage(self, ask: Ask, answers: list[Answer], cached_tokens: int) -> dict[str, Json]:
        output = sum(one.output_tokens for one in answers)
        return {
            "prompt_tokens": ask.input_tokens,
            "total_tokens": ask.input_tokens + output,
            "completion_tokens": output,
            "prompt_tokens_details": {"cached_tokens": cached_tokens},
        }

    def ending(self, one: Answer) -> dict[str, Json]:
        return {"finish_reason": one.finish, "stop_reason": one.stop_sequence}


def _counting(reply: Reply, ask: Ask) -> Reply:
    """Has each chunk of a stream tell of the usage so far, where that was asked for (`continuous_usage_stats`)."""
    if not (ask.stream and ask.usage_each):
        return reply
    told, written = [], 0
    for frame in reply.frames:
        data = frame.data
        if frame.part in ("head", "content", "finish"):
            written += frame.part == "content"
            total = ask.input_tokens + written
            usage = {"prompt_tokens": ask.input_tokens, "total_tokens": total, "completion_tokens": written}
            data = b"data: " + msgspec.json.encode({**msgspec.json.decode(data[6:]), "usage": usage}) + b"\n\n"
        told.append(Frame(frame.part, data))
    return msgspec.structs.replace(reply, frames=tuple(told))


class VllmChat(_House, Chat):
    """POST /v1/chat/completions as vLLM answers it."""

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        return _counting(super().reply(ask, answers, cached_tokens, serial), ask)

    def read(self, body: dict[str, Json]) -> Ask:
        asked = super().read(body)
        thinking = bool((body.get("chat_template_kwargs") or {}).get("enable_thinking")) or asked.thinking
        longest = asked.max_tokens if body.get("ignore_eos") and asked.max_tokens else asked.min_tokens
        salt = body.get("cache_salt")
        if salt is not None and (not isinstance(salt, str) or not salt):
            raise Refused(400, "Parameter 'cache_salt' must be a non-empty string if provided.", param="cache_salt")
        asked = msgspec.structs.replace(asked, thinking=thinking, min_tokens=longest, salt=salt or "")
        if asked.input_tokens + (asked.max_tokens or 0) > MAX_MODEL_LEN:
            raise Refused(
                400,
                f"This model's maximum context length is {MAX_MODEL_LEN} tokens. However, you requested"
                f" {asked.max_tokens or 0} output tokens and your prompt contains {asked.input_tokens} input tokens.",
            )
        return asked

    def envelope(self, ask: Ask, serial: int) -> dict[str, Json]:
        shared = super().envelope(ask, serial)
        return {**shared, "id": f"chatcmpl-{serial:032x}", "service_tier": None, "system_fingerprint": None}

    def message(self, one: Answer) -> dict[str, Json]:
        message = super().message(one)
        return {
            **message,
            "reasoning_content": "".join(one.thinking) or None,
            "tool_calls": message.get("tool_calls", []),
        }

    def reasoning(self, piece: str) -> dict[str, Json] | None:
        return {"reasoning_content": piece}


class VllmCompletions(_House, Completions):
    """POST /v1/completions as vLLM answers it."""

    def reply(self, ask: Ask, answers: list[Answer], cached_tokens: int, serial: int) -> Reply:
        return _counting(super().reply(ask, answers, cached_tokens, serial), ask)


def tokenize(body: dict[str, Json]) -> bytes:
    """Answers POST /tokenize of a chat; raises Refused."""
    count = VllmChat().read(body).input_tokens
    return msgspec.json.encode({"count": count, "max_model_len": MAX_MODEL_LEN, "tokens": list(range(count))})


def models(names: tuple[str, ...]) -> bytes:
    """Answers GET /v1/models, with the window that a gateway plans by."""
    data: list[Json] = [
        {
            "id": name,
            "object": "model",
            "created": int(time.time()),
            "owned_by": "vllm",
            "root": name,
            "parent": None,
            "max_model_len": MAX_MODEL_LEN,
            "permission": [],
        }
        for name in names
    ]
    return msgspec.json.encode({"object": "list", "data": data})


class Vitals(msgspec.Struct, frozen=True):
    """The state of an engine as of now; `born_at` is in seconds since the epoch."""

    running: int
    waiting: int
    kv_usage: float
    born_at: float
    steps: int = 0
    preemptions: int = 0
    block_tokens: int = _BLOCK_TOKENS
    blocks: int = _BLOCKS


class Metrics:
    """What /metrics tells; the names are vLLM's, and figures are summed over the simulator's life."""

    def __init__(self) -> None:
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.rejections = 0
        self.itl_s = 0.0  # between two pieces of a stream, summed
        self.itl_count = 0
        self.finished: dict[str, int] = dict.fromkeys(("stop", "length", "abort", "error"), 0)
        self.histograms: dict[str, tuple[list[int], list[float]]] = {}

    def answered(self, reply: Reply, whole: bool) -> None:
        """Counts an answer; one whose reader left counts as `abort`."""
        self.prompt_tokens += reply.input_tokens
        self.cached_tokens += reply.cached_tokens
        self.generation_tokens += reply.output_tokens if whole else 0
        finish = reply.finish if whole else "abort"
        self.finished[finish if finish in self.finished else "stop"] += 1

    def observe(self, name: str, seconds: float) -> None:
        """Adds to a histogram: `time_to_first_token_seconds`, `e2e_request_latency_seconds` and their like."""
        counts, total = self.histograms.setdefault(name, ([0] * (len(_BUCKETS) + 1), [0.0]))
        counts[next((at for at, bound in enumerate(_BUCKETS) if seconds <= bound), len(_BUCKETS))] += 1
        total[0] += seconds

    def paced(self, seconds: float) -> None:
        """Counts what stood between two pieces of a stream."""
        self.itl_s += seconds
        self.itl_count += 1

    def page(self, model: str, vitals: Vitals) -> bytes:
        """Writes the page in Prometheus' text format."""
        label = f'model_name="{model}",engine="0"'
        gauges = {
            "num_requests_running": vitals.running,
            "num_requests_waiting": vitals.waiting,
            "kv_cache_usage_perc": vitals.kv_usage,
        }
        counters = {
            "prompt_tokens_total": self.prompt_tokens,
            "prompt_tokens_cached_total": self.cached_tokens,
            "generation_tokens_total": self.generation_tokens,
            "prefix_cache_queries_total": self.prompt_tokens,
            "prefix_cache_hits_total": self.cached_tokens,
            "num_preemptions_total": vitals.preemptions,
        }
        lines = []
        for kind, family in (("gauge", gauges), ("counter", counters)):
            for name, value in family.items():
                lines += [f"# TYPE vllm:{name} {kind}", f"vllm:{name}{{{label}}} {float(value)}"]
        lines.append("# TYPE vllm:request_success_total counter")
        lines += [
            f'vllm:request_success_total{{{label},finished_reason="{reason}"}} {float(times)}'
            for reason, times in self.finished.items()
        ]
        lines.append("# TYPE vllm:admission_rejections_total counter")
        lines.append(f'vllm:admission_rejections_total{{{label},reason="queue_overflow"}} {float(self.rejections)}')
        lines.append("# TYPE vllm:num_requests_waiting_by_reason gauge")
        lines += [
            f'vllm:num_requests_waiting_by_reason{{{label},reason="{reason}"}} {float(times)}'
            for reason, times in (("capacity", vitals.waiting), ("deferred", 0))
        ]
        lines.append("# TYPE vllm:engine_sleep_state gauge")
        lines += [
            f'vllm:engine_sleep_state{{{label},sleep_state="{state}"}} {float(state == "awake")}'
            for state in ("awake", "weights_offloaded", "discard_all")
        ]
        # Its count is that of the engine's steps: what stands still where the engine hangs.
        steps = vitals.steps or self.generation_tokens
        tokens = self.prompt_tokens - self.cached_tokens + self.generation_tokens
        lines += [
            "# TYPE vllm:iteration_tokens_total histogram",
            f'vllm:iteration_tokens_total_bucket{{{label},le="+Inf"}} {float(steps)}',
            f"vllm:iteration_tokens_total_sum{{{label}}} {float(tokens)}",
            f"vllm:iteration_tokens_total_count{{{label}}} {float(steps)}",
            "# TYPE vllm:inter_token_latency_seconds histogram",
            f'vllm:inter_token_latency_seconds_bucket{{{label},le="+Inf"}} {float(self.itl_count)}',
            f"vllm:inter_token_latency_seconds_sum{{{label}}} {self.itl_s}",
            f"vllm:inter_token_latency_seconds_count{{{label}}} {float(self.itl_count)}",
        ]
        lines += [
            "# TYPE process_start_time_seconds gauge",
            f"process_start_time_seconds {vitals.born_at!r}",
        ]
        size = (
            f'block_size="{vitals.block_tokens}",num_gpu_blocks="{vitals.blocks}",'
            f'kv_cache_size_tokens="{vitals.blocks * vitals.block_tokens}"'
        )
        lines += ["# TYPE vllm:cache_config_info gauge", f"vllm:cache_config_info{{{label},{size}}} 1.0"]
        for name, (counts, total) in self.histograms.items():
            lines.append(f"# TYPE vllm:{name} histogram")
            seen = 0
            for bound, times in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                seen += times
                lines.append(f'vllm:{name}_bucket{{{label},le="{bound}"}} {float(seen)}')
            lines += [f"vllm:{name}_sum{{{label}}} {total[0]}", f"vllm:{name}_count{{{label}}} {float(seen)}"]
        return "\n".join(lines).encode() + b"\n"
