"""A course of two tiny lessons and one solution, for tests of the runner and the build."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
PARAMETERS = """dataset: str = "shopworld"  # which log
profile: str = "quick"  # quick or full
seed: int = 1  # of everything
epochs: int | None = 3  # passes over the data, at least 1
rate: float = 0.1
tied: bool = False
gap: str = "30min"  # a longer silence ends a session"""
CLAIM = """from course_lib.claims import claims_for
claim = claims_for(dataset)
claim("the seed is small", seed < 5 or dataset == "jd", evidence=f"seed {seed}")"""
EXERCISE = {
    "schema_version": 3,
    "grade_id": "exercise-05-1",
    "grade": False,
    "locked": False,
    "solution": True,
    "task": False,
}
CHECK = {
    **EXERCISE,
    "grade_id": "check-05-1",
    "grade": True,
    "locked": True,
    "solution": False,
    "points": 1,
}
SOLUTION = """def twice(number: int) -> int:
    ### BEGIN SOLUTION
    ### STUB raise NotImplementedError("double the number")
    return 2 * number
    ### END SOLUTION"""


def code(source: str, *tags: str, **metadata: object) -> nbformat.NotebookNode:
    """Return a code cell with tags."""
    return new_code_cell(source, metadata={"tags": list(tags), **metadata})


def write_notebook(path: Path, cells: list, **course: object) -> None:
    """Write a notebook whose ``course`` metadata are those given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"course": course}), path)


def small_course(folder: Path) -> Path:
    """Write the course into a folder and return it."""
    lessons = folder / "notebooks"
    write_notebook(
        lessons / "00_start_here.ipynb",
        [
            new_markdown_cell("# Start here"),
            code('dataset: str = "shopworld"  # which log', "parameters"),
            code("print(f'reading {dataset} at', object())"),
            code("import time\ntime.perf_counter()", "nbval-ignore-output"),
        ],
        lesson="00",
        title="Start here",
        minutes=1,
    )
    write_notebook(
        lessons / "05_simple_rnn.ipynb",
        [
            new_markdown_cell("# A simple RNN"),
            code(PARAMETERS, "parameters"),
            code("assert seed != 13, 'unlucky'\nprint(seed, epochs, rate, tied)"),
            code(CLAIM),
        ],
        lesson="05",
        title="A simple RNN",
        minutes=2,
        needs={"tasks": ["next_event", "purchase_intent"], "columns": [], "clock": None},
    )
    write_notebook(
        folder / "solutions" / "05_simple_rnn.ipynb",
        [
            new_markdown_cell("# Exercises"),
            code('dataset: str = "shopworld"', "parameters"),
            code("def check(name):\n    print(name, twice(2))"),
            code(SOLUTION, nbgrader=EXERCISE),
            code('check("05.1")', nbgrader=CHECK),
        ],
        lesson="05",
        title="Exercises on the simple RNN",
    )
    (folder / "tests" / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "tests/notebooks/sanitize.cfg", folder / "tests/notebooks")
    return folder


def everything_in(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
