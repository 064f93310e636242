"""What GPUs cost an hour, what that makes a million tokens cost, and when it is less than a hosted price.

`token_price` is what policies ask: a pool with room to spare costs what one more token costs, next to nothing; one that
is full costs what the GPUs of a further replica cost.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

import msgspec

from gateway.core.money import NANO_PER_USD, Rates
from gateway.pool.planner.hardware import Gpu
from gateway.pool.planner.load import DAY_S, Load

HOURS_A_YEAR: Final = 8760.0
HOURS_A_MONTH: Final = 730.0
MILLION: Final = 1e6
Way = Literal["rented", "reserved", "bought"]
WAYS: Final[tuple[Way, ...]] = ("rented", "reserved", "bought")


class Terms(msgspec.Struct, frozen=True):
    """What money depends on; all can be given. Dollars; shares between 0 and 1.

    `rent_usd` and `buy_usd` are a GPU's, None for the table's. `staff` is in people, `overhead` what a running pool
    takes beside its GPUs (hosts, storage, spares). `egress_bytes` of an output token: streamed, each is an event.
    """

    rent_usd: float | None = None
    buy_usd: float | None = None
    discounts: tuple[float, ...] = (0.4, 0.6)  # of a reservation of one to three years [K]
    life_years: float = 4.0
    staff: float = 0.5
    salary_usd: float = 200_000.0
    power_usd_kwh: float = 0.12
    pue: float = 1.3
    rack_usd_kw_month: float = 150.0
    egress_usd_gb: float = 0.05
    egress_bytes: float = 250.0
    overhead: float = 0.0
    utilisation: float = 0.6


class Bill(msgspec.Struct, frozen=True):
    """Dollars an hour of so many GPUs, by what they are spent on."""

    way: Way
    gpus: float
    power: float
    rack: float
    staff: float
    overhead: float

    @property
    def total(self) -> float:
        """Their sum."""
        return self.gpus + self.power + self.rack + self.staff + self.overhead


def bill_of(gpu: Gpu, count: int, way: Way, terms: Terms, discount: float = 0.0) -> Bill:
    """rented n·rent; reserved n·rent·(1 − discount); bought n·(price / life / 8760 + kW·PUE·$/kWh + kW·rack / 730)."""
    rent = gpu.rent_usd if terms.rent_usd is None else terms.rent_usd
    staff = terms.staff * terms.salary_usd / HOURS_A_YEAR
    power = rack = 0.0
    if way == "bought":
        price = gpu.buy_usd if terms.buy_usd is None else terms.buy_usd
        kilowatts = count * gpu.server_watts / 1000
        gpus = count * price / terms.life_years / HOURS_A_YEAR
        power = kilowatts * terms.pue * terms.power_usd_kwh
        rack = kilowatts * terms.rack_usd_kw_month / HOURS_A_MONTH
    else:
        gpus = count * rent * (1 - discount if way == "reserved" else 1)
    return Bill(way, gpus, power, rack, staff, gpus * terms.overhead)


class Hosted(msgspec.Struct, frozen=True):
    """A hosted deployment and its prices, in dollars per million tokens."""

    name: str
    input_usd: float
    cached_usd: float
    output_usd: float

    def blended(self, output_share: float, hit: float = 0.0) -> float:
        """Dollars per million tokens of a mix; `hit` is the share of input that is charged as cached."""
        input_usd = self.input_usd * (1 - hit) + self.cached_usd * hit
        return input_usd * (1 - output_share) + self.output_usd * output_share


def per_million(cost_h: float, tokens_per_s: float, utilisation: float) -> float:
    """cost_h / (3600 · tokens/s · utilisation) · 10⁶."""
    tokens = 3600 * tokens_per_s * utilisation
    return cost_h / tokens * MILLION if tokens > 0 else math.inf


def break_even_utilisation(cost_h: float, tokens_per_s: float, hosted_usd: float) -> float:
    """cost_h / (3600 · tokens/s · hosted / 10⁶): above 1 own GPUs never pay."""
    earned = 3600 * tokens_per_s * hosted_usd / MILLION
    return cost_h / earned if earned > 0 else math.inf


def break_even_tokens_per_day(cost_h: float, hosted_usd: float) -> float:
    """24 · cost_h / hosted · 10⁶."""
    return 24 * cost_h / hosted_usd * MILLION if hosted_usd > 0 else math.inf


class Pool(msgspec.Struct, frozen=True):
    """A pool as its price sees it: dollars an hour of one replica, what it does, how many run and when another starts.

    `prefill` and `decode` are tokens a second of one replica doing nothing else. `marginal_usd` is what a further
    million output tokens cost in power and egress while replicas run anyway.
    """

    replica_usd_h: float
    prefill: float
    decode: float
    replicas: int = 1
    target: float = 0.65
    marginal_usd: float = 0.0


class PoolPrice(msgspec.Struct, frozen=True):
    """Dollars per million tokens: of one more while there is room, and with all that runs shared out.

    `charged` says which of the two is the price now: `marginal` below the target, `full` where a further replica would
    have to start for it.
    """

    marginal_input: float
    marginal_output: float
    full_input: float
    full_output: float
    idle_usd_h: float
    busy: float
    charged: Literal["marginal", "full"]

    @property
    def input_usd(self) -> float:
        """Dollars per million tokens in, now."""
        return self.full_input if self.charged == "full" else self.marginal_input

    @property
    def output_usd(self) -> float:
        """Dollars per million tokens out, now."""
        return self.full_output if self.charged == "full" else self.marginal_output

    def rates(self) -> Rates | None:
        """The price now as the ledger's rates (nano-dollars per million tokens); a cached token takes no prefill.

        None where a pool that has no speed yet has no price.
        """
        if not all(map(math.isfinite, (self.input_usd, self.output_usd))):
            return None
        return Rates(
            fresh_input=round(self.input_usd * NANO_PER_USD),
            cached_input=round(self.marginal_input * NANO_PER_USD),
            output_text=round(self.output_usd * NANO_PER_USD),
        )


def token_price(pool: Pool, load: Load | None = None) -> PoolPrice:
    """Prices a pool's tokens by resource time: a token costs the part of a replica's second that it takes.

    Full: replica_h / (3600 · rate · target) a token, in and out by their own rates. `load` says how busy the pool is;
    without one it is taken to be idle.
    """
    busy = 0.0
    if load is not None and pool.replicas:
        fresh = load.per_second * load.input_tokens * (1 - load.hit)
        busy = (fresh / pool.prefill + load.per_second * load.output_tokens / pool.decode) / pool.replicas
    full_input = per_million(pool.replica_usd_h, pool.prefill, pool.target)
    full_output = per_million(pool.replica_usd_h, pool.decode, pool.target)
    return PoolPrice(
        marginal_input=pool.marginal_usd * pool.decode / pool.prefill if pool.prefill else 0.0,
        marginal_output=pool.marginal_usd,
        full_input=full_input,
        full_output=full_output,
        idle_usd_h=pool.replicas * pool.replica_usd_h * max(0.0, 1 - busy),
        busy=busy,
        charged="full" if busy >= pool.target or not pool.replicas else "marginal",
    )


def marginal_usd(gpu: Gpu, gpus: int, decode: float, way: Way, terms: Terms) -> float:
    """Dollars of a million more output tokens on GPUs that run anyway: egress, and of own ones the power above idle.

    An idle GPU takes about a sixth of its watts [K].
    """
    egress = terms.egress_bytes * MILLION / 1e9 * terms.egress_usd_gb
    if way != "bought" or decode <= 0:
        return egress
    kilowatts = gpus * gpu.watts * 5 / 6 / 1000
    return egress + kilowatts * terms.pue * terms.power_usd_kwh / 3600 / decode * MILLION


class Band(NamedTuple):
    """What people say of a volume, in few words and in a sentence."""

    above: float  # tokens a day
    short: str
    sentence: str


# What people who have done it say (opinion): below the first nobody should, above the last nobody should not look.
BANDS: Final = (
    Band(0, "an API", "use an API: under 1M tokens a day no GPU of your own pays for itself"),
    Band(
        1e6, "an API, mostly", "an API is usually cheaper; own GPUs for other reasons, such as data that may not leave"
    ),
    Band(
        10e6, "look closely", "look at your own figures: from a steady 10M a day on, a small model on one GPU can pay"
    ),
    Band(100e6, "about break-even", "the usual break-even lies here, between 100M and 500M a day"),
    Band(500e6, "own, if kept busy", "own or reserved GPUs usually win, if they are kept busy"),
)


def opinion(tokens_per_day: float) -> Band:
    """Returns the rule of thumb for a volume."""
    return [band for band in BANDS if tokens_per_day >= band.above][-1]


class Volume(msgspec.Struct, frozen=True):
    """A volume a day: replicas and dollars of own GPUs (None where nothing fits), and of a hosted price."""

    tokens_per_day: float
    replicas: int
    own_usd: float
    hosted_usd: float

    @property
    def cheaper(self) -> str:
        """Which costs less."""
        return "own" if self.own_usd < self.hosted_usd else "hosted"


def at_volume(
    tokens_per_day: float,
    replica_usd_h: float,
    staff_usd_h: float,
    tokens_per_s: float,
    utilisation: float,
    hosted: float,
) -> Volume:
    """Whole replicas, staff once: ⌈tokens / (86400 · tokens/s · utilisation)⌉ · 24 · replica_h + 24 · staff_h."""
    replicas = max(1, math.ceil(tokens_per_day / (DAY_S * tokens_per_s * utilisation)))
    own = 24 * (replicas * replica_usd_h + staff_usd_h)
    return Volume(tokens_per_day, replicas, own, tokens_per_day * hosted / MILLION)
