"""Other gateways' configs -> ours, and an account of what became of each of their values. Pure: text in, text out."""

from gateway.importing.litellm import House, Imported, import_litellm
from gateway.importing.report import Line, Report, Variable, Verdict

__all__ = ["House", "Imported", "Line", "Report", "Variable", "Verdict", "import_litellm"]
