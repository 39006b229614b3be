"""Where the lessons are, what they say about themselves and which logs can serve them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.errors import CourseError, unknown_name

FOLDERS = ("notebooks", "solutions", "exercises")
_FILE_NAME = re.compile(r"^(\d\d)_[a-z0-9_]+\.ipynb$")


@dataclass(frozen=True)
class Needs:
    """What a lesson asks of a log.

    Attributes:
        tasks: The log must serve at least one of these (empty: no task is needed).
        columns: The log must have all of these.
        clock: ``"dates"``, ``"gaps"`` or ``"hours"`` (see `events.require_clock`), or None.
    """

    tasks: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    clock: str | None = None

    def __str__(self) -> str:
        parts = [" or ".join(self.tasks)] if self.tasks else []
        parts += list(self.columns)
        if self.clock:
            parts.append(self.clock)
        return ", ".join(parts) or "any log"


@dataclass(frozen=True)
class Lesson:
    """One lesson's notebook and what its metadata say."""

    number: str
    name: str
    path: Path
    title: str
    question: str = ""
    minutes: float = 0
    needs: Needs = field(default_factory=Needs)
    code_cells: int = 0


def lesson_files(root: Path, folder: str = "notebooks") -> list[Path]:
    """Return the lesson notebooks of a folder, ``NN_name.ipynb``, in order."""
    return sorted(path for path in (root / folder).glob("*.ipynb") if _FILE_NAME.match(path.name))


def read_lesson(path: Path) -> Lesson:
    """Read a lesson's metadata.

    Raises:
        CourseError: If the file is no notebook.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        course = notebook["metadata"].get("course", {})
        cells = notebook["cells"]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CourseError(
            f"{path.name} in {path.parent.name}/ is not a readable notebook ({error}); restore it."
        ) from error
    needs = course.get("needs") or {}
    return Lesson(
        number=str(course.get("lesson") or path.name[:2]),
        name=path.stem,
        path=path,
        title=course.get("title") or path.stem[3:].replace("_", " ").capitalize(),
        question=course.get("question", ""),
        minutes=course.get("minutes", 0),
        needs=Needs(
            tuple(needs.get("tasks") or ()), tuple(needs.get("columns") or ()), needs.get("clock")
        ),
        code_cells=sum(
            cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) for cell in cells
        ),
    )


def all_lessons(root: Path) -> list[Lesson]:
    """Return every lesson of the course, in order.

    Raises:
        CourseError: If there is none.
    """
    lessons = [read_lesson(path) for path in lesson_files(root)]
    if not lessons:
        raise CourseError(f"There are no lessons in {root / 'notebooks'}; restore the folder.")
    return lessons


def pick_lessons(root: Path, names: Iterable[str]) -> list[Lesson]:
    """Return the lessons called `names`, each a number (``5``, ``05``) or a file name.

    Raises:
        CourseError: Naming the nearest lesson if one is unknown.
    """
    lessons = all_lessons(root)
    by_name = {lesson.number: lesson for lesson in lessons}
    by_name |= {lesson.name: lesson for lesson in lessons}
    picked: list[Lesson] = []
    for name in names:
        key = Path(name).name.removesuffix(".ipynb")
        key = key.zfill(2) if key.isdigit() else key
        if key not in by_name:
            known = [lesson.number for lesson in lessons] if key.isdigit() else by_name
            raise unknown_name("lesson", name, known)
        if by_name[key] not in picked:
            picked.append(by_name[key])
    return picked


def shortfall(lesson: Lesson, dataset: str, task: object = None) -> str | None:
    """Say what a log lacks for a lesson, or None if it can serve it.

    Args:
        lesson: The lesson.
        dataset: A dataset's name, as `datasets.card` knows it.
        task: The value of the run's ``task`` parameter, where the lesson has one; a name
            out of `events.TASKS` must be among the log's tasks.

    Raises:
        CourseError: If the dataset is unknown.
    """
    import pandas as pd

    from course_lib import datasets, events

    card = datasets.card(dataset)
    wanted = (task,) if task in events.TASKS else lesson.needs.tasks
    if wanted and not set(wanted) & set(card.tasks):
        return " or ".join(wanted)
    # ShopWorld's card names no columns: it records everything there is.
    absent = [column for column in lesson.needs.columns if column not in card.columns]
    if absent and card.columns:
        return f"column {', '.join(absent)}"
    if lesson.needs.clock:
        stand_in = pd.DataFrame()
        stand_in.attrs.update(dataset=card.name, clock=card.clock)
        try:
            events.require_clock(stand_in, lesson.needs.clock, lesson.name)
        except CourseError:
            return lesson.needs.clock
    return None


def require_served(lesson: Lesson, dataset: str, task: object = None) -> None:
    """Refuse a log that cannot serve a lesson, naming what is missing and which logs have it.

    Raises:
        CourseError: If it cannot, or the dataset is unknown.
    """
    missing = shortfall(lesson, dataset, task)
    if missing is None:
        return
    from course_lib import datasets

    able = [name for name in datasets.names() if shortfall(lesson, name, task) is None]
    raise CourseError(
        f"Log {dataset!r} cannot serve lesson {lesson.number}: it has no {missing}; "
        f"logs that have it: {', '.join(able) or 'none'}."
    )
