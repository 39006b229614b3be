"""Put the cell of one exercise back to how it was shipped, keeping what the learner wrote."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.checks.core import find
from course_lib.checks.generator import check_of, exercise_of, generate_exercise, read_notebook
from course_lib.checks.progress import forget, write_in_one_step
from course_lib.errors import CourseError
from course_lib.folders import course_folder


def reset(exercise_id: str, root: Path | None = None) -> str:
    """Restore an exercise's cell in ``exercises/`` and start its progress over.

    What stood in the cell is kept in ``.course/backups``. Other cells stay as they are, but the
    report below the check goes. A cell that was deleted is put back before its check.

    Args:
        exercise_id: ``"02.1"``.
        root: The course's folder; by default the nearest one upwards.

    Returns:
        A sentence that says what was done.

    Raises:
        CourseError: If there is no such exercise, or its notebook or solution is not there.
    """
    task = find(exercise_id)
    folder = course_folder() if root is None else root
    file, shipped = _shipped(folder, task.id)
    notebook = read_notebook(file)
    same_name = [cell for cell in notebook.cells if exercise_of(cell) == task.id]
    backup = ""
    if same_name:
        kept = same_name[0]
        if kept.source == shipped.source:
            forget(task.id)
            return f"Exercise {task.id} is as it was shipped; its progress starts over."
        backup = _keep(folder, task.id, kept.source)
        kept.source, kept.metadata = shipped.source, shipped.metadata
    else:
        notebook.cells.insert(_place_of(notebook, task.id), shipped)
    for cell in notebook.cells:
        if cell.cell_type == "code" and task.id in (exercise_of(cell), check_of(cell)):
            cell.outputs, cell.execution_count = [], None
    write_in_one_step(file, nbformat.writes(notebook) + "\n")
    forget(task.id)
    kept_in = f" What stood there is kept in {backup}." if backup else ""
    return (
        f"Exercise {task.id} in exercises/{file.name} is back as it was shipped.{kept_in} "
        "If the notebook is open, load it again from disk."
    )


def _shipped(folder: Path, exercise_id: str) -> tuple[Path, NotebookNode]:
    """Return the learner's notebook and the exercise's cell as shipped."""
    for solution in sorted((folder / "solutions").glob(f"{exercise_id[:2]}_*.ipynb")):
        exercise = generate_exercise(read_notebook(solution), f"solutions/{solution.name}")
        for cell in exercise.cells:
            if exercise_of(cell) == exercise_id:
                return folder / "exercises" / solution.name, cell
    raise CourseError(
        f"No notebook for exercise {exercise_id} stands in solutions/ below {folder.name}/: run "
        "this inside the course's folder."
    )


def _place_of(notebook: NotebookNode, exercise_id: str) -> int:
    for number, cell in enumerate(notebook.cells):
        if check_of(cell) == exercise_id:
            return number
    return len(notebook.cells)


def _keep(folder: Path, exercise_id: str, text: str) -> str:
    """Write the learner's text beside earlier ones and return its path below the folder."""
    moment = datetime.now().strftime("%Y-%m-%d_%H%M%S")
    backups = folder / ".course" / "backups"
    file = backups / f"{exercise_id}_{moment}.py"
    number = 1
    while file.exists():
        number += 1
        file = backups / f"{exercise_id}_{moment}_{number}.py"
    write_in_one_step(file, text + "\n")
    return file.relative_to(folder).as_posix()
