"""Where the course and the learner's own things lie, from whichever folder one asks."""

from __future__ import annotations

import os
from pathlib import Path

from course_lib.errors import CourseError


def course_folder(required: bool = False) -> Path:
    """Return the course's folder: where its ``notebooks`` and ``exercises`` are.

    It is the folder that ``COURSE_ROOT`` names, if it names one. Else it is the working folder
    or the nearest one above it that holds a course; else the one around this library.

    Args:
        required: Whether it is an error that there is none. Otherwise the folder in which the
            search began stands in for it, so that what a learner makes has a place.

    Raises:
        CourseError: If there must be a course and there is none.
    """
    named = os.environ.get("COURSE_ROOT")
    start = Path(named or Path.cwd()).resolve()
    if named:
        found = start if (start / "notebooks").is_dir() else None
    else:
        around = Path(__file__).resolve().parents[1]
        found = next(filter(_holds_course, (start, *start.parents, around)), None)
    if found is None and required:
        raise CourseError(
            f"There is no course {'in' if named else 'around'} {start}: run course inside a "
            "checkout of the course, or set COURSE_ROOT to one."
        )
    return found or start


def _holds_course(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in ("notebooks", "exercises"))


def own_folder() -> Path:
    """Return where imported logs are kept: ``COURSE_HOME``, or ``.course`` in the course's folder.

    A notebook's kernel works in the notebook's folder and the command line in any: both must
    find the same logs.
    """
    named = os.environ.get("COURSE_HOME")
    return Path(named).expanduser() if named else course_folder() / ".course"
