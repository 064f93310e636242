"""Launches the replicas of vLLM that a config asks for, and keeps them as it says."""

from gateway.pool.supervisor.gpus import Gpus
from gateway.pool.supervisor.spec import Deadlines, Spec
from gateway.pool.supervisor.state import Taken
from gateway.pool.supervisor.supervisor import Refused, Supervisor
from gateway.pool.supervisor.surroundings import Ask, Pace, Question, Surroundings

__all__ = [
    "Ask",
    "Deadlines",
    "Gpus",
    "Pace",
    "Question",
    "Refused",
    "Spec",
    "Supervisor",
    "Surroundings",
    "Taken",
]
