"""Whether a replica is ready: it says that it is well, it lists what it is to be asked for, and it has answered.

The first prompts compile and capture what later ones use; they go past the gateway's books and metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gateway.core.types import Origin
from gateway.pool.supervisor.surroundings import Ask, Question

_KNOCK_S: Final = 0.25
_LONG: Final = 2048  # tokens: a whole step of the smaller GPUs' `--max-num-batched-tokens`
_NO_SUCH_ENDPOINT: Final = (400, 404, 405, 501)  # a model that embeds completes nothing, and the reverse


class Unwell(Exception):
    """A replica answers, and not as it should; says how."""


class _Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Model]


class Greeter:
    """Asks one replica."""

    def __init__(self, ask: Ask, origin: Origin, key: str, names: Sequence[str], within_s: float) -> None:
        self._ask = ask
        self._origin = origin
        self._key = key
        self._names = names
        self._within_s = within_s

    async def greet(self, answers: Callable[[], None], *, is_known: bool) -> None:
        """Returns once the replica is ready; `answers` is called when it lists its names. Raises Unwell.

        Of one that `is_known` to have been ready, a short prompt is enough.
        """
        while (window := await self._window()) is None:
            await asyncio.sleep(_KNOCK_S)
        answers()
        # The long one first: kernels that it takes are not met for the first time in a caller's prompt.
        for tokens in (1,) if is_known else (min(_LONG, max(1, window // 2)), 1):
            await self._prompt(tokens)

    async def _window(self) -> int | None:
        """Returns how many tokens fit, or None while it is not there or does not list every name."""
        health = await self._ask(Question(self._origin, "/health", key=self._key))
        if health is None or health[0] != 200:
            return None
        listed = await self._ask(Question(self._origin, "/v1/models", key=self._key))
        if listed is None:
            return None
        status, body = listed
        if status != 200:
            raise Unwell(f"/v1/models answers with status {status}")
        try:
            models = {model.id: model for model in msgspec.json.decode(body, type=_Models).data}
        except msgspec.MsgspecError:
            raise Unwell("/v1/models answers with something else than a list of models") from None
        missing = [name for name in self._names if name not in models]
        if missing:
            raise Unwell(f"it does not serve {', '.join(missing)}")
        return models[self._names[0]].max_model_len or _LONG

    async def _prompt(self, tokens: int) -> None:
        name, ids = self._names[0], [1] * tokens
        for path, body in (
            ("/v1/completions", {"model": name, "prompt": ids, "max_tokens": 1}),
            ("/v1/embeddings", {"model": name, "input": ids}),
        ):
            question = Question(self._origin, path, msgspec.json.encode(body), self._within_s, self._key)
            answer = await self._ask(question)
            if answer is None:
                raise Unwell(f"its first prompt of {tokens} tokens was not answered")
            if answer[0] == 200:
                return
            if answer[0] not in _NO_SUCH_ENDPOINT:
                raise Unwell(f"its first prompt of {tokens} tokens was answered with status {answer[0]}")
