"""Make what learners open out of the solutions: the one hand-written source of exercises.

A solution notebook marks its answers the way nbgrader does: cells with nbgrader's metadata
(schema version 3), the answer between ``### BEGIN SOLUTION`` and ``### END SOLUTION``. What
a learner finds in its place stands right after the first marker, in lines that begin with
``### STUB``; nbgrader itself drops them with the answer and puts its own stub there.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.errors import CourseError

BEGIN, END, STUB = "### BEGIN SOLUTION", "### END SOLUTION", "### STUB"
_REQUIRED = {"schema_version", "grade", "locked", "solution"}
_ALLOWED = _REQUIRED | {"grade_id", "points", "task", "checksum", "cell_type"}
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def exercise_of(cell: NotebookNode) -> str | None:
    """Return the exercise that a cell answers, ``"02.1"``, or None for every other cell."""
    match = re.fullmatch(r"exercise-(\d\d)-(\d+)", _grade_id(cell))
    return f"{match[1]}.{match[2]}" if match else None


def check_of(cell: NotebookNode) -> str | None:
    """Return the exercise that a cell checks, ``"02.1"``, or None for every other cell."""
    match = re.fullmatch(r"check-(\d\d)-(\d+)", _grade_id(cell))
    return f"{match[1]}.{match[2]}" if match else None


def _grade_id(cell: NotebookNode) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def generate_exercise(solution: NotebookNode, name: str = "the solution") -> NotebookNode:
    """Return the learner's notebook: answers replaced by their stubs, outputs cleared.

    Cell ids and metadata stay as they are.

    Args:
        solution: The solution notebook; not changed.
        name: Its file name, for messages.

    Raises:
        CourseError: If a marker is nested, unclosed or outside an answer cell, a stub is
            missing, nbgrader's metadata is not of its schema, or an id is there twice; names
            the file and the cell.
    """
    _validate(solution, name)
    exercise = copy.deepcopy(solution)
    for number, cell in enumerate(exercise.cells, start=1):
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
            cell.metadata.pop("execution", None)
            cell.source = shipped_source(cell, _place(name, number, cell))
    exercise.metadata["kernelspec"] = dict(_KERNEL)
    exercise.metadata.pop("language_info", None)
    return exercise


def shipped_source(cell: NotebookNode, place: str = "the cell") -> str:
    """Return a cell's text as learners get it.

    Args:
        cell: A code cell of a solution.
        place: Names it in messages.

    Raises:
        CourseError: As `generate_exercise`.
    """
    shipped: list[str] = []
    inside = in_stub = False
    stub_lines = regions = 0
    indentation = ""
    for line in str(cell.source).split("\n"):
        text = line.strip()
        if text.startswith(BEGIN):
            if inside:
                raise CourseError(f"{place} begins a solution inside a solution.")
            inside = in_stub = True
            regions, stub_lines = regions + 1, 0
            indentation = line[: len(line) - len(line.lstrip())]
        elif text.startswith(END):
            if not inside:
                raise CourseError(f"{place} ends a solution that was not begun.")
            if not stub_lines:
                raise CourseError(
                    f"{place} has a solution without a stub: say after {BEGIN!r} what learners "
                    f"find there, such as '{STUB} raise NotImplementedError(\"write ...\")'."
                )
            inside = False
        elif text.startswith(STUB):
            if not inside or not in_stub:
                raise CourseError(f"{place} has a stub line that does not follow {BEGIN!r}.")
            stub = text[len(STUB) :].removeprefix(" ")
            shipped.append((indentation + stub).rstrip())
            stub_lines += 1
        elif inside:
            in_stub = False
        else:
            shipped.append(line)
    if inside:
        raise CourseError(f"{place} begins a solution and does not end it.")
    if exercise_of(cell) and not regions:
        raise CourseError(f"{place} is an answer without {BEGIN!r}: learners would see it.")
    if regions and not exercise_of(cell):
        raise CourseError(
            f"{place} holds a solution, and is no answer cell: give it nbgrader's metadata with "
            "a grade_id such as 'exercise-02-1'."
        )
    return "\n".join(shipped)


def _place(name: str, number: int, cell: NotebookNode) -> str:
    return f"{name}, cell {number} ({_grade_id(cell) or cell.get('id', 'without id')}),"


def _validate(notebook: NotebookNode, name: str) -> None:
    """Refuse duplicate ids and metadata that nbgrader would refuse."""
    seen: dict[str, dict[str, int]] = {"cell id": {}, "grade_id": {}}
    answered, checked = [], []
    for number, cell in enumerate(notebook.cells, start=1):
        place = _place(name, number, cell)
        for kind, value in (("cell id", cell.get("id")), ("grade_id", _grade_id(cell))):
            if value and value in seen[kind]:
                raise CourseError(
                    f"{place} has the same {kind} {value!r} as cell {seen[kind][value]}; "
                    "give it its own."
                )
            if value:
                seen[kind][value] = number
        if "nbgrader" in cell.metadata:
            _validate_metadata(cell, place)
        answered += [exercise_of(cell)] if exercise_of(cell) else []
        checked += [check_of(cell)] if check_of(cell) else []
        if check_of(cell):
            call = f'check("{check_of(cell)}")'
            if str(cell.source).strip().splitlines()[-1:] != [call]:
                raise CourseError(f"{place} should end with {call}.")
        if cell.cell_type != "code" and BEGIN in str(cell.source):
            raise CourseError(f"{place} holds a solution, and is no code cell.")
    if answered != checked:
        odd = sorted(set(answered) ^ set(checked)) or answered
        raise CourseError(
            f"{name} needs one answer cell and, after it, one check cell an exercise, in the "
            f"same order; look at {', '.join(odd)}."
        )


def _validate_metadata(cell: NotebookNode, place: str) -> None:
    facts = dict(cell.metadata["nbgrader"])
    missing, unknown = _REQUIRED - facts.keys(), facts.keys() - _ALLOWED
    if missing or unknown:
        odd = ", ".join(sorted(missing or unknown))
        raise CourseError(
            f"{place} has nbgrader metadata {'without' if missing else 'with an unknown'} {odd}."
        )
    if facts["schema_version"] != 3:
        raise CourseError(f"{place} has nbgrader metadata of another schema version than 3.")
    if exercise_of(cell):
        right = facts["solution"] and not facts["grade"] and not facts["locked"]
    elif check_of(cell):
        right = facts["grade"] and facts["locked"] and not facts["solution"]
        right = right and isinstance(facts.get("points"), int | float)
    else:
        raise CourseError(
            f"{place} has the grade_id {_grade_id(cell)!r}; the course knows 'exercise-02-1' and "
            "'check-02-1'."
        )
    if not right:
        raise CourseError(
            f"{place} has nbgrader metadata that do not fit its grade_id: an answer is "
            "solution, not grade, not locked; a check is grade, locked, not solution, with points."
        )


def read_notebook(file: Path) -> NotebookNode:
    """Return the notebook in a file.

    Raises:
        CourseError: If it is not there or no notebook.
    """
    try:
        return nbformat.read(file, as_version=4)
    except FileNotFoundError:
        raise CourseError(f"There is no notebook {file.name} in {file.parent.name}/.") from None
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise CourseError(
            f"{file.parent.name}/{file.name} is no readable notebook: {text}"
        ) from None
