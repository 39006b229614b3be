"""Run lessons: plan every run, refuse bad input before anything starts, execute, resume."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from course_lib.datasets import PROFILES
from course_lib.errors import CourseError, unknown_name
from course_lib.runs.lessons import (
    Lesson,
    all_lessons,
    pick_lessons,
    require_served,
    shortfall,
)
from course_lib.runs.parameters import Parameter, grid, read_parameters, split_assignments
from course_lib.sessions import gap_in_microseconds

CELL_TIMEOUT = 1800  # seconds
REQUEST = "request.json"  # in a folder of runs: what it was last asked for
# What the runner executes is nobody's progress.
_QUIET = {"PYTHONUTF8": "1", "COURSE_PROGRESS": "off"}


@dataclass(frozen=True)
class Run:
    """One lesson with one set of parameter values; `values` are the ones in force."""

    lesson: Lesson
    given: dict[str, Any]
    values: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's file name without a suffix, readable and unique within a folder."""
        text = [f"{name}-{value}" for name, value in sorted(self.given.items())]
        name = "__".join([self.lesson.name, *text])
        safe = re.sub(r"[^A-Za-z0-9_.+-]", "-", name)
        if safe != name or len(safe) > 120:
            safe = f"{safe[:110]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return safe

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of the lesson's source and the run's values."""
        notebook = json.loads(self.lesson.path.read_text(encoding="utf-8"))
        sources = [[cell["cell_type"], "".join(cell["source"])] for cell in notebook["cells"]]
        text = json.dumps([sources, self.values], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Result:
    """What came of a run; kept as ``results/NAME.json``.

    Attributes:
        name: The run's name; its notebook is ``notebooks/NAME.ipynb``.
        lesson: The lesson's number.
        title: The lesson's title.
        minutes: How long the lesson says it takes.
        values: Every parameter's value.
        given: The values that were asked for.
        seconds: Wall clock of the execution, kernel start included.
        error: One line, or None if every cell ran.
        fingerprint: `Run.fingerprint`.
    """

    name: str
    lesson: str
    title: str
    minutes: float
    values: dict[str, Any]
    given: dict[str, Any]
    seconds: float
    error: str | None
    fingerprint: str


def plan(
    root: Path, names: Sequence[str] = (), assignments: Iterable[str] = ()
) -> tuple[list[Run], list[str]]:
    """Return every run that was asked for, and a sentence for each lesson left out.

    Args:
        root: The course's folder.
        names: Lessons; none means all of them, less those that the log cannot serve.
        assignments: ``name=value`` texts; one name with several values spans a grid.

    Raises:
        CourseError: If a lesson, parameter, value, profile or dataset is unknown or wrong, or a
            named lesson cannot be served by the log. Nothing has been written then.
    """
    given = split_assignments(assignments)
    lessons = pick_lessons(root, names) if names else all_lessons(root)
    runs: list[Run] = []
    left_out: list[str] = []
    for lesson in lessons:
        declared = read_parameters(lesson.path)
        for values in grid(declared, given, lesson.number):
            run = Run(lesson, values, _in_force(declared, values))
            profile = run.values.get("profile", "quick")
            if profile not in PROFILES:
                raise unknown_name("profile", profile, PROFILES)
            if isinstance(values.get("gap"), str):
                gap_in_microseconds(values["gap"])
            if "dataset" not in values and "task" not in values:
                runs.append(run)
                continue
            log, task = run.values.get("dataset", "shopworld"), run.values.get("task")
            if names:
                require_served(lesson, log, task)
            elif missing := shortfall(lesson, log, task):
                left_out.append(f"Lesson {lesson.number} is left out: {log} has no {missing}.")
                continue
            runs.append(run)
    if not runs:
        raise CourseError(f"No lesson can run: {' '.join(left_out)}")
    return runs, left_out


def _in_force(declared: dict[str, Parameter], given: dict[str, Any]) -> dict[str, Any]:
    return {name: given.get(name, parameter.default) for name, parameter in declared.items()}


def read_results(folder: Path) -> list[Result]:
    """Return the results kept in a folder of runs, by name; a torn file counts as none."""
    results = []
    for path in sorted((folder / "results").glob("*.json")):
        with contextlib.suppress(ValueError, TypeError):
            results.append(Result(**json.loads(path.read_text(encoding="utf-8"))))
    return results


def unfinished(runs: Iterable[Run], folder: Path) -> list[Run]:
    """Return the runs that have not succeeded in `folder` with the lesson as it is now."""
    done = {
        (result.name, result.fingerprint)
        for result in read_results(folder)
        if result.error is None and (folder / "notebooks" / f"{result.name}.ipynb").exists()
    }
    return [run for run in runs if (run.name, run.fingerprint) not in done]


def remember_request(folder: Path, lessons: Sequence[str], assignments: Sequence[str]) -> None:
    """Keep what a folder of runs was asked for, so that resuming it needs no repeating.

    Raises:
        CourseError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"lessons": list(lessons), "parameters": list(assignments)}, indent=1)
        (folder / REQUEST).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(folder, error) from error


def last_request(folder: Path) -> tuple[list[str], list[str]]:
    """Return the lessons and assignments of the last `remember_request`; none if there was none."""
    try:
        kept = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        return list(kept["lessons"]), list(kept["parameters"])
    except (OSError, ValueError, KeyError, TypeError):
        return [], []


def fetch_logs(runs: Iterable[Run]) -> None:
    """Fetch every log that runs need and that is not here: once, before any of them starts.

    Raises:
        CourseError: If one cannot be fetched; the sentence says what to do.
    """
    from course_lib import datasets

    for name in sorted({str(run.values.get("dataset", "shopworld")) for run in runs}):
        if not datasets.available(name):
            datasets.fetch(name)


def _unwritable(folder: Path, error: OSError) -> CourseError:
    return CourseError(
        f"Cannot write to {folder} ({error.strerror}); name another folder with --out."
    )


def newest_folder(root: Path) -> Path:
    """Return the latest folder under ``runs/``, which ``--resume`` goes on with.

    Raises:
        CourseError: If there is none.
    """
    folders = sorted(path.parent for path in (root / "runs").glob("*/results"))
    if not folders:
        raise CourseError("There is nothing to resume in runs/: name the folder with --out DIR.")
    return folders[-1]


def new_folder(root: Path) -> Path:
    """Return the path of a fresh folder under ``runs/``, named after the moment."""
    return root / "runs" / time.strftime("%Y-%m-%d_%H%M%S")


def execute_runs(
    runs: Sequence[Run],
    folder: Path,
    *,
    jobs: int = 1,
    cell_timeout: int = CELL_TIMEOUT,
    pages: bool = True,
    announce: Callable[[str], object] = print,
) -> list[Result]:
    """Execute runs, `jobs` at a time, and keep each result as soon as it is there.

    Args:
        runs: What `plan` returned.
        folder: Where notebooks, pages and results go; created.
        jobs: How many at once.
        cell_timeout: Seconds that one cell may take.
        pages: Write each executed notebook as a page for browsers, too.
        announce: Called with one line for each finished run.

    Returns:
        The results, in the order in which they came.

    Raises:
        CourseError: If the folder cannot be created.
        KeyboardInterrupt: On Ctrl-C; running notebooks are stopped, finished ones stay.
    """
    from tqdm import tqdm

    try:
        for name in ("notebooks", "pages", "results"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    waiting: queue.SimpleQueue[Run] = queue.SimpleQueue()
    for run in runs:
        waiting.put(run)
    events: queue.SimpleQueue[tuple[Run, dict[str, Any]]] = queue.SimpleQueue()
    pool = _Workers(waiting, events, folder, cell_timeout, pages)
    bar = tqdm(total=sum(run.lesson.code_cells for run in runs), unit="cell", disable=None)
    results: list[Result] = []
    left = {run.name: run.lesson.code_cells for run in runs}
    try:
        pool.start(min(jobs, len(runs)))
        while len(results) < len(runs):
            try:
                run, event = events.get(timeout=1)
            except queue.Empty:
                bar.refresh()
                continue
            if event["event"] == "start":
                bar.set_description(run.name[:40])
            elif event["event"] == "cell":
                left[run.name] -= left[run.name] > 0
                bar.update()
            else:
                bar.update(left.pop(run.name))
                result = _keep(run, event, folder)
                results.append(result)
                with bar.external_write_mode(file=sys.stdout):
                    announce(_line(result))
    finally:
        pool.stop()
        bar.close()
    return results


def _line(result: Result) -> str:
    mark = "ok    " if result.error is None else "FAILED"
    reason = f": {result.error}" if result.error else ""
    return f"{mark} {result.seconds:6.1f} s  {result.name}{reason}"


def _keep(run: Run, event: dict[str, Any], folder: Path) -> Result:
    """Move a finished run's files to their names and write its result."""
    for kind, suffix in (("notebooks", ".ipynb"), ("pages", ".html")):
        final = folder / kind / f"{run.name}{suffix}"
        with contextlib.suppress(FileNotFoundError):
            final.unlink()
        with contextlib.suppress(FileNotFoundError):
            _running(folder, kind, run.name, suffix).replace(final)
    result = Result(
        name=run.name,
        lesson=run.lesson.number,
        title=run.lesson.title,
        minutes=run.lesson.minutes,
        values=run.values,
        given=run.given,
        seconds=event["seconds"],
        error=event["error"],
        fingerprint=run.fingerprint,
    )
    path = folder / "results" / f"{run.name}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(result), indent=1, sort_keys=True), encoding="utf-8")
    partial.replace(path)
    return result


def _running(folder: Path, kind: str, name: str, suffix: str) -> Path:
    return folder / kind / f".running-{name}{suffix}"


class _Workers:
    """Threads that each feed one worker process after another."""

    def __init__(
        self,
        waiting: queue.SimpleQueue[Run],
        events: queue.SimpleQueue[tuple[Run, dict[str, Any]]],
        folder: Path,
        cell_timeout: int,
        pages: bool,
    ) -> None:
        self._waiting, self._events = waiting, events
        self._folder, self._cell_timeout, self._pages = folder, cell_timeout, pages
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def start(self, count: int) -> None:
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """Stop what still runs, its kernel first, and remove its unfinished files."""
        with self._lock:
            self._stopped = True
            running = dict(self._processes)
        for process in running.values():
            process.terminate()
        deadline = time.monotonic() + 5
        for process in running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for kind in ("notebooks", "pages"):
            for path in (self._folder / kind).glob(".running-*"):
                path.unlink(missing_ok=True)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._stopped or self._waiting.empty():
                    return
                run = self._waiting.get()
                process = self._launch()
                self._processes[run.name] = process
            self._events.put((run, {"event": "start"}))
            end = self._follow(run, process)
            with self._lock:
                del self._processes[run.name]
            self._events.put((run, end))

    @staticmethod
    def _launch() -> subprocess.Popen[str]:
        library = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
        # A session of its own: Ctrl-C reaches only the parent, which stops its workers.
        return subprocess.Popen(
            [sys.executable, "-m", "course_lib.runs.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": path, **_QUIET},
            start_new_session=True,
        )

    def _follow(self, run: Run, process: subprocess.Popen[str]) -> dict[str, Any]:
        began = time.perf_counter()
        noise: list[str] = []
        reader = threading.Thread(target=lambda: noise.extend(process.stderr), daemon=True)
        reader.start()
        page = _running(self._folder, "pages", run.name, ".html")
        job = {
            "source": str(run.lesson.path),
            "target": str(_running(self._folder, "notebooks", run.name, ".ipynb").resolve()),
            "page": str(page.resolve()) if self._pages else None,
            "parameters": run.given,
            "cell_timeout": self._cell_timeout,
        }
        end = None
        with contextlib.suppress(BrokenPipeError):
            json.dump(job, process.stdin)
            process.stdin.close()
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "end":
                end = event
            else:
                self._events.put((run, event))
        status = process.wait()
        reader.join(timeout=1)
        if end is None:
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            last = noise[-1].strip() if noise else "no message"
            end = {
                "event": "end",
                "error": f"the process that ran the notebook ended with {name} ({last})",
                "seconds": round(time.perf_counter() - began, 1),
            }
        return end
