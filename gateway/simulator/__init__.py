"""A provider on a real socket that needs no model: it speaks OpenAI, Anthropic and vLLM, and misbehaves on command."""

from gateway.simulator.connection import Seen
from gateway.simulator.faults import KINDS, Fault
from gateway.simulator.server import Simulator, serve

__all__ = ["KINDS", "Fault", "Seen", "Simulator", "serve"]
