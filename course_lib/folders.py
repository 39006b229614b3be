"""Where the course and the learner's own things lie, from whichever folder one asks."""

from __future__ import annotations

import os
from pathlib import Path


def course_folder(start: Path | None = None) -> Path:
    """Return the nearest folder upwards that holds the course's notebooks, else `start`.

    Args:
        start: Where to begin; by default ``COURSE_ROOT``, or the working folder and, should
            that lie in no course, the one around this library.
    """
    named = os.environ.get("COURSE_ROOT")
    around = [] if start or named else [Path(__file__).resolve().parents[1]]
    start = (start or Path(named or Path.cwd())).resolve()
    for folder in (start, *start.parents, *around):
        if (folder / "exercises").is_dir() and (folder / "notebooks").is_dir():
            return folder
    return start


def own_folder() -> Path:
    """Return where imported logs are kept: ``COURSE_HOME``, or ``.course`` in the course's folder.

    A notebook's kernel works in the notebook's folder and the command line in any: both must
    find the same logs.
    """
    named = os.environ.get("COURSE_HOME")
    return Path(named).expanduser() if named else course_folder() / ".course"
