"""Routing by what a call costs in seconds, its own and those of everybody in flight beside it.

Estimated time to first token, with an index of prefixes that corrects itself. A prompt's tokens that a replica has not
cached are read before its first token, and every answer under way there stands still meanwhile; so reading weighs as
many times as there are calls in flight. That is what keeps prefixes at their replicas under load: a router that
weighs the call's own wait alone sends it to whoever is free, has it read there what another holds, and once a queue has
built up never finds back (docs/replica-routing.md has the figures).

`order` scores every replica, and the caller reserves the one it takes before it awaits anything, so that no second
call is scored against the same picture.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gateway.core.policy import Outlook
from gateway.pool.router.forecast import GRAIN_S, Forecast
from gateway.pool.router.index import PrefixIndex
from gateway.pool.router.prompts import BLOCK_BYTES, Prompt, rendezvous
from gateway.pool.router.replicas import KV_TOKENS, Gauges, Replica

BYTES_PER_TOKEN: Final = 4.0  # of English, until usage teaches
_LEARNING: Final = 0.1
_RECURRENCE_LEARNING: Final = 0.005
_SESSIONS: Final = 65_536
_OUTLOOK_S: Final = 0.01
_USUAL_TOKENS: Final = 1000  # of a prompt, by which the best replica is told
_MOST_BLOCKS: Final = 65_536  # of one replica that are remembered: 16 million tokens


Scored = tuple[bool, float, Replica]  # over the bound, seconds, whom


class Weights(msgspec.Struct, frozen=True):
    """What the cost is made of, and when costs count as equal; docs/replica-routing.md says where each is from."""

    busy: float = 0.2  # what a call costs each other one while it is written, as a share of reading its whole prompt
    kv_s: float = 0.15  # of a cache that running sequences fill by half
    kv_most: float = 0.9  # gauges are a second old: a full cache is no verdict
    most_over_mean: float = 2.0  # the bound on calls in flight, of consistent hashing with bounded loads
    least_bound: int = 4
    tie_s: float = 0.02
    home: float = 1.4  # what a prompt that nobody has may cost more at its home, in times of what reading it costs


class Ticket:
    """One call's place at a replica, from its reservation to its end; each is told once, later ones are not heard."""

    __slots__ = (
        "_first_at",
        "_open",
        "_waits",
        "alone",
        "at",
        "expected_s",
        "fresh",
        "hit",
        "predicted",
        "prompt",
        "replica",
    )

    def __init__(self, replica: Replica, prompt: Prompt, at: float, predicted: int, hit: float, fresh: float) -> None:
        self.replica = replica
        self.prompt = prompt
        self.at = at
        self.predicted = predicted  # leading blocks that the index knew
        self.hit = hit  # tokens
        self.fresh = fresh  # tokens that were expected to be read
        self.alone = replica.pending_tokens <= 0
        self.expected_s = (replica.pending_tokens + fresh) / replica.prefill_rate
        self._first_at = 0.0
        self._waits = prompt.stream
        self._open = True


class PrefixRouter:
    """Routes the calls of one pool; pure but for what it remembers: the time is passed in."""

    def __init__(self, replicas: Iterable[str] = (), weights: Weights = Weights()) -> None:  # noqa: B008 - frozen
        self.weights = weights
        self.replicas: dict[str, Replica] = {}
        self.index = PrefixIndex()
        self.bytes_per_token = BYTES_PER_TOKEN
        self._sized_by = BYTES_PER_TOKEN
        self.forecast = Forecast()
        self.predicted_tokens = self.cached_tokens = 0  # of hits: as the index believed, and as replicas said
        self._outlook: tuple[float, Outlook] | None = None
        self._recurring = 1.0  # what share of a prompt somebody has had before
        self._sessions: OrderedDict[int, str] = OrderedDict()
        self._looked_up: tuple[Prompt, dict[int, int]] | None = None
        self._turn = 0
        self._serial = 0
        self.watch(replicas)

    # -- who is there ----------------------------------------------------------------------------------------------

    def watch(self, replicas: Iterable[str]) -> None:
        """Routes over these from now on; what is known of those that stay is kept."""
        wanted = list(replicas)
        self._looked_up = None
        for key in [key for key in self.replicas if key not in wanted]:
            self.index.drop(self.replicas.pop(key).bit)
        taken = {replica.bit for replica in self.replicas.values()}
        free = (bit for bit in range(len(wanted) + len(taken)) if bit not in taken)
        for key in wanted:
            if key not in self.replicas:
                self.replicas[key] = replica = Replica(key, next(free), self._serial)
                self._serial += 1
                self.index.add(replica.bit, self._capacity(replica))

    def tell(self, key: str, gauges: Gauges) -> None:
        """Takes what a replica's /metrics said; a process that is another than before has an empty cache."""
        replica = self.replicas.get(key)
        if replica is None:
            return
        before = replica.gauges
        if before is not None and before.born_at and gauges.born_at and gauges.born_at != before.born_at:
            self.restarted(key)
        replica.gauges = gauges
        replica.ours_when_told = replica.in_flight
        if before is None or before.kv_tokens != gauges.kv_tokens:
            self.index.resize(replica.bit, self._capacity(replica))

    def restarted(self, key: str) -> None:
        """Forgets what a replica had in its cache: it was started anew, slept, or its cache was reset."""
        replica = self.replicas.get(key)
        if replica is None:
            return
        self._looked_up = None
        self.index.discard(replica.bit)
        replica.confidence = replica.stretch = 1.0

    # -- a call ----------------------------------------------------------------------------------------------------

    def order(self, prompt: Prompt, among: Sequence[str], now: float) -> list[str]:
        """Returns the replicas as a call should try them, best first; those over the bound come last."""
        self._turn += 1
        candidates = [self.replicas[key] for key in among if key in self.replicas]
        if len(candidates) < 2:
            return list(among)
        weights = self.weights
        leading = self._leading(prompt)
        tokens = prompt.size_bytes / self.bytes_per_token
        block_tokens = BLOCK_BYTES / self.bytes_per_token
        crowds = [replica.crowd(now) for replica in candidates]
        mean = sum(crowds) / len(crowds)
        bound = max(weights.least_bound, weights.most_over_mean * (mean + 1 / len(crowds)))
        scored: list[Scored] = []
        for replica, crowd in zip(candidates, crowds, strict=True):
            blocks = leading.get(replica.bit, 0)
            fresh = tokens - min(tokens, blocks * block_tokens) * replica.confidence if blocks else tokens
            reading = replica.pending(now) + fresh * (1 + crowd) + weights.busy * tokens * crowd
            cost = reading / replica.prefill_rate
            gauges = replica.fresh_gauges(now)
            if gauges is not None:
                usage = min(weights.kv_most, gauges.kv_usage)
                cost += weights.kv_s * usage / (1.0 - usage)
            scored.append((crowd > bound, cost, replica))
        scored.sort(key=_by_cost)
        if prompt.blocks:
            known = max(leading.values(), default=0) / len(prompt.blocks)
            self._recurring += _RECURRENCE_LEARNING * (known - self._recurring)
        read_s = tokens / scored[0][2].prefill_rate * (1 + mean)
        best = self._settled(prompt, leading, scored, weights.home * self._recurring * read_s)
        rest = [replica.key for _, _, replica in scored if replica is not best]
        return [best.key, *rest, *(key for key in among if key not in self.replicas)]

    def reserve(self, key: str, prompt: Prompt, now: float) -> Ticket | None:
        """Counts a call in at a replica, before anything is awaited; None where it is not known any more."""
        replica = self.replicas.get(key)
        if replica is None:
            return None
        predicted = self._leading(prompt).get(replica.bit, 0)
        self._looked_up = None
        tokens = prompt.size_bytes / self.bytes_per_token
        hit = min(tokens, predicted * BLOCK_BYTES / self.bytes_per_token)
        fresh = tokens - hit * replica.confidence
        waits_for = replica.pending(now)
        ticket = Ticket(replica, prompt, now, predicted, hit, fresh)
        replica.in_flight += 1
        replica.pending_tokens = waits_for + fresh
        if not prompt.stream:  # it has no first token that could be seen
            replica.promised.append((now + replica.pending_tokens / replica.prefill_rate, fresh))
        self.index.touch(replica.bit, prompt.blocks)
        if prompt.session:
            self._sessions[prompt.session] = key
            self._sessions.move_to_end(prompt.session)
            if len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
        return ticket

    def first_token(self, ticket: Ticket, now: float) -> None:
        """The prompt of a streamed call has been read."""
        if ticket._waits:
            ticket._waits = False
            ticket._first_at = now
            ticket.replica.pending_tokens -= ticket.fresh
            self.forecast.learn(ticket.expected_s, now - ticket.at)

    def finished(
        self,
        ticket: Ticket,
        now: float,
        prompt_tokens: int = 0,
        cached_tokens: int | None = None,
        output_tokens: int = 0,
    ) -> None:
        """A call was answered; None for `cached_tokens` where the replica does not tell of them."""
        if not self._leave(ticket, now):
            return
        self._looked_up = None
        replica, prompt = ticket.replica, ticket.prompt
        if prompt_tokens > 0 and not prompt.has_media:
            self._learn_size(prompt.size_bytes / prompt_tokens)
            if cached_tokens is not None:
                self._learn(ticket, prompt_tokens, cached_tokens)
        beside = (output_tokens * self.bytes_per_token + prompt.size_bytes) / BLOCK_BYTES - len(prompt.blocks)
        if replica.key in self.replicas:
            self.index.touch(replica.bit, prompt.blocks, min(max(0, round(beside)), _MOST_BLOCKS))

    def failed(self, ticket: Ticket, now: float) -> None:
        """A call ended without an answer; one that had no first token has left nothing in the cache."""
        unread = ticket._first_at <= 0.0
        if self._leave(ticket, now) and unread and ticket.replica.key in self.replicas:
            self.index.forget(ticket.replica.bit, ticket.prompt.blocks[ticket.predicted :])
            self._looked_up = None

    def outlook(self, now: float) -> Outlook | None:
        """Returns what to expect of the replica that would begin a prompt first; None where there is none.

        It is worked out anew every ten milliseconds: of 64 replicas that takes some 30 us.
        """
        if self._outlook is not None and 0.0 <= now - self._outlook[0] < _OUTLOOK_S:
            return self._outlook[1]
        if not self.replicas:
            return None
        waits = [(each.pending(now) / each.prefill_rate, 1.0 / each.prefill_rate) for each in self.replicas.values()]
        wait_s, per_token_s = min(waits, key=lambda each: each[0] + _USUAL_TOKENS * each[1])
        forecast = self.forecast
        told = Outlook(forecast.samples, wait_s + GRAIN_S, per_token_s, forecast.middle, forecast.late)
        self._outlook = now, told
        return told

    # --------------------------------------------------------------------------------------------------------------

    def _leading(self, prompt: Prompt) -> dict[int, int]:
        """Looks a prompt up, once for its order and its reservation: nothing comes in between."""
        last = self._looked_up
        if last is None or last[0] is not prompt:
            last = self._looked_up = prompt, self.index.leading(prompt.blocks)
        return last[1]

    def _leave(self, ticket: Ticket, now: float) -> bool:
        if not ticket._open:
            return False
        ticket._open = False
        replica = ticket.replica
        if ticket._waits:
            ticket._waits = False
            replica.pending_tokens -= ticket.fresh
        replica.in_flight -= 1
        if not replica.in_flight:
            replica.pending_tokens = 0.0
            replica.promised.clear()
        return True

    def _settled(self, prompt: Prompt, leading: dict[int, int], scored: list[Scored], slack_s: float) -> Replica:
        """Returns the best, or of those about as good the one that other gateways would take too.

        A prompt whose beginning nobody has gets a home by rendezvous hashing, which every gateway computes alike, as
        far as prompts recur at all and the home is not too much dearer.
        """
        over, least, best = scored[0]
        cold = bool(prompt.mark) and not any(replica.bit in leading for beyond, _, replica in scored if beyond == over)
        homing = cold and slack_s > self.weights.tie_s
        within = least + (slack_s if homing else self.weights.tie_s)
        equal = [replica for beyond, cost, replica in scored if cost <= within and beyond == over]
        if len(equal) == 1:
            return best
        last = self._sessions.get(prompt.session) if prompt.session else None
        for replica in equal:
            if replica.key == last:
                return replica
        if homing:
            return max(equal, key=lambda replica: rendezvous(prompt.mark, replica.key))
        count = len(self.replicas)
        return min(equal, key=lambda replica: (replica.in_flight, (replica.serial + self._turn) % count))

    def _learn_size(self, bytes_per_token: float) -> None:
        self.bytes_per_token += _LEARNING * (min(max(bytes_per_token, 0.5), 16.0) - self.bytes_per_token)
        if not 0.95 < self.bytes_per_token / self._sized_by < 1.05:
            self._sized_by = self.bytes_per_token
            for replica in self.replicas.values():
                self.index.resize(replica.bit, self._capacity(replica))

    def _learn(self, ticket: Ticket, prompt_tokens: int, cached_tokens: int) -> None:
        replica, prompt = ticket.replica, ticket.prompt
        self.predicted_tokens += round(ticket.hit)
        self.cached_tokens += cached_tokens
        fresh = prompt_tokens - cached_tokens
        took_s = ticket._first_at - ticket.at
        if ticket.alone and prompt.stream and fresh >= 512 and took_s > 0:
            replica.prefill_rate += _LEARNING * (fresh / took_s - replica.prefill_rate)
        if ticket.hit <= 0:
            return
        ratio = min(1.0, cached_tokens / ticket.hit)
        replica.confidence += _LEARNING * (ratio - replica.confidence)
        # The prompt itself has been read by now and is in the cache, whatever was there before; that it was not says
        # that the cache keeps less than is believed.
        block_tokens = BLOCK_BYTES / self.bytes_per_token
        if replica.confidence < 0.7:
            self._stretch(replica, 0.9)
        elif replica.confidence > 0.95 and cached_tokens > ticket.hit + block_tokens:
            self._stretch(replica, 1.1)

    def _stretch(self, replica: Replica, by: float) -> None:
        replica.stretch = min(4.0, max(0.1, replica.stretch * by))
        if replica.key in self.replicas:
            self.index.resize(replica.bit, self._capacity(replica))

    def _capacity(self, replica: Replica) -> int:
        told = replica.gauges.kv_tokens if replica.gauges is not None else 0
        tokens = (told or KV_TOKENS) * replica.stretch
        return min(_MOST_BLOCKS, int(tokens * self.bytes_per_token / BLOCK_BYTES))


def _by_cost(scored: Scored) -> tuple[bool, float]:
    return scored[0], scored[1]
