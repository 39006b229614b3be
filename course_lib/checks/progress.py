"""What a learner has passed and which hints were given, in one small local file.

The file is ``.course/progress.json`` in the course's folder, or what the environment
variable ``COURSE_PROGRESS`` names (``off``: none). Nothing is written while the solutions
are executed, while tests run or while nbgrader grades: those are not the learner's tries.
"""

from __future__ import annotations

import html
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.checks.core import STUMBLED, UNKNOWN, Report, as_html, exercises, find
from course_lib.errors import CourseError
from course_lib.folders import course_folder

_VERSION = 1
_unsaved_hints: dict[str, int] = {}


def progress_file() -> Path | None:
    """Return where progress is kept, or None where none is kept."""
    named = os.environ.get("COURSE_PROGRESS")
    if named:
        return None if named.lower() == "off" else Path(named).expanduser()
    graded_or_tested = "NBGRADER_EXECUTION" in os.environ or "PYTEST_CURRENT_TEST" in os.environ
    if graded_or_tested or Path.cwd().name == "solutions":
        return None
    return course_folder() / ".course" / "progress.json"


def read_progress() -> dict[str, dict[str, Any]]:
    """Return, by exercise, ``tries``, ``passed`` and ``hints``; a torn file is set aside."""
    file = progress_file()
    if file is None or not file.is_file():
        return {}
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))["exercises"]
        return {
            str(name): {
                "tries": int(entry.get("tries", 0)),
                "passed": bool(entry.get("passed", False)),
                "hints": int(entry.get("hints", 0)),
            }
            for name, entry in entries.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        with suppress(OSError):
            os.replace(file, file.with_suffix(".broken.json"))
        return {}


def record(report: Report) -> None:
    """Count a try; a passed exercise stays passed until it is reset.

    Args:
        report: What the check found. Reports on unknown exercises are not counted.
    """
    if report.status in (UNKNOWN, STUMBLED):
        return
    _change(report.exercise, tries=1, passed=report.passed)


def forget(exercise_id: str) -> None:
    """Start an exercise over: no tries, no hints, not passed."""
    _unsaved_hints.pop(exercise_id, None)
    entries = read_progress()
    if entries.pop(exercise_id, None) is not None:
        _write(entries)


def _change(exercise_id: str, *, tries: int = 0, passed: bool = False, hints: int = 0) -> bool:
    """Change an exercise's entry and return whether it was saved."""
    entries = read_progress()
    entry = entries.setdefault(exercise_id, {"tries": 0, "passed": False, "hints": 0})
    entry["tries"] += tries
    entry["passed"] |= passed
    entry["hints"] += hints
    return _write(entries)


def _write(entries: dict[str, dict[str, Any]]) -> bool:
    """Write the file and return whether that worked: without it only progress is lost."""
    file = progress_file()
    if file is None:
        return False
    text = json.dumps({"version": _VERSION, "exercises": dict(sorted(entries.items()))}, indent=1)
    try:
        write_in_one_step(file, text + "\n")
    except OSError:
        return False
    return True


def write_in_one_step(file: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new text, never a part.

    Args:
        file: Where; its folder is made.
        text: What.

    Raises:
        OSError: If the place cannot be written to.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        if file.exists():
            os.chmod(temporary, file.stat().st_mode)
        else:
            os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@dataclass(frozen=True)
class Text:
    """A sentence that Jupyter shows without quotes."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return (
            "<div style='border-left:4px solid #607d8b;padding:.3em .8em'>"
            f"{as_html(self.text)}</div>"
        )


def hint(exercise_id: object) -> Text:
    """Return the next hint of an exercise; after the last one, the last one again.

    Args:
        exercise_id: ``"02.1"``.
    """
    try:
        task = find(exercise_id)
    except CourseError as error:
        return Text(str(error))
    given = max(read_progress().get(task.id, {}).get("hints", 0), _unsaved_hints.get(task.id, 0))
    number = min(given + 1, len(task.hints))
    if given < len(task.hints) and not _change(task.id, hints=1):
        _unsaved_hints[task.id] = number
    return Text(f"Hint {number} of {len(task.hints)}: {task.hints[number - 1]}")


@dataclass(frozen=True)
class Standing:
    """How one exercise stands."""

    exercise: str
    title: str
    passed: bool
    tries: int
    hints: int


@dataclass(frozen=True)
class Progress:
    """How all exercises stand; its text is what ``course progress`` prints."""

    standings: tuple[Standing, ...]
    file: Path | None

    @property
    def passed(self) -> int:
        """How many are passed."""
        return sum(one.passed for one in self.standings)

    def __str__(self) -> str:
        lines = [f"{self.passed} of {len(self.standings)} exercises passed"]
        for lesson in sorted({one.exercise[:2] for one in self.standings}):
            inside = [one for one in self.standings if one.exercise[:2] == lesson]
            lines.append(f"Lesson {lesson}: {sum(one.passed for one in inside)} of {len(inside)}")
            lines += [f"  {one.exercise}  {self._state(one):<7} {one.title}" for one in inside]
        return "\n".join(lines)

    __repr__ = __str__

    @staticmethod
    def _state(one: Standing) -> str:
        if one.passed:
            return "passed"
        return "tried" if one.tries else "open"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{one.exercise}</td><td style='text-align:left'>{html.escape(one.title)}"
            f"</td><td style='text-align:left'>{self._state(one)}</td><td>{one.tries}</td>"
            f"<td>{one.hints}</td></tr>"
            for one in self.standings
        )
        return (
            f"<b>{self.passed} of {len(self.standings)} exercises passed</b><table><tr>"
            "<th>exercise</th><th style='text-align:left'>title</th>"
            "<th style='text-align:left'>state</th><th>tries</th><th>hints</th></tr>"
            f"{rows}</table>"
        )


def progress() -> Progress:
    """Return how every exercise of the course stands."""
    entries = read_progress()
    nothing = {"passed": False, "tries": 0, "hints": 0}
    return Progress(
        tuple(
            Standing(task.id, task.title, **entries.get(task.id, nothing))
            for task in exercises().values()
        ),
        progress_file(),
    )
