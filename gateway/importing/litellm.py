"""LiteLLM's proxy config -> ours: the order in which its parts are taken over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.config.document import parse
from gateway.importing.draft import Draft
from gateway.importing.given import Book
from gateway.importing.layout import text_of
from gateway.importing.models import House, Models
from gateway.importing.report import Report, report_of
from gateway.importing.routes import Routes
from gateway.importing.settings import Settings, timeouts_of
from gateway.importing.variables import Variables

# What a call to a model is charged at whose price nobody knows: above most list prices, so that it is seen.
_CEILING: Final = {"input": "5.00", "output": "25.00"}

__all__ = ["House", "Imported", "import_litellm"]


class Imported(msgspec.Struct, frozen=True):
    """The made config, the account of it, and what a dry run puts where a variable is not set."""

    text: str
    report: Report
    stand_ins: Mapping[str, str]


def import_litellm(text: str, name: str, house: House) -> Imported:
    """Makes a config of LiteLLM's; `name` is how the report calls its file. Raises ConfigError where it is no YAML.

    The same text makes the same config, byte for byte.
    """
    book = Book(parse(text, name))
    root, draft = book.root, Draft()
    variables = Variables(root)
    models = Models(root, draft, variables, house, timeouts_of(root))
    listed = root.get("model_list")
    if listed is not None:
        models.take(listed.items())
    Routes(root, models, draft).take()
    settings = Settings(root, draft, variables)
    settings.take()
    settings.explain()
    if draft.unpriced:
        draft.unknown_price = dict(_CEILING)
        draft.to_do.append(f"write the price of {', '.join(draft.unpriced)}: until then `unknown_price` is charged")
    if not draft.deployments:
        draft.to_do.append("no model could be taken over: the config serves nothing yet")
    lines = book.close()
    ordered = [variables.read[key] for key in sorted(variables.read)]
    report = report_of(name, lines, ordered, draft.to_do)
    return Imported(text_of(draft, name, report.unsupported), report, variables.stand_ins)
