"""The command line: help, bad input in one sentence with status 2, interruption, resuming."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_course import code, everything_in, small_course, write_notebook

from course_lib import cli
from course_lib.runs.bench import benchmark_names, load_benchmark

ROOT = Path(__file__).parents[1]
COMMANDS = ("list", "run", "lab", "build", "bench", "doctor", "progress", "hint", "reset", "data")


@pytest.fixture
def course(tmp_path, monkeypatch) -> Path:
    """A small course that the command line finds, with nothing but it in the working folder."""
    root = small_course(tmp_path / "course")
    monkeypatch.setenv("COURSE_ROOT", str(root))
    monkeypatch.chdir(root)
    return root


def call(capsys, *arguments: object) -> tuple[int, str, str]:
    """Run ``course`` in this process; return status, standard output and standard error."""
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "55"], "Unknown lesson '55': choose from 00, 05."),
        (["run", "simple_rnn"], "did you mean '05_simple_rnn'?"),
        (["run", "05", "-p", "epoch=3"], "did you mean 'epochs'?"),
        (["run", "05", "-p", "epochs=three"], "takes int or None, not 'three'"),
        (["run", "05", "-p", "dataset=shopwolrd"], "did you mean 'shopworld'?"),
        (["run", "05", "-p", "dataset=beauty"], "logs that have it: shopworld"),
        (["run", "05", "--resume"], "nothing to resume"),
        (["run", "05", "-p", "seed=-1"], "'seed' must be from 0"),
        (["run", "00", "--out", "notebooks/00_start_here.ipynb/x"], "name another folder"),
        (["build", "55"], "Unknown lesson '55'"),
        (["lab", "55"], "Unknown lesson '55'"),
        (["bench", "speed"], "Unknown benchmark 'speed'"),
        (["hint", "99.9"], "99.9"),
        (["reset", "99.9"], "99.9"),
        (["data", "describe", "shopwolrd"], "did you mean 'shopworld'?"),
        (["data", "fetch", "shopwolrd"], "did you mean 'shopworld'?"),
        (["data", "import", "gone.csv", "--user", "u"], "gone.csv"),
        (["data", "import", "gone.csv", "--map-event", "buy"], "THEIRS=OURS"),
    ],
)
def test_bad_input_is_one_sentence_with_status_2_and_writes_nothing(
    course, capsys, arguments, message
):
    before = everything_in(course)
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("course: ")
    assert err.count("\n") == 1
    assert message in err
    assert everything_in(course) == before


def test_an_unknown_command_is_bad_input(course, capsys):
    status, _, err = call(capsys, "rum")
    assert status == 2
    assert "rum" in err


def test_help_shows_every_command_and_examples(capsys):
    status, out, _ = call(capsys, "--help")
    assert status == 0
    assert "Examples:" in out
    for command in COMMANDS:
        assert f"\n  {command} " in out
        assert call(capsys, command, "--help")[0] == 0
    assert "..." not in out.split("Commands:")[1].split("Examples:")[0], "a summary is cut off"
    assert "..." not in call(capsys, "data", "--help")[1].split("Commands:")[1]


def test_list_tells_minutes_needs_and_parameters(course, capsys):
    status, out, _ = call(capsys, "list")
    assert status == 0
    assert "05  A simple RNN  (2 minutes)" in out
    assert "needs: next_event or purchase_intent" in out
    assert "-p epochs: int or None = 3" in out


def test_run_prints_where_the_results_lie(course, capsys):
    status, out, _ = call(capsys, "run", "5", "-p", "seed=2", "--out", "here")
    assert status == 0
    assert "here/notebooks" in out
    assert (course / "here/index.html").exists()
    status, out, _ = call(capsys, "run", "5", "-p", "seed=2", "--out", "here", "--resume")
    assert status == 0
    assert "1 of 1 runs are done already" in out


def test_resume_alone_goes_on_with_what_the_folder_was_asked_for(course, capsys):
    arguments = ["run", "05", "-p", "seed=2", "-p", "seed=13", "--out", "here"]
    assert call(capsys, *arguments)[0] == 1
    status, out, _ = call(capsys, "run", "--resume", "--out", "here")
    assert status == 1
    assert "1 of 2 runs are done already" in out
    assert "unlucky" in out


def test_a_log_that_cannot_be_fetched_is_refused_before_anything_starts(
    course, capsys, monkeypatch
):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    monkeypatch.setenv("COURSE_CACHE", str(course / "cache"))
    before = everything_in(course)
    status, _, err = call(capsys, "run", "05", "-p", "dataset=retailrocket", "--out", "here")
    assert (status, err.count("\n")) == (2, 1)
    assert "retailrocket" in err
    assert everything_in(course) == before


def test_an_imported_log_can_be_run(course, capsys):
    load = "from course_lib.datasets import load\nassert len(load(dataset)) == 2"
    cells = [code('dataset: str = "shopworld"', "parameters"), code(load)]
    write_notebook(course / "notebooks/01_load.ipynb", cells)
    (course / "orders.csv").write_text("user,time,item\na,1709640000,x\nb,1709640060,y\n")
    assert call(capsys, "data", "import", "orders.csv", "--name", "mine")[0] == 0
    status, out, _ = call(capsys, "run", "01", "-p", "dataset=mine", "--out", "here")
    assert status == 0, out


@pytest.mark.parametrize(
    ("arguments", "opened", "passed_on"),
    [
        (["lab"], "00_start_here", []),
        (["lab", "5", "--", "--no-browser"], "05_simple_rnn", ["--no-browser"]),
        (["lab", "--", "--port", "8899"], "00_start_here", ["--port", "8899"]),
    ],
)
def test_lab_opens_a_lesson_and_passes_options_on(
    course, capsys, monkeypatch, arguments, opened, passed_on
):
    commands = []
    monkeypatch.setattr(subprocess, "call", lambda command, **_: commands.append(command) or 0)
    assert call(capsys, *arguments)[0] == 0
    (command,) = commands
    assert any(part.endswith(f"/notebooks/{opened}.ipynb") for part in command)
    assert command[len(command) - len(passed_on) :] == passed_on


def test_a_failed_lesson_is_status_1(course, capsys):
    status, out, _ = call(capsys, "run", "05", "-p", "seed=13", "--out", "here")
    assert status == 1
    assert "unlucky" in out


def test_ctrl_c_keeps_finished_runs_and_leaves_nothing_half_done(course):
    slow = [code("seed: int = 1", "parameters"), code("open('began', 'w').close()\nwhile 1: 0")]
    write_notebook(course / "notebooks/06_slow.ipynb", slow)
    command = [sys.executable, "-m", "course_lib", "run", "00", "06", "--out", "o", "--jobs", "1"]
    library = str(Path(cli.__file__).parents[1])
    process = subprocess.Popen(
        command,
        cwd=course,
        env={**os.environ, "PYTHONPATH": library},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # where the tests themselves run in the background, Ctrl-C would be ignored from birth
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 90
    while not (course / "notebooks/began").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume does the rest" in err
    assert "Traceback" not in err
    assert "course run --out o --resume" in err
    kept = {Path(name).name for name in everything_in(course / "o")}
    lesson = {"00_start_here.ipynb", "00_start_here.html", "00_start_here.json"}
    assert kept == {*lesson, "index.html", "request.json"}


def test_build_check_is_status_1_until_built(course, capsys):
    assert call(capsys, "build", "--check", "--no-execute")[0] == 1
    assert call(capsys, "build", "--no-execute")[0] == 0
    status, out, _ = call(capsys, "build", "--check", "--no-execute")
    assert (status, out) == (0, "Everything is up to date.\n")


def test_bench_ends_with_one_flat_json_line(course, capsys):
    folder = course / "tests/benchmarks"
    folder.mkdir()
    (folder / "toy.py").write_text(
        "import numpy\ndef main():\n    return {'events': numpy.int64(3), 'ratio': 0.5}\n"
    )
    status, out, _ = call(capsys, "bench", "toy", "--json")
    assert status == 0
    assert json.loads(out.splitlines()[-1]) == {"events": 3, "ratio": 0.5}
    (folder / "deep.py").write_text("def main():\n    return {'a': {'b': 1}}\n")
    assert call(capsys, "bench", "deep", "--json")[0] == 2


@pytest.mark.parametrize("name", benchmark_names(ROOT))
def test_every_benchmark_can_be_loaded_and_run_by_name(name):
    assert callable(load_benchmark(ROOT, name).main)


def test_data_commands_read_and_import_logs(course, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(course / "cache"))
    assert "shopworld" in call(capsys, "data", "list")[1]
    assert "licence" in call(capsys, "data", "describe", "eshop")[1]
    shop = course / "orders.csv"
    shop.write_text("who,when,sku\na,2024-01-01 10:00,x\nb,2024-01-01 11:00,y\n")
    arguments = ["data", "import", shop, "--user", "who", "--time", "when", "--item", "sku"]
    status, out, err = call(capsys, *arguments, "--out", course / "imported")
    assert status == 0, err
    assert "2" in out


def test_doctor_sets_a_remedy_beside_each_fault(course, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(course / "nowhere"))
    monkeypatch.setattr("course_lib.runs.doctor._device", lambda: _no_fault("Device"))
    monkeypatch.setattr("course_lib.runs.doctor._kernel", lambda: _no_fault("Kernel"))
    (course / "requirements.lock").write_text("numpy==0.1 \\\n    --hash=sha256:00\n")
    (course / "weights.lock").write_text("no-such-weights==1.0 \\\n    --hash=sha256:00\n")
    status, out, _ = call(capsys, "doctor")
    assert status == 1
    assert "FAULT Weights: no-such-weights missing" in out
    assert "FAULT Packages: numpy" in out
    assert "(lock: 0.1)" in out
    assert "FAULT Logs: COURSE_DATA names" in out
    assert out.count("FAULT") == out.count("-> ") == 3


def _no_fault(what):
    from course_lib.runs.doctor import Diagnosis

    return Diagnosis(what, "fine")
