"""``course build``: normal form, generated exercises, and nothing to do the second time."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from small_course import code, everything_in, small_course, write_notebook

from course_lib.runs.build import SANITIZE, build
from course_lib.runs.notebooks import keep_equal_outputs, normalise, read_patterns, to_text

ROOT = Path(__file__).parents[1]
PATTERNS = read_patterns(ROOT / SANITIZE)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A small course, built once."""
    root = small_course(tmp_path_factory.mktemp("course"))
    findings = build(root, jobs=2, announce=lambda line: None)
    assert not [finding for finding in findings if finding.fault]
    assert len(findings) == 4  # two lessons, a solution, its exercise
    return root


def test_a_second_build_changes_nothing(built):
    before = everything_in(built)
    assert build(built, jobs=2, announce=lambda line: None) == []
    assert everything_in(built) == before


def test_stored_notebooks_are_executed_and_the_exercise_is_not(built):
    lesson = nbformat.read(built / "notebooks/00_start_here.ipynb", as_version=4)
    nbformat.validate(lesson)
    assert lesson.cells[2].outputs[0].text == "reading shopworld at <object object at 0x0>\n"
    assert [cell.id for cell in lesson.cells[:2]] == ["start-here", "parameters"]
    assert lesson.metadata.keys() == {"course", "kernelspec", "language_info"}
    exercise = nbformat.read(built / "exercises/05_simple_rnn.ipynb", as_version=4)
    assert "raise NotImplementedError" in exercise.cells[3].source
    assert "2 * number" not in to_text(exercise)
    assert not any(cell.get("outputs") for cell in exercise.cells)


def test_check_names_what_differs_and_writes_nothing(built, tmp_path):
    root = small_course(tmp_path)
    for name in ("notebooks", "solutions", "exercises"):
        for path in (built / name).glob("*.ipynb"):
            (root / name).mkdir(exist_ok=True)
            (root / name / path.name).write_bytes(path.read_bytes())
    solution = root / "solutions/05_simple_rnn.ipynb"
    solution.write_text(solution.read_text().replace("double the number", "multiply by two"))
    (root / "exercises/09_gone.ipynb").write_bytes(solution.read_bytes())
    before = everything_in(root)
    findings = build(root, check=True, execute=False)
    assert [str(finding) for finding in findings] == [
        "exercises/05_simple_rnn.ipynb: differs in source of cell 4 (exercise-05-1)",
        "exercises/09_gone.ipynb: has no solution it comes from",
    ]
    assert everything_in(root) == before
    build(root, execute=False)
    assert "multiply by two" in (root / "exercises/05_simple_rnn.ipynb").read_text()
    assert build(root, check=True, execute=False) == []


def test_a_lesson_that_fails_or_is_noisy_is_a_fault_and_stays_as_it_was(tmp_path):
    root = small_course(tmp_path)
    for name, source in (("06_wrong", "1 / 0"), ("07_noisy", "import sys\nsys.stderr.write('x')")):
        cells = [code("seed: int = 1", "parameters"), code(source)]
        write_notebook(root / f"notebooks/{name}.ipynb", cells)
    before = everything_in(root / "notebooks")
    findings = build(root, ["06", "07"], jobs=2, announce=lambda line: None)
    assert sorted(str(finding) for finding in findings if finding.fault) == [
        "notebooks/06_wrong.ipynb: code cell 2: ZeroDivisionError: division by zero",
        "notebooks/07_noisy.ipynb: code cell 2 writes to standard error; readers must not see that",
    ]
    after = everything_in(root / "notebooks")
    outputs = json.loads(after["06_wrong.ipynb"])["cells"][1]["outputs"]
    assert outputs == []
    assert after["00_start_here.ipynb"] == before["00_start_here.ipynb"]


def _notebook(*outputs, source="fit()", tags=()):
    cell = new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)}, id="fit")
    return new_notebook(cells=[cell])


def _stream(text):
    return new_output("stream", name="stdout", text=text)


@pytest.mark.parametrize(
    ("old", "new", "tags", "kept"),
    [
        ("loss 0.51", "loss 0.51", (), True),
        ("loss 0.51", "loss 0.52", (), False),
        ("took 3.1 s", "took 2.9 s", (), True),
        ("loss 0.51", "loss 0.52", ("nbval-ignore-output",), True),
        ("loss 0.51", "accuracy 0.52", ("nbval-ignore-output",), False),
    ],
)
def test_a_stored_output_is_kept_if_only_noise_differs(old, new, tags, kept):
    fresh, stored = _notebook(_stream(new), tags=tags), _notebook(_stream(old), tags=tags)
    (cell,) = keep_equal_outputs(fresh, stored, PATTERNS).cells
    assert cell.outputs[0].text == (old if kept else new)


def test_an_output_of_changed_code_is_never_kept():
    fresh = _notebook(_stream("loss 0.52"), source="fit(2)", tags=["nbval-ignore-output"])
    stored = _notebook(_stream("loss 0.51"), tags=["nbval-ignore-output"])
    assert keep_equal_outputs(fresh, stored, PATTERNS).cells[0].outputs[0].text == "loss 0.52"


def test_normal_form_keeps_names_and_the_authors_metadata_and_drops_the_machines():
    notebook = new_notebook(
        metadata={"papermill": {"duration": 1}, "course": {"lesson": "05"}},
        cells=[
            new_code_cell(
                "fit()",
                id="trained",
                metadata={
                    "execution": {"iopub.execute_input": "now"},
                    "tags": ["hide"],
                    "nbgrader": {"grade_id": "a"},
                },
                outputs=[_stream("a "), _stream("b at 0x7f00dead00 in /course/notebooks\n")],
            ),
            new_code_cell("# Train again\nfit()", id="0a1b2c3d"),
            new_code_cell("# Train again\nfit()"),
        ],
    )
    notebook.cells[2].id = "trained"  # as a copied cell has it
    once = normalise(notebook, Path("/course"))
    assert [cell.id for cell in once.cells] == ["trained", "train-again", "train-again-2"]
    assert once.cells[0].metadata == {"tags": ["hide"], "nbgrader": {"grade_id": "a"}}
    assert [output.text for output in once.cells[0].outputs] == ["a b at 0x0 in ./notebooks\n"]
    assert once.metadata.keys() == {"course", "kernelspec", "language_info"}
    assert to_text(normalise(once, Path("/course"))) == to_text(once)


def test_a_page_shows_the_picture_that_its_lesson_shows(tmp_path):
    root = small_course(tmp_path)
    draw = (
        "from IPython.display import Image, display\ndisplay(Image(bytes(range(8)), format='png'))"
    )
    cells = [code("seed: int = 1", "parameters"), code(draw)]
    path = root / "notebooks/06_picture.ipynb"
    write_notebook(path, cells)
    build(root, ["06"], announce=lambda line: None)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["course"] = {"pictures": {"docs/shown.png": notebook.cells[1].id}}
    nbformat.write(notebook, path)
    build(root, ["06"], execute=False)
    assert (root / "docs/shown.png").read_bytes() == bytes(range(8))
    (root / "docs/shown.png").write_bytes(b"stale")
    findings = build(root, ["06"], execute=False, check=True)
    assert [str(finding) for finding in findings] == [
        "docs/shown.png: is not the picture that the lesson shows"
    ]
