"""What the papermill tests of all lessons share: which logs to take, and what must come out."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from course_lib import datasets
from course_lib.runs.lessons import lesson_files, read_lesson, shortfall
from course_lib.runs.report import claims_in
from course_lib.runs.worker import execute

ROOT = Path(__file__).parents[1]
CELL_TIMEOUT = 300  # seconds
ANOTHER_SEED = 2


def logs_for(number: str, task: str | None = None) -> list[str]:
    """Return every built-in log that can serve the lesson of that number, shopworld first.

    With a `task`, the lesson's main one, only those that serve it: in the others ShopWorld
    stands in for most of the lesson, and the minutes would buy little.
    """
    return [
        name
        for path in lesson_files(ROOT)
        if path.name.startswith(number)
        for name in datasets.BUILT_IN
        if shortfall(read_lesson(path), name) is None
        and (task is None or task in datasets.card(name).tasks)
    ]


def assert_runs(number: str, dataset: str, folder: Path, **small: object) -> dict[str, bool]:
    """Execute a lesson on a log: every cell runs, every claim is made; return claims by text.

    Skips where the log is not on this machine. On shopworld the seed is another one than the
    stored one, and every claim must hold there. On other logs the lesson gets the parameters
    `small`, which save minutes: what is proved there is that every cell runs.
    """
    if not datasets.available(dataset):
        pytest.skip(f"{dataset} is not on this machine (COURSE_DATA)")
    (path,) = (path for path in lesson_files(ROOT) if path.name.startswith(number))
    target = folder / path.name
    parameters = {"dataset": dataset, "seed": ANOTHER_SEED}
    if dataset != "shopworld":
        parameters |= small
    executed = execute(path, target, parameters, cell_timeout=CELL_TIMEOUT)
    # One cell more than the lesson has: papermill injects the parameters.
    assert executed == read_lesson(path).code_cells + 1
    claims = claims_in(nbformat.read(target, as_version=4))
    assert claims, f"lesson {number} checked no claim on {dataset}"
    if dataset == "shopworld":
        assert all(claim["holds"] for claim in claims)
    return {claim["text"]: claim["holds"] for claim in claims}


def forbid_tensorflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a TensorFlow and a Keras that cannot be imported in front of the real ones.

    Returns:
        A file that exists once one of them has been asked for.
    """
    trace = folder / "asked-for"
    for name in ("tensorflow", "keras"):
        package = folder / "forbidden" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(
            f"open({str(trace)!r}, 'w').close()\nraise ImportError('{name} is forbidden here')\n"
        )
    monkeypatch.setenv("PYTHONPATH", str(folder / "forbidden"))
    return trace
