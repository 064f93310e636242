"""A vLLM engine in simulated time: continuous batching, paged KV memory with a prefix cache, preemption.

No socket and no clock: `add` takes the time, `advance` runs every step that ends by then and returns what happened. The
same engine stands behind the simulator's vLLM on a socket and behind the measurement of replica routing, whose
parameters are written down in docs/replica-routing.md.

What is modelled is vLLM's V1 scheduler: each step gives every running sequence one token, what is left of the token
budget goes to prompts that are being read, then to those that wait, first come first served; a sequence that finds no
block preempts the youngest, which is read anew later. Blocks that nobody holds stay until they are needed, least
recently used first, a prompt's tail before its head. Simplified: a prompt's blocks are promised when it begins, and
what running sequences have written is counted in tokens, not block by block.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Sequence as Several
from typing import Literal

import msgspec

Happening = Literal["first", "finished", "preempted"]


class Hardware(msgspec.Struct, frozen=True):
    """What an engine can do: by default Qwen3-32B in bf16 on two H100 (docs/replica-routing.md has the sources).

    A step takes `step_s`, plus the greater of reading the weights (`weights_s`) and computing its tokens
    (`prefill_tokens_per_s`), plus reading the KV memory of its running sequences (`kv_s_per_token`).
    """

    kv_tokens: int = 308_224
    block_tokens: int = 16
    prefill_tokens_per_s: float = 15_928.0
    weights_s: float = 0.014
    kv_s_per_token: float = 55.9e-9
    step_s: float = 0.002
    max_running: int = 1024
    max_batched_tokens: int = 8192


class Sequence:
    """One request within an engine. Times are the engine's seconds; `blocks` are chained hashes of whole blocks."""

    __slots__ = (
        "_computed",
        "_decoding_since",
        "_epoch",
        "_held",
        "_private",
        "arrived_at",
        "blocks",
        "cached_tokens",
        "finished_at",
        "first_at",
        "generated",
        "key",
        "output_tokens",
        "prompt_tokens",
    )

    def __init__(self, key: object, blocks: Several[int], prompt_tokens: int, output_tokens: int) -> None:
        self.key = key
        self.blocks = blocks
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.cached_tokens = 0  # of the prompt, as vLLM reports them
        self.generated = 0  # as of the last time it was preempted or finished
        self.arrived_at = 0.0
        self.first_at = -1.0
        self.finished_at = -1.0
        self._computed = 0  # tokens whose KV stands in memory or is promised by a step under way
        self._held = 0  # how many of `blocks` it holds
        self._private = 0  # tokens that it holds beside them
        self._decoding_since = -1  # the engine's step count at its first token; negative while its prompt is read
        self._epoch = 0


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something happened to a sequence."""

    at: float
    what: Happening
    sequence: Sequence


class Engine:
    """One replica; time only moves when it is told to."""

    def __init__(self, hardware: Hardware = Hardware()) -> None:  # noqa: B008 - frozen
        self.hardware = hardware
        self.now = 0.0
        self.steps = 0
        self.preemptions = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generated_tokens = 0
        self.waiting: deque[Sequence] = deque()
        self._reading: list[Sequence] = []  # prompts under way
        self._decoding: dict[Sequence, None] = {}  # in order of their beginning
        self._ends: list[tuple[int, int, int, Sequence]] = []  # (step of the last token, tie, epoch, sequence)
        self._held: dict[int, int] = {}  # block -> by how many sequences
        self._idle: OrderedDict[int, None] = OrderedDict()  # blocks that nobody holds, the next to go first
        self._capacity = hardware.kv_tokens // hardware.block_tokens
        self._private = 0  # tokens
        self._context = 0  # tokens that a step's decoding reads
        self._step_ends_at: float | None = None
        self._chunks: list[tuple[Sequence, int]] = []
        self._batch = 0
        self._tie = 0
        self._stray = 0

    # -- what it shows ---------------------------------------------------------------------------------------------

    @property
    def running(self) -> int:
        """Sequences that are being read or written."""
        return len(self._reading) + len(self._decoding)

    @property
    def kv_usage(self) -> float:
        """The share of blocks that sequences hold: `vllm:kv_cache_usage_perc`."""
        return min(1.0, self._taken / self._capacity)

    @property
    def pending_prefill(self) -> int:
        """Prompt tokens that wait to be read, cache hits not yet taken off."""
        queued = sum(each.prompt_tokens for each in self.waiting)
        return queued + sum(self._target(each) - each._computed for each in self._reading)

    @property
    def pending_fresh(self) -> int:
        """Prompt tokens that wait to be read, what the cache holds of them now taken off."""
        queued = sum(each.prompt_tokens - self.hit_tokens(each.blocks, each.prompt_tokens) for each in self.waiting)
        return queued + sum(self._target(each) - each._computed for each in self._reading)

    @property
    def ends_at(self) -> float | None:
        """When the step under way ends; None where there is nothing to do."""
        return self._step_ends_at

    def hit_tokens(self, blocks: Several[int], prompt_tokens: int) -> int:
        """Returns how many of a prompt's tokens it would find in its cache now."""
        held, idle, hits = self._held, self._idle, 0
        for block in blocks[: (prompt_tokens - 1) // self.hardware.block_tokens]:
            if block not in held and block not in idle:
                break
            hits += 1
        return hits * self.hardware.block_tokens

    @property
    def step_lasts_s(self) -> float:
        """How long the step under way takes; 0 where there is none."""
        return 0.0 if self._step_ends_at is None else self._step_ends_at - self.now

    # -- what is done to it ----------------------------------------------------------------------------------------

    def add(self, sequence: Sequence, now: float) -> None:
        """Queues a request; `advance(now)` must have been called."""
        sequence.arrived_at = now
        self.waiting.append(sequence)
        if self._step_ends_at is None:
            self.now = max(self.now, now)
            self._begin()

    def abort(self, sequence: Sequence) -> None:
        """Frees a request whose reader has left."""
        if sequence.finished_at >= 0:
            return
        if sequence in self._decoding:
            del self._decoding[sequence]
            self._context -= sequence.prompt_tokens + self._written(sequence)
        elif sequence in self._reading:
            self._reading.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self._release(sequence, keep_written=False)
        sequence.finished_at = self.now
        sequence._epoch += 1

    def forget(self) -> None:
        """Empties the cache of what nobody holds: what a restart or `/reset_prefix_cache` does."""
        self._idle.clear()

    def advance(self, now: float) -> list[Event]:
        """Runs every step that ends by `now`; returns what happened, in order."""
        events: list[Event] = []
        while self._step_ends_at is not None and self._step_ends_at <= now:
            self._end_step(events)
            if not self._reading and not self.waiting and self._decoding:
                self._decode_many(now)
            self._begin()
        return events

    # -- steps -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Composes the next step."""
        hardware = self.hardware
        self._batch = len(self._decoding)
        budget = hardware.max_batched_tokens - self._batch
        self._chunks = []
        for sequence in self._reading:
            budget = self._chunk(sequence, budget)
        while self.waiting and budget > 0 and self.running < hardware.max_running:
            if not self._admit(self.waiting[0]):
                break
            sequence = self.waiting.popleft()
            self._reading.append(sequence)
            budget = self._chunk(sequence, budget)
        if not self._batch and not self._chunks:
            self._step_ends_at = None
            return
        tokens = self._batch + sum(size for _, size in self._chunks)
        self._step_ends_at = self.now + self._duration(tokens)

    def _duration(self, tokens: int) -> float:
        hardware = self.hardware
        computing = tokens / hardware.prefill_tokens_per_s
        work = computing if computing > hardware.weights_s else hardware.weights_s
        return hardware.step_s + work + self._context * hardware.kv_s_per_token

    def _chunk(self, sequence: Sequence, budget: int) -> int:
        size = min(budget, self._target(sequence) - sequence._computed)
        if size > 0:
            self._chunks.append((sequence, size))
            sequence._computed += size
        return budget - size

    def _end_step(self, events: list[Event]) -> None:
        assert self._step_ends_at is not None
        self.now = self._step_ends_at
        self.steps += 1
        batch = len(self._decoding)  # readers who left during the step take no token
        self._context += batch
        self._private += batch
        self.generated_tokens += batch
        self._finish(events)
        for sequence, _ in self._chunks:
            if sequence.finished_at < 0:
                self._compute(sequence, events)
        self._make_room(events)

    def _compute(self, sequence: Sequence, events: list[Event]) -> None:
        """A chunk of a prompt has been read: its whole blocks can be found by others from now on."""
        block_tokens = self.hardware.block_tokens
        blocks = sequence.blocks
        whole = min(len(blocks), sequence._computed // block_tokens)
        for block in blocks[sequence._held : whole]:
            if block in self._held:
                self._held[block] += 1
            else:
                self._idle.pop(block, None)
                self._held[block] = 1
        gained = (whole - sequence._held) * block_tokens
        sequence._held = whole
        sequence._private -= gained
        self._private -= gained
        if sequence._computed < self._target(sequence):
            return
        self._reading.remove(sequence)
        if sequence.first_at < 0:
            sequence.first_at = self.now
            events.append(Event(self.now, "first", sequence))
            sequence.generated = 1
            self.generated_tokens += 1
        sequence._decoding_since = self.steps
        self._decoding[sequence] = None
        self._context += sequence.prompt_tokens + sequence.generated
        self._tie += 1
        left = sequence.output_tokens - sequence.generated
        heapq.heappush(self._ends, (self.steps + left, self._tie, sequence._epoch, sequence))
        if left <= 0:
            self._finish(events)

    def _finish(self, events: list[Event]) -> None:
        ends = self._ends
        while ends and ends[0][0] <= self.steps:
            _, _, epoch, sequence = heapq.heappop(ends)
            if epoch != sequence._epoch:
                continue
            self._leave_decoding(sequence)
            sequence.finished_at = self.now
            self._release(sequence, keep_written=True)
            events.append(Event(self.now, "finished", sequence))

    def _leave_decoding(self, sequence: Sequence) -> None:
        written = self._written(sequence)
        del self._decoding[sequence]
        self._context -= sequence.prompt_tokens + written
        sequence._private += written - sequence.generated
        sequence.generated = written
        sequence._decoding_since = -1
        sequence._epoch += 1

    def _decode_many(self, until: float) -> None:
        """Takes the steps in which nothing happens but a token for everybody, all at once."""
        ends = self._ends
        while ends and ends[0][2] != ends[0][3]._epoch:
            heapq.heappop(ends)
        batch = len(self._decoding)
        most = ends[0][0] - self.steps - 1
        room = self._capacity - len(self._held)
        most = min(most, (room * self.hardware.block_tokens - self._private) // batch - 1)
        if most <= 1:
            return
        first = self._duration(batch)
        growth = batch * self.hardware.kv_s_per_token
        # n steps take n·first + growth·n(n-1)/2
        left = until - self.now
        if growth > 0:
            half = first - growth / 2
            steps = int((-half + (half * half + 2 * growth * left) ** 0.5) / growth)
        else:
            steps = int(left / first)
        steps = min(steps, most)
        if steps < 1:
            return
        self.now += steps * first + growth * steps * (steps - 1) / 2
        self.steps += steps
        tokens = steps * batch
        self._context += tokens
        self._private += tokens
        self.generated_tokens += tokens
        self._evict()

    # -- memory ----------------------------------------------------------------------------------------------------

    @property
    def _taken(self) -> int:
        return len(self._held) + -(-self._private // self.hardware.block_tokens)

    def _target(self, sequence: Sequence) -> int:
        """Tokens to be in memory before the next one is written: after a preemption, also those it had written."""
        return sequence.prompt_tokens + sequence.generated

    def _written(self, sequence: Sequence) -> int:
        if sequence._decoding_since < 0:
            return sequence.generated
        return sequence.generated + self.steps - sequence._decoding_since

    def _admit(self, sequence: Sequence) -> bool:
        block_tokens = self.hardware.block_tokens
        target = self._target(sequence)
        hits = self.hit_tokens(sequence.blocks, sequence.prompt_tokens) // block_tokens
        taken = sequence.blocks[:hits]
        woken = sum(block not in self._held for block in taken)
        if self._taken + woken + -(-(target - hits * block_tokens) // block_tokens) > self._capacity:
            return False
        for block in taken:
            if block in self._held:
                self._held[block] += 1
            else:
                del self._idle[block]
                self._held[block] = 1
        sequence._held = hits
        sequence._computed = hits * block_tokens
        sequence._private = target - sequence._computed
        self._private += sequence._private
        if sequence.first_at < 0 and not sequence.generated:
            sequence.cached_tokens = sequence._computed
            self.prompt_tokens += sequence.prompt_tokens
            self.cached_tokens += sequence._computed
        self._evict()
        return True

    def _release(self, sequence: Sequence, *, keep_written: bool) -> None:
        """Lets go of a sequence's memory, its tail first; whole blocks stay in the cache."""
        if sequence._decoding_since >= 0:
            sequence._private += self.steps - sequence._decoding_since
            sequence._decoding_since = -1
        self._private -= sequence._private
        if keep_written:
            for _ in range(sequence._private // self.hardware.block_tokens):
                self._stray -= 1
                self._idle[self._stray] = None
        held, idle = self._held, self._idle
        for block in reversed(sequence.blocks[: sequence._held]):
            left = held[block] - 1
            if left:
                held[block] = left
            else:
                del held[block]
                idle[block] = None
        sequence._held = sequence._private = sequence._computed = 0
        self._evict()

    def _evict(self) -> None:
        idle = self._idle
        for _ in range(self._taken + len(idle) - self._capacity):
            if not idle:
                return
            idle.popitem(last=False)

    def _make_room(self, events: list[Event]) -> None:
        """Preempts the youngest while more is held than there is."""
        self._evict()
        while self._taken > self._capacity and len(self._decoding) > 1:
            youngest = next(reversed(self._decoding))
            self._leave_decoding(youngest)
            self._release(youngest, keep_written=False)
            self.preemptions += 1
            self.waiting.appendleft(youngest)
            events.append(Event(self.now, "preempted", youngest))
