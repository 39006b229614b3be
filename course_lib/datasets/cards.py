"""What is known about a log before it is read: its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Card:
    """The facts about one log.

    Attributes:
        name: What `load` calls it.
        title: One line for a person.
        tasks: Which of `course_lib.events.TASKS` it can serve.
        clock: What its timestamps mean, a key of `course_lib.events.CLOCKS`.
        event_column: The column that plays the event in `next_event`.
        columns: Each column of the raw log and what it holds.
        rows: Rows of the published log, None where it depends on what you ask for.
        licence: Under which terms it is published.
        citation: How to cite it.
        address: Where the download comes from, or the page to fetch it from by hand.
        sha256: Of the file at `address`, in hex, None where it is not known.
        size: Bytes of the file at `address`, None where it is not known.
        notes: What to know before using it.
        decision_events: The events that settle a visit: purchase intent looks before the first.
        quick: What the quick profile reads where it is not the whole log.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    clock: str
    event_column: str
    columns: Mapping[str, str]
    rows: int | None
    licence: str
    citation: str
    address: str
    sha256: str | None = None
    size: int | None = None
    notes: tuple[str, ...] = field(default=())
    decision_events: tuple[str, ...] = ("purchase",)
    quick: str = "the whole log"

    def __str__(self) -> str:
        """The card as lines of text, one fact a line."""
        rows = "as many as asked for" if self.rows is None else f"{self.rows:,}"
        checksum = self.sha256 or "none published"
        facts = {
            "tasks": ", ".join(self.tasks),
            "clock": self.clock,
            "event": self.event_column,
            "rows": rows,
            "quick profile": self.quick,
            "licence": self.licence,
            "cite": self.citation,
            "address": self.address,
            "size": "unknown" if self.size is None else f"{self.size:,} bytes",
            "sha256": checksum,
        }
        width = max(len(key) for key in (*facts, *self.columns)) + 2
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {key:<{width}}{value}" for key, value in facts.items()]
        lines += ["  columns"]
        lines += [f"    {key:<{width - 2}}{value}" for key, value in self.columns.items()]
        lines += ["  notes"] * bool(self.notes)
        lines += [f"    - {note}" for note in self.notes]
        return "\n".join(lines)
