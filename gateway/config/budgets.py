"""Budgets, rate limits and whom to tell, as written."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from gateway.config.secret import Secret
from gateway.config.section import Section
from gateway.config.units import Unit, Usd, name
from gateway.core.allowances import Budget as CompiledBudget
from gateway.core.allowances import RateLimits
from gateway.core.money import NANO_PER_USD

EACH = "*"


def _zone(value: object) -> object:
    if value != "UTC":
        try:
            ZoneInfo(value)  # type: ignore[arg-type]
        except (KeyError, ValueError, TypeError, OSError):
            raise ValueError(f"{value!r} is no time zone that this machine knows, such as Europe/Berlin") from None
    return value


def _name_or_each(value: object) -> object:
    return value if value == EACH else name(value)


Percent = Annotated[int, Field(ge=1, le=1000)]
Percents = Annotated[
    list[Percent],
    BeforeValidator(lambda value: [value] if isinstance(value, int) else value),
    Unit("percent, one or several"),
]
NameOrEach = Annotated[str, BeforeValidator(_name_or_each), Unit("name or `*`")]
Zone = Annotated[str, BeforeValidator(_zone), Unit("time zone")]
Rate = Annotated[int, Field(ge=1)]


class BudgetTerms(Section):
    """So much a period."""

    usd: Usd = Field(description="What may be spent in a period.")
    per: Literal["hour", "day", "week", "month"] = Field(
        description="The calendar's period; a week begins on Monday, an hour is UTC's."
    )
    zone: Zone = Field(default="UTC", description="Whose calendar: a time zone, such as `Europe/Berlin`.")
    notify_at: Percents = Field(
        default=[], description="Percent, one or several: spending that reaches it is told to `notify.webhook`."
    )
    reject_at: Percent | None = Field(
        default=100, description="Percent from which on calls are refused; `null`: none ever is."
    )

    @property
    def compiled(self) -> CompiledBudget:
        """The same with its money as an integer."""
        notices = tuple(sorted(set(self.notify_at)))
        return CompiledBudget(int(self.usd * NANO_PER_USD), self.per, self.zone, notices, self.reject_at)


class Budget(BudgetTerms):
    """A budget of one key, team, user, tag's value or provider, of each of them on its own (`"*"`), or of everybody.

    Where one is named, that budget holds for it in the place of the one for each with the same period.
    """

    key: NameOrEach | None = Field(default=None, description="The name of a key.")
    team: NameOrEach | None = Field(default=None, description="A team.")
    user: Annotated[str, Unit("text or `*`")] | None = Field(
        default=None, description="A user, as calls name one, else their key."
    )
    tag: dict[str, str] | None = Field(default=None, description="One tag and its value, or `*`.")
    provider: NameOrEach | None = Field(
        default=None, description="A provider; calls that find no room in it go to others that they may go to."
    )
    overall: bool = Field(default=False, description="`true`: all calls together.")

    @model_validator(mode="after")
    def _one_scope(self) -> Budget:
        words = [self.key, self.team, self.user, self.tag, self.provider, self.overall or None]
        if len([word for word in words if word is not None]) != 1 or (self.tag is not None and len(self.tag) != 1):
            raise ValueError("a budget is of exactly one key, team, user, tag, provider or `overall: true`")
        return self

    @property
    def scope(self) -> tuple[str, str]:
        """Of what it is, and of whom: ("team", "*"), ("tag:project", "crm"), ("overall", "overall")."""
        if self.tag is not None:
            ((tag, value),) = self.tag.items()
            return f"tag:{tag}", value
        for word in ("key", "team", "user", "provider"):
            if (found := getattr(self, word)) is not None:
                return word, found
        return "overall", "overall"


class RateTerms(Section):
    """How fast, and how much at a time."""

    calls_per_minute: Rate | None = Field(default=None, description="Calls that may begin in a minute.")
    tokens_per_minute: Rate | None = Field(
        default=None, description="Tokens in and out; by estimate when a call begins, put right when it ends."
    )
    in_flight: Rate | None = Field(default=None, description="Calls under way at a time.")

    @property
    def compiled(self) -> RateLimits:
        """The same as callers are held to."""
        return RateLimits(self.calls_per_minute, self.tokens_per_minute, self.in_flight)


class RateLimit(RateTerms):
    """Limits of a key or a team (`"*"`: of each on its own), of a model, or of one of the former for a model alone."""

    key: NameOrEach | None = Field(default=None, description="The name of a key.")
    team: NameOrEach | None = Field(default=None, description="A team.")
    model: str | None = Field(default=None, description="A name that callers ask for.")

    @model_validator(mode="after")
    def _one_scope(self) -> RateLimit:
        if (self.key is not None and self.team is not None) or (self.key, self.team, self.model) == (None, None, None):
            raise ValueError("a rate limit is of a key or a team, of a model, or of one of the former for a model")
        if (self.calls_per_minute, self.tokens_per_minute, self.in_flight) == (None, None, None):
            raise ValueError("write calls_per_minute, tokens_per_minute or in_flight")
        return self

    @property
    def scope(self) -> tuple[str, str, str | None]:
        """Of what it is, of whom, and for which model alone."""
        if self.key is not None:
            return "key", self.key, self.model
        if self.team is not None:
            return "team", self.team, self.model
        assert self.model is not None
        return "model", self.model, None


class Notify(Section):
    """Who is told that spending has reached a `notify_at`, by a signed POST."""

    webhook: Secret = Field(description="An `http://` or `https://` URL.")
    secret: Secret | None = Field(
        default=None,
        description="What deliveries are signed with, as [Standard Webhooks](https://www.standardwebhooks.com) has it: "
        "`whsec_` and base64, or any text.",
    )
