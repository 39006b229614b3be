"""What is known about a log before it is read: its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Remote:
    """One file that a publisher offers.

    Attributes:
        name: What the file is called once it is here.
        address: Where it is downloaded from; None where a login stands before it.
        checksum: ``"sha256:..."`` or ``"md5:..."``; None where none is known: then its size
            and layout are checked, and the hash of the first fetch is remembered and compared
            from then on.
        size: Bytes, None where not known.
    """

    name: str
    address: str | None
    checksum: str | None = None
    size: int | None = None


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
        licence: Under which terms it is published, as far as known.
        citation: How to cite it.
        page: The publisher's page, for a person.
        files: The publisher's files.
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
    page: str
    files: tuple[Remote, ...] = ()
    notes: tuple[str, ...] = field(default=())
    decision_events: tuple[str, ...] = ("purchase",)
    quick: str = "the whole log"

    @property
    def address(self) -> str:
        """Where the download comes from; the publisher's page where it needs a login."""
        addresses = [file.address for file in self.files if file.address]
        return addresses[0] if addresses else self.page

    @property
    def sha256(self) -> str | None:
        """Of the first of the publisher's files, in hex; None where it is not known."""
        checksum = (self.files[0].checksum if self.files else None) or ""
        return checksum.removeprefix("sha256:") if checksum.startswith("sha256:") else None

    @property
    def size(self) -> int | None:
        """Bytes of the publisher's files together; None where it is not known."""
        sizes = [file.size for file in self.files]
        return None if not sizes or None in sizes else sum(sizes)

    @property
    def by_hand(self) -> bool:
        """Whether a person has to download it, because a login stands before it."""
        return bool(self.files) and any(file.address is None for file in self.files)

    def __str__(self) -> str:
        """The card as lines of text, one fact a line."""
        facts = {
            "tasks": ", ".join(self.tasks),
            "clock": self.clock,
            "event": self.event_column,
            "rows": "of the profile's size" if self.rows is None else f"{self.rows:,}",
            "quick profile": self.quick,
            "licence": self.licence,
            "cite": self.citation,
            "page": self.page,
        }
        for file in self.files:
            size = "size unknown" if file.size is None else f"{file.size:,} bytes"
            checksum = file.checksum or "no checksum known: the first fetch is remembered"
            source = file.address or "by hand, behind a login"
            facts[f"file {file.name}"] = f"{source} ({size}; {checksum})"
        width = max(len(key) for key in (*facts, *self.columns)) + 2
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {key:<{width}}{value}" for key, value in facts.items()]
        lines += ["  columns"] * bool(self.columns)
        lines += [f"    {key:<{width - 2}}{value}" for key, value in self.columns.items()]
        lines += ["  notes"] * bool(self.notes)
        lines += [f"    - {note}" for note in self.notes]
        return "\n".join(lines)
