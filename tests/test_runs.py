"""Planning, executing, resuming and reporting runs, on a course of two tiny lessons."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_course import code, everything_in, small_course, write_notebook

from course_lib.errors import CourseError
from course_lib.runs import execution, report, worker
from course_lib.runs.execution import execute_runs, plan, read_results, unfinished
from course_lib.runs.parameters import read_parameters


@pytest.fixture
def course(tmp_path) -> Path:
    return small_course(tmp_path / "course")


def test_parameters_are_read_with_types_defaults_and_comments(course):
    found = read_parameters(course / "notebooks/05_simple_rnn.ipynb")
    assert {name: (one.type_name, one.default) for name, one in found.items()} == {
        "dataset": ("str", "shopworld"),
        "profile": ("str", "quick"),
        "seed": ("int", 1),
        "epochs": ("int or None", 3),
        "rate": ("float", 0.1),
        "tied": ("bool", False),
        "gap": ("str", "30min"),
    }
    assert found["epochs"].help == "passes over the data, at least 1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=7", 7),
        ("epochs=None", None),
        ("rate=1", 1.0),
        ("rate=1e-3", 0.001),
        ("tied=true", True),
        ("dataset=jd", "jd"),
    ],
)
def test_values_become_the_parameters_type(course, text, value):
    name = text.split("=")[0]
    (run,), _ = plan(course, ["05"], [text])
    assert run.given[name] == value
    assert type(run.given[name]) is type(value)


@pytest.mark.parametrize(
    ("lessons", "assignment", "message"),
    [
        (["5x"], "seed=1", "Unknown lesson '5x'"),
        (["05"], "epoch=3", "did you mean 'epochs'?"),
        (["05"], "epochs=many", "'epochs' takes int or None, not 'many'"),
        (["05"], "seed=1.5", "'seed' takes int"),
        (["05"], "seed=True", "'seed' takes int"),
        (["05"], "seed=-1", "'seed' must be from 0 to 4294967295, not -1"),
        (["05"], "seed=4294967296", "'seed' must be from 0"),
        (["05"], "epochs=0", "'epochs' must be at least 1, not 0"),
        (["05"], "gap=30mn", "'30mn' is no duration"),
        (["05"], "gap=-1h", "'-1h' is not positive"),
        (["05"], "tied=1", "'tied' takes bool"),
        (["05"], "seed", "write -p name=value"),
        (["05"], "profile=fast", "Unknown profile 'fast'"),
        (["05"], "dataset=shopwolrd", "did you mean 'shopworld'?"),
        (["05"], "dataset=beauty", "has no next_event or purchase_intent; logs that have it: shop"),
        (["00", "05"], "seed=2", "Unknown parameter of lesson 00"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_starts(course, lessons, assignment, message):
    before = everything_in(course)
    with pytest.raises(CourseError, match=r"^[^\n]+$") as caught:
        plan(course, lessons, [assignment])
    assert message in str(caught.value)
    assert everything_in(course) == before


def test_without_names_lessons_that_the_log_cannot_serve_are_left_out_and_named(course):
    runs, left_out = plan(course, [], ["dataset=beauty"])
    assert [run.lesson.number for run in runs] == ["00"]
    assert left_out == ["Lesson 05 is left out: beauty has no next_event or purchase_intent."]


def test_a_grid_crosses_the_values_and_every_run_has_its_own_name(course):
    runs, _ = plan(course, ["05"], ["seed=1", "seed=2", "rate=0.1", "rate=0.2", "seed=2"])
    assert len(runs) == len({run.name for run in runs}) == 4
    assert {(run.values["seed"], run.values["rate"]) for run in runs} == {
        (1, 0.1),
        (1, 0.2),
        (2, 0.1),
        (2, 0.2),
    }
    hostile, _ = plan(course, ["00"], [])
    assert Path(hostile[0].name).name == hostile[0].name


def test_runs_are_executed_kept_reported_and_resumed(course, tmp_path, monkeypatch):
    # another environment's kernel that calls itself python3 must not be taken
    foreign = tmp_path / "jupyter/kernels/python3"
    foreign.mkdir(parents=True)
    specification = {"argv": ["false"], "display_name": "Python 3", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(specification))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    out = tmp_path / "out"
    assignments = ["seed=1", "seed=13", "dataset=shopworld"]
    runs, _ = plan(course, ["05"], assignments)
    lines: list[str] = []
    results = execute_runs(runs, out, jobs=2, announce=lines.append)
    by_seed = {result.values["seed"]: result for result in results}
    assert by_seed[1].error is None
    assert by_seed[13].error == "code cell 3: AssertionError: unlucky"
    assert sorted(line[:6].strip() for line in lines) == ["FAILED", "ok"]
    assert not list(out.rglob(".running-*"))

    # what failed is done again, what succeeded is not, unless its lesson changes
    assert [run.values["seed"] for run in unfinished(runs, out)] == [13]
    lesson = course / "notebooks/05_simple_rnn.ipynb"
    lesson.write_text(lesson.read_text().replace("unlucky", "out of luck"))
    assert len(unfinished(plan(course, ["05"], assignments)[0], out)) == 2

    index = report.write_index(out).read_text(encoding="utf-8")
    assert "1 of 2 runs finished" in index
    assert "AssertionError: unlucky" in index
    assert "the seed is small" in index
    for kind, suffix in (("notebooks", "ipynb"), ("pages", "html")):
        link = f"{kind}/{by_seed[1].name}.{suffix}"
        assert f'href="{link}"' in index
        assert (out / link).stat().st_size > 0
    injected = json.loads((out / "notebooks" / f"{by_seed[13].name}.ipynb").read_text())
    assert any("seed = 13" in "".join(cell["source"]) for cell in injected["cells"])


def test_claims_are_counted_by_log(tmp_path):
    (tmp_path / "notebooks").mkdir()
    results = []
    of_runs = [("shopworld", None, 1), ("jd", "jd", 1), ("jd", "jd", 0), ("dmm", "shopworld", 1)]
    for number, (log, about, holds) in enumerate(of_runs):
        claim = {"text": "gates help", "holds": bool(holds), "evidence": f"run {number}"}
        claim |= {"dataset": about} if about else {}
        output = {"output_type": "display_data", "metadata": {"course_claim": claim}, "data": {}}
        notebook = {"cells": [{"cell_type": "code", "outputs": [output]}]}
        (tmp_path / f"notebooks/{number}.ipynb").write_text(json.dumps(notebook))
        values = {"dataset": log}
        results.append(
            execution.Result(str(number), "06", "Gates", 1, values, {}, 1.0, None, "fingerprint")
        )
    (row,) = report.claims_table(tmp_path, results)
    assert row.by_log == {"shopworld": (2, 2), "jd": (1, 2)}, "shopworld stood in for dmm"
    assert row.evidence["jd"] == "run 2"


def test_a_lesson_without_cells_or_with_a_dead_kernel_fails(course, tmp_path):
    parameters = code("seed: int = 1", "parameters")
    write_notebook(course / "notebooks/08_dies.ipynb", [parameters, code("import os\nos._exit(3)")])
    write_notebook(course / "notebooks/09_slow.ipynb", [parameters, code("while True: pass")])
    empty = [code("", "parameters")]
    write_notebook(course / "notebooks/10_empty.ipynb", empty)
    runs, _ = plan(course, ["08", "09", "10"])
    results = execute_runs(
        runs, tmp_path / "out", jobs=2, cell_timeout=5, announce=lambda line: None
    )
    errors = {result.lesson: result.error for result in results}
    assert "kernel died" in errors["08"]
    assert errors["09"] == "a cell took longer than 5 s"
    assert "no code cell that ran" in errors["10"]


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
def test_runs_end_with_a_parent_that_was_killed(course, tmp_path):
    sleeper = "import os, pathlib, time\npathlib.Path('pids').write_text("
    sleeper += "f'{os.getppid()} {os.getpid()}')\ntime.sleep(600)"
    parameters = code("seed: int = 1", "parameters")
    write_notebook(course / "notebooks/08_sleeps.ipynb", [parameters, code(sleeper)])
    program = (
        "from pathlib import Path; from course_lib.runs.execution import execute_runs, plan; "
        f"execute_runs(plan(Path({str(course)!r}), ['08'])[0], Path({str(tmp_path / 'out')!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    noted = course / "notebooks/pids"
    _wait(lambda: noted.exists() and len(noted.read_text().split()) == 2)
    parent.kill()
    parent.wait()
    pids = [int(pid) for pid in noted.read_text().split()]
    _wait(lambda: not any(_alive(pid) for pid in pids))


def _wait(until: Callable[[], bool], seconds: int = 90) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_kernel_that_does_not_start_is_tried_again_and_a_started_one_is_not(
    monkeypatch, tmp_path
):
    starts = []

    def fail_to_start(*_, on_cell_executed, **__):
        starts.append("start")
        if len(starts) < worker.STARTS:
            raise RuntimeError("Kernel died before replying to kernel_info")
        on_cell_executed(cell=None, cell_index=0, execute_reply=None)

    def die_after_a_cell(*_, on_cell_executed, **__):
        starts.append("start")
        on_cell_executed(cell=None, cell_index=0, execute_reply=None)
        raise RuntimeError("Kernel died")

    monkeypatch.setattr(worker.time, "sleep", lambda seconds: None)
    monkeypatch.setattr("papermill.execute_notebook", fail_to_start)
    assert worker.execute(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {}, cell_timeout=1) == 1
    assert len(starts) == worker.STARTS
    starts.clear()
    monkeypatch.setattr("papermill.execute_notebook", die_after_a_cell)
    with pytest.raises(RuntimeError):
        worker.execute(tmp_path / "a.ipynb", tmp_path / "b.ipynb", {}, cell_timeout=1)
    assert starts == ["start"]


def test_torn_results_count_as_none(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/05.json").write_text('{"name": "05')
    assert read_results(tmp_path) == []
