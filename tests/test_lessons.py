"""The lessons as files: all there, whole, in normal form, and really compared by nbval."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from course_lib.runs.build import build
from course_lib.runs.lessons import lesson_files
from course_lib.runs.parameters import read_parameters

ROOT = Path(__file__).parents[1]
LESSONS = [
    "00_start_here",
    "01_clean_the_log",
    "02_sessions_and_splits",
    "03_features",
    "04_baselines_and_metrics",
    "05_simple_rnn",
    "06_lstm_and_gru",
    "07_convolutions",
    "08_attention",
    "09_bert_on_behaviour",
    "10_language_bert",
]
STORED = [f"notebooks/{name}" for name in LESSONS] + [f"solutions/{name}" for name in LESSONS]
COMPARED_AT_LEAST = 0.6
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}


def _cells(name: str) -> list[dict]:
    cells = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return cells


def _code(name: str) -> list[dict]:
    return [cell for cell in _cells(name) if cell["cell_type"] == "code"]


def test_no_lesson_is_missing_from_the_list_or_from_the_folders():
    for folder in ("notebooks", "solutions", "exercises"):
        assert [path.stem for path in lesson_files(ROOT, folder)] == LESSONS
    for name in LESSONS:
        assert (ROOT / f"tests/test_lessons_{name[:2]}.py").exists(), "no papermill test"


def test_make_test_compares_the_outputs_of_lessons_and_solutions():
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", "test"], cwd=ROOT, capture_output=True, text=True
    )
    joined = shown.stdout.replace("\\\n", " ").splitlines()
    (words,) = (line.split() for line in joined if "-m pytest" in line)
    assert "--nbval" in words
    assert "--nbval-lax" not in words
    assert {"tests", "notebooks", "solutions"} <= set(words)


@pytest.mark.parametrize("name", STORED)
def test_most_outputs_are_compared(name):
    with_output = [cell for cell in _code(name) if cell["outputs"]]
    compared = [
        cell
        for cell in with_output
        if not UNCOMPARED & set(cell["metadata"].get("tags", [])) and "NBVAL_" not in cell["source"]
    ]
    assert with_output, "nothing was executed"
    assert len(compared) >= COMPARED_AT_LEAST * len(with_output)


@pytest.mark.parametrize("name", STORED)
def test_outputs_are_clean(name):
    for cell in _code(name):
        assert cell["execution_count"] or not cell["source"].strip()
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"
            text = json.dumps(output)
            assert not re.search(r"/(home|root|tmp|Users|work)/\w", text), "an absolute path"
            assert "Warning" not in text
            if "image/png" in output.get("data", {}):
                words = "".join(output["data"].get("text/plain", ""))
                assert words and "<Figure" not in words, "a picture without words"


@pytest.mark.parametrize("name", [f"notebooks/{name}" for name in LESSONS])
def test_a_lesson_keeps_its_anatomy(name):
    cells, code = _cells(name), _code(name)
    assert len(cells) <= 60
    assert max(len(cell["source"].splitlines()) for cell in code) <= 20
    assert cells[0]["cell_type"] == "markdown"
    assert not any(re.search(r"^\s*[!%]", cell["source"], re.MULTILINE) for cell in code)
    course = json.loads((ROOT / f"{name}.ipynb").read_text(encoding="utf-8"))["metadata"]["course"]
    assert course["title"] and course["question"] and course["minutes"]
    assert any("claim(" in cell["source"] for cell in code)
    claims = [cell for cell in code if re.search(r"^\s*claim\(", cell["source"], re.MULTILINE)]
    assert not any(UNCOMPARED & set(cell["metadata"].get("tags", [])) for cell in claims)


@pytest.mark.parametrize("name", [f"notebooks/{name}" for name in LESSONS])
def test_each_parameter_is_used(name):
    declared = read_parameters(ROOT / f"{name}.ipynb")
    assert list(declared)[:3] == ["dataset", "profile", "seed"]
    rest = "\n".join(
        cell["source"]
        for cell in _code(name)
        if "parameters" not in cell["metadata"].get("tags", [])
    )
    for parameter in declared:
        assert re.search(rf"\b{parameter}\b", rest), f"{parameter} is never used"
        assert declared[parameter].help, f"{parameter} has no comment beside it"


def test_notebooks_are_in_normal_form_and_exercises_come_from_solutions():
    assert [str(finding) for finding in build(ROOT, check=True, execute=False)] == []
