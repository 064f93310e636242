"""The live measurements behind `View`: latency over sliding windows, calls in flight, learned lengths.

Everything here is O(1) per call and bounded per deployment; time is passed in. Quantiles are worked out at most once a
second, from histograms whose bins grow by 8.5 %, interpolated within a bin.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import exp, log, nan
from typing import Final

from gateway.core.money import Usage
from gateway.core.policy import Measured, Outlook, View, bucket_of
from gateway.core.types import Call, Endpoint

DEFAULT_WINDOW_S: Final = 300.0
_PARTS: Final = 30  # of a window: it slides in thirtieths

_BINS: Final = 192  # fits a byte
_SHORTEST_S: Final = 1e-4
_SCALE: Final = _BINS / log(600.0 / _SHORTEST_S)  # bins per unit of the natural logarithm
_PER_SHORTEST: Final = 1.0 / _SHORTEST_S

_REFRESH_S: Final = 1.0
_REFRESHED_AT_ONCE: Final = 32  # series per view, so that a thousand deployments delay no single call
_IDLE_S: Final = 10.0

_BYTES_PER_TOKEN: Final = 4.0  # of English JSON, until learned
_OUTPUT_TOKENS: Final = 256  # until learned, where the caller sets no limit
_LEARNING_RATE: Final = 0.1
_LEARNED_NAMES: Final = 4096  # names that callers asked for; forgotten all at once when full


class _Part:
    """A thirtieth of a window: the bins of its calls, a byte each."""

    __slots__ = ("calls", "number", "tpot", "ttft")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0
        self.ttft = bytearray()
        self.tpot = bytearray()


class _Series:
    """The calls of one deployment and prompt-size bucket within a window, as two histograms."""

    __slots__ = ("_calls", "_changed", "_part_s", "_parts", "_tpot", "_ttft", "key")

    def __init__(self, key: tuple[str, int], part_s: float) -> None:
        self.key = key
        self._part_s = part_s
        self._parts: deque[_Part] = deque()
        self._ttft = [0] * _BINS
        self._tpot = [0] * _BINS
        self._calls = 0
        self._changed = False

    def record(self, now: float, ttft_bin: int, tpot_bin: int) -> None:
        """Counts one call; a bin of -1 is a figure that it did not have."""
        number = int(now / self._part_s)
        parts = self._parts
        if parts and parts[-1].number == number:
            part = parts[-1]
        else:
            self._expire(number)
            part = _Part(number)
            parts.append(part)
        part.calls += 1
        self._calls += 1
        if ttft_bin >= 0:
            part.ttft.append(ttft_bin)
            self._ttft[ttft_bin] += 1
        if tpot_bin >= 0:
            part.tpot.append(tpot_bin)
            self._tpot[tpot_bin] += 1
        self._changed = True

    def refresh(self, now: float, measured: dict[tuple[str, int], Measured]) -> bool:
        """Writes the quantiles as of now; returns False where no call is left."""
        number = int(now / self._part_s)
        if self._parts and self._parts[0].number <= number - _PARTS:
            self._expire(number)
        if not self._calls:
            measured.pop(self.key, None)
            return False
        if self._changed:
            self._changed = False
            ttft, tpot = list(accumulate(self._ttft)), list(accumulate(self._tpot))
            measured[self.key] = Measured(
                self._calls, _quantile(ttft, 0.5), _quantile(ttft, 0.95), _quantile(tpot, 0.5), _quantile(tpot, 0.95)
            )
        return True

    def _expire(self, number: int) -> None:
        parts = self._parts
        while parts and parts[0].number <= number - _PARTS:
            part = parts.popleft()
            self._calls -= part.calls
            for index in part.ttft:
                self._ttft[index] -= 1
            for index in part.tpot:
                self._tpot[index] -= 1
            self._changed = True


class _Window:
    """All series over one length of window."""

    __slots__ = ("_pending", "_refreshed", "length_s", "measured", "series")

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self.measured: dict[tuple[str, int], Measured] = {}
        self.series: dict[tuple[str, int], _Series] = {}
        self._pending: list[_Series] = []
        self._refreshed = -_IDLE_S

    def record(self, key: tuple[str, int], now: float, ttft_bin: int, tpot_bin: int) -> None:
        """Counts one call."""
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = _Series(key, self.length_s / _PARTS)
        series.record(now, ttft_bin, tpot_bin)

    def refresh(self, now: float) -> None:
        """Brings `measured` up to date, once a second, a few series at a time, or all where the gateway was idle."""
        pending, since = self._pending, now - self._refreshed
        if not pending:
            if since < _REFRESH_S:
                return
            self._refreshed = now
            pending.extend(self.series.values())
        for _ in range(len(pending) if since >= _IDLE_S else min(len(pending), _REFRESHED_AT_ONCE)):
            series = pending.pop()
            if not series.refresh(now, self.measured) and self.series.get(series.key) is series:
                del self.series[series.key]

    def keep(self, deployments: frozenset[str]) -> None:
        """Forgets deployments that are not named."""
        for key in [key for key in self.series if key[0] not in deployments]:
            del self.series[key]
            self.measured.pop(key, None)
        self._pending.clear()


class Measurements:
    """What the gateway knows of its deployments from the calls that it made; one per process, over all configs.

    Names are those that callers ask for (a call without a model asks for "auto"). `load` (0 to 1) and `outlooks` are
    what pools say of themselves.
    """

    def __init__(
        self,
        windows_s: Iterable[float] = (),
        load: Mapping[str, float] | None = None,
        outlooks: Mapping[str, Outlook] | None = None,
    ) -> None:
        self.load = {} if load is None else load
        self.outlooks = {} if outlooks is None else outlooks
        self._default = _Window(DEFAULT_WINDOW_S)
        self._windows = {DEFAULT_WINDOW_S: self._default}
        self._measured_by_window = {DEFAULT_WINDOW_S: self._default.measured}
        self.in_flight: dict[str, int] = {}  # attempts, by deployment
        self.at_endpoints: dict[str, int] = {}  # attempts in flight, by the endpoint's id
        self._cached_share: dict[str, float] = {}
        self._outputs: dict[str, dict[str, float]] = {}
        self._output: dict[str, float] = {}
        self._bytes_per_token: dict[str, float] = {}
        self.watch(windows_s)

    def watch(self, windows_s: Iterable[float]) -> None:
        """Measures over these windows (seconds) and the default one; called when a config is applied."""
        wanted = {DEFAULT_WINDOW_S, *windows_s}
        self._windows = {length: self._windows.get(length) or _Window(length) for length in sorted(wanted)}
        self._measured_by_window = {length: window.measured for length, window in self._windows.items()}

    def keep(self, deployments: Iterable[str]) -> None:
        """Forgets deployments that are no longer configured; their calls in flight still count down."""
        kept = frozenset(deployments)
        for window in self._windows.values():
            window.keep(kept)
        for learned in (self._cached_share, *self._outputs.values()):
            for name in [name for name in learned if name not in kept]:
                del learned[name]

    def view(self, now: float, draw: float) -> View:
        """Returns the picture a policy sees, sharing our mappings: it holds until the next await, copy none of it."""
        for window in self._windows.values():
            window.refresh(now)
        return View(
            now,
            draw,
            self._default.measured,
            self.in_flight,
            self.load,
            self._cached_share,
            self._outputs,
            self._measured_by_window,
            self.outlooks,
        )

    def begin(self, endpoint: Endpoint) -> None:
        """Counts an attempt in flight."""
        for counts, name in ((self.in_flight, endpoint.deployment), (self.at_endpoints, endpoint.id)):
            counts[name] = counts.get(name, 0) + 1

    def end(self, endpoint: Endpoint) -> None:
        """Counts it out again; called exactly once per `begin`."""
        for counts, name in ((self.in_flight, endpoint.deployment), (self.at_endpoints, endpoint.id)):
            left = counts[name] - 1
            if left:
                counts[name] = left
            else:
                del counts[name]

    def record(
        self,
        deployment: str,
        input_tokens: int,
        now: float,
        *,
        ttft_s: float | None,
        total_s: float,
        output_tokens: int,
    ) -> None:
        """Takes the times of one answered attempt; `ttft_s` of None is an answer that came in one piece.

        Such an answer has no time to first token, and its time per token is what is left of its time after the
        median TTFT of the deployment's streams, if there were any.
        """
        key = (deployment, bucket_of(input_tokens))
        if ttft_s is not None:
            ttft_bin = _bin(ttft_s)
            tpot_bin = _bin((total_s - ttft_s) / (output_tokens - 1)) if output_tokens > 1 else -1
        else:
            ttft_bin = tpot_bin = -1
            if output_tokens > 0:
                seen = self._default.measured.get(key)
                first = seen.ttft_p50_s if seen is not None and seen.ttft_p50_s < total_s else 0.0
                tpot_bin = _bin((total_s - first) / output_tokens)
        for window in self._windows.values():
            window.record(key, now, ttft_bin, tpot_bin)

    def learn(self, call: Call, deployment: str, usage: Usage) -> None:
        """Takes what an answer teaches of lengths; estimates and usage that breaks its own laws teach nothing."""
        if usage.estimated or usage.suspect:
            return
        name = call.model or "auto"
        tokens = usage.input_tokens
        if tokens > 0:
            _move(self._cached_share, deployment, usage.cached_input / tokens)
            if not call.has_media and call.body:
                _make_room(self._bytes_per_token)
                _move(self._bytes_per_token, name, len(call.body) / tokens)
        output = usage.output_tokens
        if output > 0:
            _make_room(self._output)
            _move(self._output, name, output)
            outputs = self._outputs.get(name)
            if outputs is None:
                if len(self._outputs) >= _LEARNED_NAMES:
                    self._outputs.clear()
                outputs = self._outputs[name] = {}
            _move(outputs, deployment, output)

    def expected_output(self, model: str | None, max_tokens: int | None) -> int:
        """Returns the output tokens to expect of a call: learned, never over max_tokens; at first that, or 256."""
        learned = self._output.get(model or "auto")
        if learned is None:
            return max_tokens or _OUTPUT_TOKENS
        expected = max(1, round(learned))
        return expected if max_tokens is None or expected < max_tokens else max_tokens

    def input_tokens(self, model: str | None, size_bytes: int) -> int:
        """Returns the input tokens to expect of a body, from the learned bytes per token."""
        return int(size_bytes / self._bytes_per_token.get(model or "auto", _BYTES_PER_TOKEN)) + 1


def _bin(seconds: float) -> int:
    if seconds <= _SHORTEST_S:
        return 0
    index = int(log(seconds * _PER_SHORTEST) * _SCALE)
    return index if index < _BINS else _BINS - 1


def _quantile(cumulated: list[int], share: float) -> float:
    """Reads a quantile (seconds) from running sums; NaN where there is nothing."""
    if not cumulated[-1]:
        return nan
    wanted = share * cumulated[-1]
    index = bisect_left(cumulated, wanted)
    before = cumulated[index - 1] if index else 0
    within = (wanted - before) / (cumulated[index] - before)
    return _SHORTEST_S * exp((index + within) / _SCALE)


def _move(learned: dict[str, float], name: str, value: float) -> None:
    old = learned.get(name)
    learned[name] = value if old is None else old + _LEARNING_RATE * (value - old)


def _make_room(learned: dict[str, float]) -> None:
    if len(learned) >= _LEARNED_NAMES:
        learned.clear()
