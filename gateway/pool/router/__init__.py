"""Which replica of a pool a call goes to: by what its cache holds, by what it has to read, by how full it is."""

from gateway.pool.router.baselines import LeastLoaded, RoundRobin
from gateway.pool.router.pools import Pools, Routed
from gateway.pool.router.prefix import PrefixRouter, Ticket, Weights
from gateway.pool.router.prompts import Prompt, prompt_of
from gateway.pool.router.replicas import Gauges, Replica

__all__ = [
    "Gauges",
    "LeastLoaded",
    "Pools",
    "PrefixRouter",
    "Prompt",
    "Replica",
    "RoundRobin",
    "Routed",
    "Ticket",
    "Weights",
    "prompt_of",
]
