"""Execute one notebook with papermill in a process of its own.

``python -m course_lib.runs.worker`` reads a job (JSON) from standard input and writes one
JSON line for each executed code cell and one for the end. A process for each run keeps
kernels, working folders and signals of parallel runs apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTS = 3  # parallel kernels race for ports now and then


class NothingExecuted(RuntimeError):
    """A notebook ran through without a single executed code cell."""


def execute(
    source: Path,
    target: Path,
    parameters: dict[str, Any],
    *,
    cell_timeout: int,
    on_cell: Callable[[], None] = lambda: None,
) -> int:
    """Execute a notebook in its own folder and save it; return how many code cells ran.

    Args:
        source: The lesson.
        target: Where the executed notebook goes; rewritten after each cell.
        parameters: Values by name, checked already.
        cell_timeout: Seconds that one cell may take.
        on_cell: Called after each executed code cell.

    Raises:
        PapermillExecutionError: If a cell raised.
        NothingExecuted: If there was no code cell to run.
        Exception: What nbclient raises for a cell that took too long or a kernel that died.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from papermill.log import logger

    from course_lib.runs.kernel import KERNEL_NAME, CourseKernelManager, use_course_library

    use_course_library()
    logger.setLevel("ERROR")
    executed = 0

    def count(**_: Any) -> None:
        nonlocal executed
        executed += 1
        on_cell()

    for start in range(1, STARTS + 1):
        try:
            papermill.execute_notebook(
                source,
                target,
                parameters,
                kernel_name=KERNEL_NAME,
                language="python",
                progress_bar=False,
                cwd=source.parent,
                start_timeout=120,
                execution_timeout=cell_timeout,
                kernel_manager_class=CourseKernelManager,
                on_cell_executed=count,
            )
            break
        except PapermillExecutionError:
            raise
        except Exception:
            if executed or start == STARTS:
                raise
            time.sleep(start)
    if not executed:
        raise NothingExecuted(f"{source.name} has no code cell that ran")
    return executed


def explain(error: Exception, cell_timeout: int) -> str:
    """Return one line that says why a run failed."""
    kind = type(error).__name__
    if kind == "PapermillExecutionError":
        message = (str(error.evalue).splitlines() or [""])[0]
        text = message if error.ename == "CourseError" else f"{error.ename}: {message}"
        return f"code cell {error.exec_count}: {text}"
    if kind == "CellTimeoutError":
        return f"a cell took longer than {cell_timeout} s"
    if kind == "DeadKernelError":
        return "the kernel died, perhaps for want of memory"
    return f"{kind}: {(str(error).splitlines() or [''])[0]}"


def to_html(notebook: Path, page: Path) -> None:
    """Write an executed notebook as a page that a browser shows."""
    from nbconvert import HTMLExporter

    body, _ = HTMLExporter(template_name="lab").from_filename(str(notebook))
    page.write_text(body, encoding="utf-8")


def _end_with(parent: int) -> None:
    """End this process, and its kernel with it, once the parent is gone without a goodbye."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Do the job on standard input."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # What libraries print must not come between the lines of the protocol.
    protocol = sys.stdout
    sys.stdout = sys.stderr
    job = json.load(sys.stdin)

    def say(**event: Any) -> None:
        print(json.dumps(event), file=protocol, flush=True)

    began = time.perf_counter()
    error = None
    try:
        execute(
            Path(job["source"]),
            Path(job["target"]),
            job["parameters"],
            cell_timeout=job["cell_timeout"],
            on_cell=lambda: say(event="cell"),
        )
    except Exception as failure:
        error = explain(failure, job["cell_timeout"])
    seconds = time.perf_counter() - began
    if job["page"] and Path(job["target"]).exists():
        with contextlib.suppress(Exception):
            to_html(Path(job["target"]), Path(job["page"]))
    say(event="end", error=error, seconds=round(seconds, 1))


if __name__ == "__main__":
    main()
