"""Who calls in the made-up month: keys, and what each of them does all day."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gateway.core.types import Tags

Hours = Literal["office", "long", "night", "always"]


class Workload(msgspec.Struct, frozen=True):
    """Calls of one kind under one key.

    `share` is their part of all calls (only the ratio counts), `growth` by how much their number grows over the month.
    Lengths are medians in tokens; `spread` is the sigma of their logarithm. `cached` is the part of a prompt that
    providers serve from their caches, `reasoning` the part of the answer that nobody reads. `labelled` and `personal`
    are the parts of calls that a header calls restricted, and in which a detector finds somebody. `repeated`: those at
    temperature 0 that somebody has asked before. `steps` is how many steps an agent takes, each with a longer prompt.
    """

    key: str
    model: str
    share: float
    hours: Hours
    input: int
    output: int
    users: tuple[str, ...] = ()
    spread: float = 0.6
    growth: float = 0.3
    stream: bool = True
    endpoint: str = "chat"
    dialect: str = "chat"
    cached: float = 0.0
    reasoning: float = 0.0
    labelled: float = 0.0
    personal: float = 0.0
    repeated: float = 0.0
    campaign: bool = False


class Owner(msgspec.Struct, frozen=True):
    """A key: its team, its tags."""

    name: str
    team: str
    tags: Tags = ()


KEYS: Final = (
    Owner("helpdesk", "support-eu", (("project", "helpdesk"),)),
    Owner("agent-assist", "support-eu", (("project", "assist"),)),
    Owner("crm", "sales", (("project", "crm"),)),
    Owner("ide", "engineering", (("project", "ide"),)),
    Owner("ci", "engineering", (("project", "review"),)),
    Owner("etl", "data-science", (("project", "tagging"),)),
    Owner("search", "data-science", (("project", "search"),)),
    Owner("campaigns", "growth", (("project", "mailing"),)),
    Owner("contracts", "legal", (("project", "contracts"),)),
    Owner("meetings", "legal"),
    Owner("lab", "research", (("project", "evals"),)),
)

_AGENTS = ("ana", "bruno", "chiara", "dmitri", "elif", "farid", "greta")
_SELLERS = ("hanna", "ivan", "julia", "kofi", "lena")
_LAWYERS = ("wanda", "xenia")
_SCIENTISTS = ("yara", "zoe")
_ENGINEERS = ("maya", "nils", "olga", "pedro", "quinn", "rosa", "sam", "tariq", "uma", "viktor")

WORKLOADS: Final = (
    Workload("helpdesk", "chat", 22, "long", 900, 220, spread=0.5, cached=0.45, personal=0.05, repeated=0.14),
    Workload("agent-assist", "chat", 9, "office", 1800, 300, _AGENTS, cached=0.3, personal=0.08),
    Workload("agent-assist", "smart", 1.5, "office", 2600, 500, _AGENTS),
    Workload("crm", "chat", 11, "office", 1200, 260, _SELLERS, growth=0.6, personal=0.03, labelled=0.01),
    Workload("crm", "smart", 2, "office", 2400, 480, _SELLERS),
    Workload(
        "ide", "code", 12, "office", 6200, 420, _ENGINEERS,
        spread=0.8, growth=0.5, cached=0.7, dialect="messages",
    ),
    Workload("ci", "code", 4, "always", 9000, 700, stream=False, cached=0.5, reasoning=0.35, repeated=0.1),
    Workload("etl", "bulk", 14, "night", 700, 60, stream=False, growth=0.1, repeated=0.22),
    Workload("search", "vectors", 11, "always", 380, 0, stream=False, endpoint="embeddings", dialect="embeddings"),
    Workload("campaigns", "bulk", 2.5, "office", 900, 700, growth=0.2, campaign=True),
    Workload("campaigns", "smart", 2, "office", 1500, 1100, growth=0.2, campaign=True),
    Workload("contracts", "chat", 3, "office", 7800, 600, _LAWYERS, labelled=0.15, cached=0.2),
    Workload("contracts", "smart", 0.7, "office", 9800, 900, _LAWYERS, labelled=0.1),
    Workload(
        "meetings", "transcripts", 1.2, "office", 1500, 900,
        stream=False, endpoint="transcriptions", dialect="transcriptions",
    ),
    Workload("lab", "smart", 2, "always", 3200, 1400, _SCIENTISTS, growth=1.2, reasoning=0.5),
    Workload("lab", "gpt", 1.6, "always", 2800, 1600, _SCIENTISTS, growth=1.2, reasoning=0.6, dialect="responses"),
)  # fmt: skip
