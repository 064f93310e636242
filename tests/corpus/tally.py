"""Counts what was proved of which line, for the closing lines of a test run."""

from __future__ import annotations

from collections import Counter

SKIPS_MAX = 0.03  # of the lines whose provider Headgate lists


class Tally:
    """Which lines of the corpus were covered, passed or skipped, and in how many ways their answers were read."""

    def __init__(self) -> None:
        self.lines = 0
        self.covered: dict[str, set[str]] = {}  # line -> dialects
        self.passed: set[str] = set()
        self.skipped: dict[str, str] = {}  # line -> why
        self.pending: dict[str, str] = {}  # what is not built yet -> why
        self.unlisted: dict[str, str] = {}  # line -> its provider
        self.apart: dict[str, str] = {}  # lines that are no answer to a call -> what they are
        self.done: Counter[str] = Counter()  # what was done, and how often
        self.refused: Counter[tuple[str, ...]] = Counter()  # dialect, kind and field of requests that were refused

    def cover(self, line: str, dialect: str) -> None:
        self.covered.setdefault(line, set()).add(dialect)

    def skip(self, line: str, why: str) -> None:
        self.skipped[line] = why

    @property
    def share(self) -> float:
        """The share of listed lines that were skipped."""
        return len(self.skipped) / max(1, len(self.skipped) + len(self.covered))

    def told(self) -> list[str]:
        """Returns the closing lines; none where no line of the corpus was read."""
        if not self.done:
            return []
        dialects = Counter(dialect for ways in self.covered.values() for dialect in ways)
        lines = [
            f"lines: {len(self.covered)} covered, {len(self.passed)} passed, {len(self.skipped)} skipped "
            f"({self.share:.1%} of those whose provider is listed), {len(self.unlisted)} of providers that are not, "
            + ", ".join(f"{count} {what}" for what, count in Counter(self.apart.values()).items()),
            "in the dialects: " + ", ".join(f"{name} {count}" for name, count in sorted(dialects.items())),
            ", ".join(f"{name} {count:,}" for name, count in self.done.items()),
        ]
        for why, count in Counter(self.skipped.values()).most_common():
            names = sorted(line for line, reason in self.skipped.items() if reason == why)
            lines.append(f"skipped {count}: {why} ({', '.join(names[:4])}{', …' if count > 4 else ''})")
        if self.refused:
            lines.append("requests refused, by dialect, kind and field:")
            lines += [f"  {' '.join(what)} {count}" for what, count in self.refused.most_common()]
        lines += [f"PENDING: {what}: {why}" for what, why in sorted(self.pending.items())]
        return lines
