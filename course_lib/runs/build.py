"""``course build``: regenerate the exercises, execute lessons and solutions, store outputs."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat

from course_lib.checks.generator import generate_exercise
from course_lib.errors import CourseError
from course_lib.runs.execution import CELL_TIMEOUT, Run, execute_runs
from course_lib.runs.lessons import lesson_files, pick_lessons, read_lesson
from course_lib.runs.notebooks import (
    Notebook,
    keep_equal_outputs,
    normalise,
    read_patterns,
    to_text,
    without_outputs,
)

SANITIZE = Path("tests/notebooks/sanitize.cfg")


@dataclass(frozen=True)
class Finding:
    """One thing that a build found.

    Attributes:
        path: The notebook, relative to the course's folder.
        what: What differs, or what is wrong.
        fault: True if a build cannot mend it: an error, or text on standard error.
    """

    path: Path
    what: str
    fault: bool = False

    def __str__(self) -> str:
        return f"{self.path.as_posix()}: {self.what}"


def build(
    root: Path,
    names: Sequence[str] = (),
    *,
    check: bool = False,
    execute: bool = True,
    fresh: bool = False,
    jobs: int = 1,
    cell_timeout: int = CELL_TIMEOUT,
    announce: Callable[[str], object] = print,
) -> list[Finding]:
    """Bring exercises and stored outputs up to date, or only say what is not.

    Args:
        root: The course's folder.
        names: Lessons to build; none means all.
        check: Say what differs and write nothing.
        execute: Execute lessons and solutions; otherwise only their form and the exercises
            are brought up to date.
        fresh: Store every fresh output, also one that differs in nothing compared.
        jobs: How many notebooks at once.
        cell_timeout: Seconds that one cell may take.
        announce: Called with one line for each executed notebook.

    Returns:
        What differed (or was changed) and what is wrong; empty if all is up to date.

    Raises:
        CourseError: If a lesson is unknown or a notebook unreadable.
    """
    stems = {lesson.name for lesson in pick_lessons(root, names)} if names else None
    sources = [
        path
        for folder in ("notebooks", "solutions")
        for path in lesson_files(root, folder)
        if stems is None or path.stem in stems
    ]
    stored = {path: _read(path) for path in sources}
    wanted = {path: normalise(notebook, root) for path, notebook in stored.items()}
    for path in sources:
        if path.parent.name == "solutions":
            exercise = generate_exercise(without_outputs(wanted[path]), f"solutions/{path.name}")
            wanted[root / "exercises" / path.name] = normalise(exercise, root)
    findings: list[Finding] = []
    if execute:
        executed, findings = _execute(root, sources, jobs, cell_timeout, announce)
        patterns = read_patterns(root / SANITIZE)
        for path, notebook in executed.items():
            new = normalise(notebook, root)
            wanted[path] = new if fresh else keep_equal_outputs(new, wanted[path], patterns)
    for path, notebook in wanted.items():
        findings += _settle(path, notebook, root, check)
    for path, picture in _pictures(root, wanted).items():
        findings += _settle_picture(path, picture, root, check)
    orphans = set(lesson_files(root, "exercises")) - {
        root / "exercises" / path.name for path in lesson_files(root, "solutions")
    }
    for path in sorted(orphans):
        if stems is None or path.stem in stems:
            findings.append(Finding(path.relative_to(root), "has no solution it comes from"))
            if not check:
                path.unlink()
    return findings


def _read(path: Path) -> Notebook:
    read_lesson(path)
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, nbformat.ValidationError) as error:
        raise CourseError(
            f"{path.name} in {path.parent.name}/ is not a valid notebook "
            f"({str(error).splitlines()[0]}); mend it."
        ) from error


def _execute(
    root: Path,
    sources: Sequence[Path],
    jobs: int,
    cell_timeout: int,
    announce: Callable[[str], object],
) -> tuple[dict[Path, Notebook], list[Finding]]:
    runs = {}
    for path in sources:
        lesson = read_lesson(path)
        run = Run(replace(lesson, name=f"{path.parent.name}-{lesson.name}"), {}, {})
        runs[run.name] = (path, run)
    executed, findings = {}, []
    with tempfile.TemporaryDirectory(prefix="course-build-") as folder:
        results = execute_runs(
            [run for _, run in runs.values()],
            Path(folder),
            jobs=jobs,
            cell_timeout=cell_timeout,
            pages=False,
            announce=announce,
        )
        for result in results:
            path = runs[result.name][0]
            if result.error:
                findings.append(Finding(path.relative_to(root), result.error, fault=True))
                continue
            notebook = nbformat.read(
                Path(folder) / "notebooks" / f"{result.name}.ipynb", as_version=4
            )
            noisy = [
                cell.execution_count
                for cell in notebook.cells
                for output in cell.get("outputs", [])
                if output.get("name") == "stderr"
            ]
            if noisy:
                what = f"code cell {noisy[0]} writes to standard error; readers must not see that"
                findings.append(Finding(path.relative_to(root), what, fault=True))
                continue
            executed[path] = notebook
    return executed, findings


def _pictures(root: Path, notebooks: dict[Path, Notebook]) -> dict[Path, bytes]:
    """The pictures that pages show from lessons: ``course.pictures`` maps file to cell id."""
    pictures = {}
    for path, notebook in notebooks.items():
        for file, cell_id in notebook.metadata.get("course", {}).get("pictures", {}).items():
            found = [
                output["data"]["image/png"]
                for cell in notebook.cells
                if cell.id == cell_id
                for output in cell.get("outputs", [])
                if "image/png" in output.get("data", {})
            ]
            if not found:
                raise CourseError(
                    f"{path.name} names cell {cell_id!r} as the picture {file}, but that cell "
                    "shows none; mend course.pictures in its metadata."
                )
            pictures[root / file] = base64.b64decode(found[0])
    return pictures


def _settle_picture(path: Path, picture: bytes, root: Path, check: bool) -> list[Finding]:
    before = path.read_bytes() if path.exists() else None
    if picture == before:
        return []
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    what = "is missing" if before is None else "is not the picture that the lesson shows"
    return [Finding(path.relative_to(root), what)]


def _settle(path: Path, wanted: Notebook, root: Path, check: bool) -> list[Finding]:
    text = to_text(wanted)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if text == before:
        return []
    if not check:
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return [Finding(path.relative_to(root), _difference(before, wanted))]


def _difference(before: str | None, wanted: Notebook) -> str:
    """Say in a few words where a stored notebook and the wanted one part."""
    if before is None:
        return "is missing"
    stored = nbformat.reads(before, as_version=4)
    if len(stored.cells) != len(wanted.cells):
        return f"has {len(stored.cells)} cells instead of {len(wanted.cells)}"
    parts = []
    for number, (old, new) in enumerate(zip(stored.cells, wanted.cells, strict=True), start=1):
        for what in ("source", "outputs", "metadata", "id"):
            if old.get(what) != new.get(what):
                parts.append(f"{what} of cell {number} ({new.id})")
                break
    if not parts:
        return "is not in its normal form"
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return f"differs in {', '.join(parts[:3])}{more}"
