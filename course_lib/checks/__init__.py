"""The exercises' checks and hints: ``check("02.1")``, ``hint("02.1")``.

`core` runs a check, `compare` says where two answers differ, `progress` keeps what was
passed and gives hints, `generator` makes the learners' notebooks out of the solutions,
`reset` puts one cell back. ``lesson_NN`` holds the checks of one lesson.
"""

from __future__ import annotations

from course_lib.checks.core import check
from course_lib.checks.progress import hint, progress

__all__ = ["check", "hint", "progress"]
