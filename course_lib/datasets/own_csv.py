"""Your own log: from CSV or Parquet to a log that every lesson can read.

`import_log` reads the file once, in memory that does not grow with one long line, guesses what it
was not told, and says every guess in its report. A row is kept or quarantined with its line number
and the reason; nothing is written before the whole file has been read, and then all at once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from course_lib.datasets.cards import Card
from course_lib.datasets.own_columns import (
    decide_ids,
    parse_events,
    parse_prices,
    parse_times,
    trimmed,
)
from course_lib.datasets.own_rows import read_rows
from course_lib.errors import CourseError
from course_lib.events import attach_attrs
from course_lib.folders import own_folder

if TYPE_CHECKING:
    from course_lib.datasets.own_rows import Rows

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
NEEDED = ("user", "time", "item")
# role: the column of the log it becomes, and names by which shops call it, likeliest first
ROLES: dict[str, tuple[str, str]] = {
    "user": (
        "user_id",
        "user_id userid user visitor_id visitorid visitor customer_id customerid customer "
        "client_id client member_id uid account_id",
    ),
    "time": (
        "timestamp",
        "timestamp event_time datetime time ts created_at date_time date event_timestamp "
        "server_time occurred_at invoicedate event_date",
    ),
    "item": (
        "item_id",
        "item_id itemid item product_id productid product sku article_id stockcode asin sku_id "
        "content_id",
    ),
    "event": (
        "event",
        "event event_type eventtype event_name action behavior behaviour behavior_type "
        "action_type activity",
    ),
    "session": (
        "session_id",
        "session_id sessionid session user_session visit_id visitid visit",
    ),
    "category": (
        "category_id",
        "category_id categoryid category category_code cat department",
    ),
    "price": ("price", "price unit_price unitprice item_price product_price"),
}


@dataclass(frozen=True)
class ImportReport:
    """What became of every row of an imported file; ``read == kept + quarantined``.

    Attributes:
        name: What `course_lib.datasets.load` calls the log from now on.
        source: The file's name.
        read: Rows after the header, blank and broken ones too.
        kept: Rows in the log.
        quarantined: Rows set aside.
        reasons: Quarantined rows by reason.
        repaired: Kept rows with a value that could not be read and is missing now, by column.
        extra_lines: Lines that continue the row before them (a quoted value with line breaks).
        columns: The file's column for each role (user, time, item, ...).
        guesses: What was not said and therefore guessed, a sentence each.
        events: Kept rows by event.
        tasks: What the log can serve.
        clock: What its times mean, a key of `course_lib.events.CLOCKS`.
        first: Time of the first kept event, ISO 8601, UTC.
        last: Time of the last.
        folder: Where the log, its quarantine and this report lie.
    """

    name: str
    source: str
    read: int
    kept: int
    quarantined: int
    reasons: dict[str, int]
    repaired: dict[str, int]
    extra_lines: int
    columns: dict[str, str]
    guesses: tuple[str, ...]
    events: dict[str, int]
    tasks: tuple[str, ...]
    clock: str
    first: str
    last: str
    folder: str

    def table(self) -> pd.DataFrame:
        """One row a kind of row: what became of it, why, and how many."""
        rows = [("kept", "", self.kept)]
        rows += [("quarantined", reason, count) for reason, count in self.reasons.items()]
        rows += [
            ("kept, value now missing", f"{column} could not be read", count)
            for column, count in self.repaired.items()
        ]
        return pd.DataFrame(rows, columns=["became", "why", "rows"])

    def __str__(self) -> str:
        """The report as lines of text for a person."""
        lines = [
            f"{self.source} -> {self.name!r}: read {self.read:,} rows = {self.kept:,} kept + "
            f"{self.quarantined:,} quarantined"
        ]
        lines += [f"  quarantined {count:,}: {why}" for why, count in self.reasons.items()]
        lines += [
            f"  repaired {count:,}: {column} could not be read and is missing now"
            for column, count in self.repaired.items()
        ]
        lines += [f"  {role}: column {column!r}" for role, column in self.columns.items()]
        lines += [f"  guessed: {guess}" for guess in self.guesses]
        counts = ", ".join(f"{name} {count:,}" for name, count in self.events.items())
        lines += [
            f"  events: {counts}",
            f"  from {self.first} to {self.last} (UTC)",
            f"  serves: {', '.join(self.tasks) or 'no task, only lessons that need none'}",
            f"  stored in {self.folder}",
        ]
        return "\n".join(lines)


def import_log(
    path: str | os.PathLike,
    *,
    name: str | None = None,
    user: str | None = None,
    time: str | None = None,
    item: str | None = None,
    event: str | None = None,
    session: str | None = None,
    category: str | None = None,
    price: str | None = None,
    map_event: Mapping[str, str] | None = None,
    sep: str | None = None,
    encoding: str | None = None,
    out: str | os.PathLike | None = None,
) -> ImportReport:
    """Read your own log and store it so that `course_lib.datasets.load` knows it.

    Args:
        path: A CSV file (gzipped or not) with a header, or a Parquet file.
        name: What to call the log: small letters, digits, ``-`` and ``_``; by default the file's
            own name.
        user: Column of who acted; like all columns not given, guessed from common names.
        time: Column of when: unix seconds to nanoseconds, or a written date and time.
        item: Column of the item.
        event: Column of what happened; a log without one has views only.
        session: Column of the shop's own session.
        category: Column of the item's category.
        price: Column of the price.
        map_event: What the file calls an event to what the course calls it, e.g.
            ``{"buy": "purchase"}``.
        sep: What separates the columns; guessed by default.
        encoding: Of the text; by default UTF-8, or what a byte order mark says.
        out: Folder to store it in; by default ``datasets`` in `own_folder`.

    Returns:
        The report; it is stored beside the log as well.

    Raises:
        CourseError: If the file, or what was said of it, is unusable; nothing is written then.
    """
    source = Path(path).expanduser()
    called = _checked_name(name, source)
    asked = {
        "user": user,
        "time": time,
        "item": item,
        "event": event,
        "session": session,
        "category": category,
        "price": price,
    }
    rows = read_rows(source, sep, encoding)
    columns, guesses = _match_columns(rows, asked)
    guesses = [*rows.guesses, *guesses]
    log, quarantine, repaired, clock = _to_log(rows, columns, dict(map_event or {}), guesses)
    if log.empty:
        raise CourseError(
            f"None of the {rows.read:,} rows of {source.name} can be kept "
            f"({quarantine['reason'].value_counts().index[0]}), so nothing was imported."
        )
    folder = (own_folder() / "datasets" if out is None else Path(out).expanduser()) / called
    report = ImportReport(
        name=called,
        source=source.name,
        read=rows.read,
        kept=len(log),
        quarantined=len(quarantine),
        reasons=quarantine["reason"].value_counts().sort_index().to_dict(),
        repaired=repaired,
        extra_lines=rows.extra_lines,
        columns=columns,
        guesses=tuple(guesses),
        events=log["event"].value_counts().to_dict(),
        tasks=_tasks(log),
        clock=clock,
        first=log["timestamp"].min().isoformat(),
        last=log["timestamp"].max().isoformat(),
        folder=str(folder),
    )
    _store(folder, log, quarantine, report)
    if out is not None:
        _point_to(called, folder)
    return report


def names() -> list[str]:
    """The logs imported here, sorted."""
    folder = own_folder() / "datasets"
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if _folder(entry.name) is not None)


def report(name: str) -> ImportReport:
    """The report of an imported log.

    Raises:
        CourseError: If it is not here or cannot be read.
    """
    folder = _folder(name)
    try:
        facts = json.loads((Path(folder or "") / "report.json").read_text(encoding="utf-8"))
        facts |= {key: tuple(facts[key]) for key in ("guesses", "tasks")}
        return ImportReport(**facts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CourseError(
            f"The imported log {name!r} in {own_folder() / 'datasets'} is damaged; import it again."
        ) from error


def card(name: str) -> Card:
    """The card of an imported log.

    Raises:
        CourseError: If it is not here or cannot be read.
    """
    facts = report(name)
    return Card(
        name=name,
        title=f"your own log, imported from {facts.source}",
        tasks=facts.tasks,
        clock=facts.clock,
        event_column="event",
        columns={ROLES[role][0]: f"column {column}" for role, column in facts.columns.items()},
        rows=facts.kept,
        licence="yours",
        citation="yours",
        page=facts.folder,
        notes=facts.guesses,
    )


def load(name: str) -> pd.DataFrame:
    """The raw log of an imported dataset; see `course_lib.datasets.load`.

    Raises:
        CourseError: If it is not here or cannot be read.
    """
    facts = report(name)
    try:
        log = pd.read_parquet(Path(_folder(name) or "") / "log.parquet")
    except (OSError, ValueError) as error:
        raise CourseError(
            f"The imported log {name!r} in {own_folder() / 'datasets'} is damaged; import it again."
        ) from error
    log.attrs = {}
    attach_attrs(log, dataset=name, tasks=facts.tasks, clock=facts.clock)
    log.attrs["decision_events"] = ["purchase"]
    return log


def quarantine(name: str) -> pd.DataFrame:
    """The rows set aside at import: ``line`` in the file, ``reason``, ``text``."""
    return pd.read_parquet(Path(_folder(name) or "") / "quarantine.parquet")


def _checked_name(name: str | None, source: Path) -> str:
    from course_lib.datasets import BUILT_IN

    if name is None:
        stem = source.name.lower().removesuffix(".gz").rpartition(".")[0] or source.name.lower()
        name = re.sub(r"[^a-z0-9_-]+", "_", stem).strip("_-")[:40]
        name = name if NAME.fullmatch(name) else f"log_{name}"[:40]
    if not NAME.fullmatch(name):
        raise CourseError(
            f"{name!r} cannot name a log: use up to 40 small letters, digits, - and _, a letter "
            "first."
        )
    if name in BUILT_IN:
        raise CourseError(f"{name!r} is the name of a built-in log; give yours another name.")
    return name


def _match_columns(rows: Rows, asked: dict[str, str | None]) -> tuple[dict[str, str], list[str]]:
    """The file's column for each role, and a sentence for each that was guessed."""
    columns: dict[str, str] = {}
    guesses: list[str] = []
    simple = {re.sub(r"[\s.-]+", "_", name.strip().lower()): name for name in rows.header}
    for role, wanted in asked.items():
        if wanted is None:
            continue
        if wanted not in rows.header:
            raise _no_column(rows, role, wanted)
        if rows.header.count(wanted) > 1:
            raise _repeated(rows, wanted)
        other = next((one for one, name in columns.items() if name == wanted), None)
        if other is not None:
            raise CourseError(
                f"Column {wanted!r} of {rows.source} cannot be both the {other} and the {role}; "
                "name two columns."
            )
        columns[role] = wanted
    for role, wanted in asked.items():
        if wanted is not None:
            continue
        free = {key: name for key, name in simple.items() if name not in columns.values()}
        known = next((free[name] for name in ROLES[role][1].split() if name in free), None)
        if known is not None and rows.header.count(known) > 1:
            if role in NEEDED:
                raise _repeated(rows, known)
        elif known is not None:
            columns[role] = known
            guesses.append(f"column {known!r} is the {role}")
    for role in NEEDED:
        if role not in columns:
            raise _no_column(rows, role, None)
    return {role: columns[role] for role in ROLES if role in columns}, guesses


def _repeated(rows: Rows, name: str) -> CourseError:
    count = rows.header.count(name)
    return CourseError(f"{rows.source} has {count} columns called {name!r}; rename all but one.")


def _no_column(rows: Rows, role: str, wanted: str | None) -> CourseError:
    if rows.looks_headless:
        return CourseError(
            f"{rows.source} has no header: its first line is {rows.first_line[:60]!r}; put a line "
            "of column names above it."
        )
    if rows.other_separator:
        return CourseError(
            f"{rows.source} is not separated by {rows.separator!r}: its first line is "
            f"{rows.first_line[:60]!r}; say --sep {rows.other_separator!r}."
        )
    shown = ", ".join(repr(name) for name in rows.header[:12])
    if wanted is None:
        return CourseError(
            f"Which column of {rows.source} is the {role}? None has a usual name for it; say "
            f"--{role} NAME, one of {shown}."
        )
    near = get_close_matches(wanted, rows.header, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"its columns are {shown}."
    return CourseError(f"{rows.source} has no column {wanted!r} for the {role}: {hint}")


def _to_log(
    rows: Rows, columns: dict[str, str], map_event: dict[str, str], guesses: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int], str]:
    """Columns parsed, rows parted into log and quarantine; also repairs and the clock."""
    table = rows.table
    reason = pd.Series("", index=table.index, dtype="str")

    def set_aside(bad: pd.Series | np.ndarray, why: str) -> None:
        reason[np.asarray(bad, dtype="bool") & (reason == "").to_numpy()] = why

    user = trimmed(table[columns["user"]])
    item = trimmed(table[columns["item"]])
    stamp, said, clock = parse_times(table[columns["time"]], columns["time"], rows.source)
    guesses += said
    set_aside(user.isna(), f"no {columns['user']}")
    set_aside(trimmed(table[columns["time"]]).isna(), f"no {columns['time']}")
    set_aside(stamp.isna(), f"{columns['time']} is no time")
    if "event" in columns:
        event, said = parse_events(
            table[columns["event"]], columns["event"], map_event, rows.source
        )
        set_aside(event.isna(), f"no {columns['event']}")
    else:
        if map_event:
            raise CourseError(
                f"{rows.source} has no column of events, so there is nothing to map; say "
                "--event NAME."
            )
        event = pd.Series("view", index=table.index, dtype="str")
        said = ["there is no column of events, so every row is a view"]
        set_aside(item.isna(), f"no {columns['item']}")
    guesses += said
    log = pd.DataFrame({"user_id": user, "timestamp": stamp, "event": event, "item_id": item})
    repaired: dict[str, int] = {}
    if "session" in columns:
        log.insert(1, "session_id", trimmed(table[columns["session"]]))
    if "category" in columns:
        log["category_id"] = trimmed(table[columns["category"]])
    if "price" in columns:
        log["price"], said, lost = parse_prices(table[columns["price"]], columns["price"])
        guesses += said
    taken = set(columns.values())
    for position, other in enumerate(rows.header):
        if other not in taken and rows.header.index(other) == position:
            reserved = other in log.columns or other == "visit_id"  # this would mean copies
            free = f"{other}_in_file" if reserved else other
            log[free] = table[other]
    keep = (reason == "").to_numpy()
    if "price" in columns and (unread := int((lost & keep).sum())):
        repaired[columns["price"]] = unread
    log = log[keep].reset_index(drop=True)
    for name in ("user_id", "session_id", "item_id", "category_id"):
        if name in log:
            log[name] = decide_ids(log[name])
    for name in ("event", "item_id", "category_id"):
        if name in log:
            log[name] = log[name].astype("category")
    aside = pd.DataFrame(
        {"line": rows.line[~keep], "reason": reason[~keep], "text": rows.text_of(~keep)}
    )
    aside = pd.concat([aside, rows.broken], ignore_index=True)
    aside = aside.astype({"line": "int64", "reason": "str", "text": "str"})
    return log, aside.sort_values("line", ignore_index=True), repaired, clock


def _tasks(log: pd.DataFrame) -> tuple[str, ...]:
    several = len(log["event"].cat.categories) > 1
    tasks = {
        "next_event": several,
        "purchase_intent": several and bool((log["event"] == "purchase").any()),
        "next_item": len(log["item_id"].cat.categories) > 1,
    }
    return tuple(task for task, served in tasks.items() if served)


def _folder(name: str) -> Path | None:
    folder = own_folder() / "datasets" / name
    pointer = folder / "elsewhere.txt"
    if pointer.is_file():
        folder = Path(pointer.read_text(encoding="utf-8").strip())
    return folder if (folder / "report.json").is_file() else None


def _store(folder: Path, log: pd.DataFrame, quarantine: pd.DataFrame, report: ImportReport) -> None:
    """Write log, quarantine and report beside `folder`, then put them in its place at once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not ((folder / "report.json").exists() or _points(folder)):
            raise CourseError(
                f"{folder} is there already and holds no imported log; choose another name or "
                "folder."
            )
        new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise CourseError(f"{folder} cannot be written ({error.strerror}).") from error
    try:
        new.chmod(0o755)
        log.to_parquet(new / "log.parquet")
        quarantine.to_parquet(new / "quarantine.parquet")
        (new / "report.txt").write_text(f"{report}\n", encoding="utf-8")
        facts = json.dumps(asdict(report), indent=1, ensure_ascii=False)
        (new / "report.json").write_text(facts, encoding="utf-8")
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            os.replace(folder, old)
            os.replace(new, folder)
            shutil.rmtree(old)
        else:
            os.replace(new, folder)
    except OSError as error:
        raise CourseError(f"{folder} cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _points(folder: Path) -> bool:
    return (folder / "elsewhere.txt").is_file()


def _point_to(name: str, folder: Path) -> None:
    """Make `names` know a log that is stored elsewhere."""
    here = own_folder() / "datasets" / name
    if here.resolve() == folder.resolve():
        return
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir(parents=True)
    (here / "elsewhere.txt").write_text(f"{folder.resolve()}\n", encoding="utf-8")
