"""The config as written: its models, its loader, its reference, and the watch over its file."""

from gateway.config.load import Loaded, load, read
from gateway.config.models import Config
from gateway.config.providers import Kind
from gateway.config.secret import Secret
from gateway.config.watch import watch

__all__ = ["Config", "Kind", "Loaded", "Secret", "load", "read", "watch"]
