"""The exercises' framework: what a learner is told, what is kept, what is generated."""

from __future__ import annotations

import copy
import importlib.util
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import exercise_proof as proof
import jupytext
import numpy as np
import pandas as pd
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from course_lib import folders
from course_lib.checks import check, hint, progress
from course_lib.checks import core as checks_core
from course_lib.checks.compare import difference
from course_lib.checks.core import Answer, Cases, Exercise, exercise, find, run_check
from course_lib.checks.generator import (
    exercise_of,
    generate_exercise,
    read_notebook,
)
from course_lib.checks.progress import progress_file, read_progress
from course_lib.checks.reset import reset
from course_lib.errors import CourseError
from course_lib.folders import course_folder

FIXTURES = Path(__file__).parent / "fixtures" / "exercises"


@pytest.fixture(scope="module")
def sample() -> Iterator[ModuleType]:
    """The checks of the made-up lesson 90, registered while this module's tests run."""
    spec = importlib.util.spec_from_file_location("lesson_90", FIXTURES / "lesson_90.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["lesson_90"] = module
    spec.loader.exec_module(module)
    yield module
    for name in ("90.1", "90.2"):
        del checks_core._REGISTRY[name]


@pytest.fixture(scope="module")
def notebook() -> NotebookNode:
    """The solution notebook of lesson 90."""
    text = (FIXTURES / "90_sample.percent").read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = []
    return notebook


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notebook: NotebookNode) -> Path:
    """A course's folder with lesson 90, in which a learner works."""
    import nbformat

    for folder in ("notebooks", "exercises", "solutions"):
        (tmp_path / folder).mkdir()
    nbformat.write(notebook, tmp_path / "solutions" / "90_sample.ipynb")
    nbformat.write(generate_exercise(notebook), tmp_path / "exercises" / "90_sample.ipynb")
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / ".course" / "progress.json"))
    monkeypatch.chdir(tmp_path / "exercises")
    return tmp_path


def _report(function: object, check_function: object = None, **names: object) -> str:
    """The text that a learner reads about `answer`, by default of a check that calls it."""

    def call(answer: Answer, cases: Cases) -> None:
        cases.equal("it returns 1", answer.function("answer", returns=int)([1, 2, 3]), 1)

    task = Exercise("90.9", "Sample", ("answer",), ("a", "b"), check_function or call, 0.5)
    if function is not None:
        names["answer"] = function
    return str(run_check(task, names))


LOG = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]}, index=[7, 8, 9])


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (3, 3.0),
        (np.float32(0.25), 0.25),
        (np.bool_(True), True),
        ([1, 2], np.array([1.0, 2.0])),
        (pd.Series(["a", None]), ["a", np.nan]),
        (pd.Series(["a", "b"], dtype="category"), pd.Series(["a", "b"], index=[5, 6])),
        (pd.Series([True, pd.NA], dtype="boolean"), [True, None]),
        (LOG.reset_index(drop=True).assign(more=1), LOG),
        ({"a": [1]}, {"a": (1,)}),
        ({1, 2}, {2, 1}),
        (np.array(["2020-01-01"], dtype="datetime64[us]"), pd.Series(pd.to_datetime(["2020"]))),
        (np.eye(2), [[1, 0], [0, 1]]),
        (0.1 + 0.2, 0.3),
    ],
)
def test_equal_answers_do_not_differ(got: object, expected: object) -> None:
    assert difference(got, expected) == ""


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (2, 3, "expected 3, found 2"),
        ("view", "leave", "expected 'leave', found 'view'"),
        (None, 3, "expected 3, found None"),
        ([1, 2], [1, 2, 3], "expected 3 values, found 2"),
        (5, [1, 2], "expected 2 values, found a number (int)"),
        ([1, 9, 8], [1, 2, 3], "expected 2 at position 1, found 9; 2 of 3 values differ"),
        (pd.Series(["a", "b"]), ["a", None], "expected None at position 1, found 'b'"),
        (["1", "2"], [1, 2], "expected 1 at position 0, found '1'; 2 of 2 values differ"),
        (np.eye(2), np.ones((2, 2)), "expected 1 at position (0, 1), found 0"),
        (np.eye(3), np.ones((2, 2)), "expected the shape (2, 2), found (3, 3)"),
        (LOG.drop(columns="b"), LOG, "expected the columns b, which are not there"),
        (LOG.assign(a=[1, 2, 4]), LOG, "in column 'a': expected 3 at position 2, found 4"),
        ({"a": 1}, {"a": 1, "b": 2}, "expected the key 'b', which is not there"),
        ({1}, {1, 2}, "1 missing, such as '2'"),
        (pd.Series([1.0]), 1.0, "expected 1, found a pandas Series"),
        (object(), 3, "expected 3, found an object"),
    ],
)
def test_difference_says_where(got: object, expected: object, words: str) -> None:
    assert words in difference(got, expected)


def test_tolerance_is_absolute() -> None:
    assert difference([1.0, 2.0], [1.004, 2.0], tolerance=0.005) == ""
    assert difference([1.0, 2.0], [1.006, 2.0], tolerance=0.005)


def test_missing_object_is_named_with_its_near_miss() -> None:
    text = _report(None, anwser=lambda x: 1)
    assert "`answer` is not there yet (there is `anwser`" in text
    assert "write it in the cell of exercise 90.9" in text


def test_stub_text_reaches_the_learner() -> None:
    def answer(values: list[int]) -> int:
        raise NotImplementedError("write the sum")

    assert "90.9 Sample: not written yet" in _report(answer)
    assert "Still to do: write the sum." in _report(answer)


def test_error_is_reported_with_the_learners_line() -> None:
    def answer(values: list[int]) -> int:
        table = {"a": 1}
        return table["b"]

    line = answer.__code__.co_firstlineno + 2
    text = _report(answer)
    assert f"in line {line} of its cell, `return table[\"b\"]`: KeyError: 'b'" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda values: None, "`answer` returns nothing (None)"),
        (lambda values: "one", "returns a text (str); expected a number (int)"),
        (lambda: 1, "`answer` cannot be called as the exercise says"),
        (lambda values: sys.exit(3), "SystemExit: 3"),
        (3, "`answer` is a number (int); it should be a function"),
    ],
)
def test_odd_functions_are_refused_in_words(function: object, words: str) -> None:
    text = _report(function)
    assert words in text
    assert "passed" not in text


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_endless_answer_is_stopped(handler: object) -> None:
    """Also where interrupts are ignored, as in what a shell starts in the background."""

    def answer(values: list[int]) -> int:
        while True:
            pass

    before = signal.signal(signal.SIGINT, handler)
    try:
        assert "`answer` was stopped: its calls took more than 0.5 s" in _report(answer)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_answer_cannot_change_what_it_is_given() -> None:
    log = pd.DataFrame({"event": ["view"]})

    def answer(values: pd.DataFrame) -> int:
        values["event"] = "leave"
        return 1

    def look(guarded: Answer, cases: Cases) -> None:
        given = guarded.given("log")
        guarded.function("answer")(given)
        cases.equal("the log is as before", given["event"], ["view"])
        given["event"] = "cart"

    assert "passed" in _report(answer, look, log=log)
    assert list(log["event"]) == ["view"]


def test_check_without_cases_or_with_an_error_never_passes() -> None:
    def nothing(answer: Answer, cases: Cases) -> None:
        pass

    def crash(answer: Answer, cases: Cases) -> None:
        cases("one", True)
        raise ValueError("shapes")

    assert "passed" not in _report(lambda: 1, nothing)
    assert "Sample: the check could not finish" in _report(lambda: 1, crash)
    assert "could not be read (ValueError: shapes)" in _report(lambda: 1, crash)


def test_error_after_a_failed_case_leaves_the_case_to_speak() -> None:
    def late(answer: Answer, cases: Cases) -> None:
        cases("the shape is right", False, "it is not")
        raise ValueError("shapes")

    text = _report(lambda: 1, late)
    assert "fails  the shape is right\n         it is not" in text
    assert "could not" not in text


def test_first_recognised_mistake_stands_on_top_and_fails() -> None:
    def look(answer: Answer, cases: Cases) -> None:
        cases.mistake(False, "not this")
        cases.mistake(True, "The labels look backwards.")
        cases.mistake(True, "nor this")
        cases("one holds", True)

    lines = _report(lambda: 1, look).splitlines()
    assert lines[0] == "90.9 Sample: not yet"
    assert lines[1].strip() == "The labels look backwards."
    assert "nor this" not in "".join(lines)


def test_html_says_the_same_and_is_escaped() -> None:
    def look(answer: Answer, cases: Cases) -> None:
        cases("a < b", False, "found <b>")

    task = Exercise("90.9", "Sample", ("answer",), ("a", "b"), look)
    page = run_check(task, {})._repr_html_()
    assert "a &lt; b" in page
    assert "found &lt;b&gt;" in page
    assert "✗ fails" in page


def test_an_unknown_exercise_is_answered_with_those_there_are(sample: ModuleType) -> None:
    assert "Unknown exercise '90.3': choose from" in str(check("90.3", {}))
    assert "Unknown exercise" in str(hint("90.3"))
    with pytest.raises(CourseError, match=r"90\.1"):
        find("90.3")


def test_declaration_must_be_whole() -> None:
    with pytest.raises(CourseError, match="not of the form"):
        exercise("9.1", title="", objects=("a",), hints=("a", "b"))
    with pytest.raises(CourseError, match="two to four hints"):
        exercise("90.5", title="", objects=("a",), hints=("a",))


def test_hints_follow_each_other_and_are_kept(sample: ModuleType, home: Path) -> None:
    texts = [str(hint("90.1")) for _ in range(4)]
    assert [text[:11] for text in texts] == ["Hint 1 of 3", "Hint 2 of 3"] + ["Hint 3 of 3"] * 2
    assert read_progress()["90.1"]["hints"] == 3


def test_progress_counts_tries_and_keeps_passes(
    sample: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "test", pd.Series([1.0, 0.0]), raising=False)
    for score in (0.9, 0.5, 0.9):
        monkeypatch.setattr(main, "score", score, raising=False)
        check("90.2")
    assert read_progress()["90.2"] == {"tries": 3, "passed": True, "hints": 0}
    assert "90.2  passed  Mend the score" in str(progress())
    assert "90.1  open" in str(progress())
    assert [file.name for file in (home / ".course").iterdir()] == ["progress.json"]


def test_check_with_given_answers_is_no_try(sample: ModuleType, home: Path) -> None:
    assert check("90.2", {"score": 0.5, "test": pd.Series([1.0, 0.0])}).passed
    assert read_progress() == {}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"exercises": {"90.1": 3}}', "\x00"])
def test_torn_progress_is_set_aside(sample: ModuleType, home: Path, text: str) -> None:
    file = progress_file()
    file.parent.mkdir()
    file.write_text(text)
    assert read_progress() == {}
    assert file.with_suffix(".broken.json").read_text() == text
    assert str(hint("90.1")).startswith("Hint 1")
    assert json.loads(file.read_text())["exercises"]["90.1"]["hints"] == 1


def test_nothing_is_kept_in_tests_solutions_and_grading(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert progress_file() is None
    monkeypatch.delenv("COURSE_PROGRESS")
    assert progress_file() is None
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert progress_file() == home / ".course" / "progress.json"
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert progress_file() is None
    monkeypatch.delenv("NBGRADER_EXECUTION")
    monkeypatch.chdir(home / "solutions")
    assert progress_file() is None


def test_course_folder_is_found_from_below(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_ROOT", raising=False)
    below = home / "notebooks" / "mine"
    below.mkdir()
    for folder in (home, home / "exercises", below):
        monkeypatch.chdir(folder)
        assert course_folder() == course_folder(required=True) == home


def test_a_course_that_is_named_comes_before_the_one_around(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path_factory.mktemp("named")
    monkeypatch.setenv("COURSE_ROOT", str(named))
    assert course_folder() == named, "what a learner makes goes where the name says"
    with pytest.raises(CourseError, match=r"no course in .*set COURSE_ROOT"):
        course_folder(required=True)
    (named / "notebooks").mkdir()
    assert course_folder() == course_folder(required=True) == named


def test_outside_a_course_the_one_around_the_library_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COURSE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert course_folder() == Path(__file__).parents[1]
    installed = tmp_path / "lib" / "course_lib" / "folders.py"
    monkeypatch.setattr(folders, "__file__", str(installed))
    assert course_folder() == tmp_path
    with pytest.raises(CourseError, match=r"no course around .*run course inside"):
        course_folder(required=True)


def test_nbgrader_sees_a_failed_check(
    sample: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    test = pd.Series([1.0, 0.0])
    assert check("90.2", {"score": 0.5, "test": test}) is None
    with pytest.raises(AssertionError, match="computed on the training rows"):
        check("90.2", {"score": 1.0, "test": test})


def test_generated_exercise_holds_stubs_and_no_answer(notebook: NotebookNode) -> None:
    solved = copy.deepcopy(notebook)
    solved.cells[-1].outputs = [{"output_type": "stream", "name": "stdout", "text": "passed"}]
    solved.cells[-1].execution_count = 8
    generated = generate_exercise(solved, "solutions/90_sample.ipynb")
    text = "\n".join(cell.source for cell in generated.cells)
    assert "SOLUTION" not in text
    assert "STUB" not in text
    assert "groupby" not in text
    assert '    raise NotImplementedError("write the label of each row")' in text
    assert "rows = train\nif len(rows):\n    score = float(rows.mean())" in text
    assert generated.cells[-1].outputs == []
    assert generated.cells[-1].execution_count is None
    assert solved.cells[-1].execution_count == 8
    assert [(cell.id, cell.metadata) for cell in generated.cells] == [
        (cell.id, cell.metadata) for cell in notebook.cells
    ]
    assert generate_exercise(solved) == generated


ANSWER = {"schema_version": 3, "grade_id": "exercise-90-1", "grade": False, "locked": False}
CHECK = {"schema_version": 3, "grade_id": "check-90-1", "solution": False, "points": 1}


def _tiny(source: str, **facts: object) -> NotebookNode:
    answer = new_code_cell(source, id="a", metadata={"nbgrader": ANSWER | {"solution": True}})
    answer.metadata["nbgrader"].update(facts)
    checked = new_code_cell('check("90.1")', id="c", metadata={"nbgrader": dict(CHECK)})
    checked.metadata["nbgrader"].update(grade=True, locked=True)
    return new_notebook(cells=[answer, checked])


WHOLE = "### BEGIN SOLUTION\n### STUB x = 0\nx = 1\n### END SOLUTION"


@pytest.mark.parametrize(
    ("source", "facts", "words"),
    [
        ("### BEGIN SOLUTION\n### STUB a\n### BEGIN SOLUTION", {}, "solution inside a solution"),
        ("### BEGIN SOLUTION\n### STUB a\nx = 1", {}, "does not end it"),
        ("x = 1\n### END SOLUTION", {}, "was not begun"),
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION", {}, "without a stub"),
        ("### BEGIN SOLUTION\nx = 1\n### STUB x = 0\n### END SOLUTION", {}, "does not follow"),
        ("x = 1", {}, "learners would see it"),
        (WHOLE, {"grade_id": "check-90-1"}, "do not fit its grade_id|same grade_id"),
        (WHOLE, {"grade_id": "answer"}, "the course knows 'exercise-02-1'"),
        (WHOLE, {"locked": True}, "do not fit its grade_id"),
        (WHOLE, {"schema_version": 2}, "another schema version"),
        (WHOLE, {"extra": 1}, "unknown extra"),
        (WHOLE, {"grade_id": "exercise-90-2"}, "look at 90.1, 90.2"),
    ],
)
def test_faulty_solutions_are_refused_by_file_and_cell(
    source: str, facts: dict[str, object], words: str
) -> None:
    with pytest.raises(CourseError, match=words) as caught:
        generate_exercise(_tiny(source, **facts), "solutions/90_sample.ipynb")
    assert "solutions/90_sample.ipynb" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_duplicate_cell_ids_and_loose_solutions_are_refused() -> None:
    twice = _tiny(WHOLE)
    twice.cells[1].id = "a"
    with pytest.raises(CourseError, match=r"cell 2 .* same cell id 'a' as cell 1"):
        generate_exercise(twice)
    loose = _tiny(WHOLE)
    loose.cells.append(new_code_cell(WHOLE, id="z"))
    with pytest.raises(CourseError, match="is no answer cell"):
        generate_exercise(loose)
    wrong_call = _tiny(WHOLE)
    wrong_call.cells[1].source = 'check("90.2")'
    with pytest.raises(CourseError, match=r'should end with check\("90\.1"\)'):
        generate_exercise(wrong_call)


def test_reset_restores_one_cell_and_keeps_the_learners(sample: ModuleType, home: Path) -> None:
    import nbformat

    file = home / "exercises" / "90_sample.ipynb"
    shipped = read_notebook(file)
    mine = copy.deepcopy(shipped)
    mine.cells[4].source = "label_next = 'ä'"
    mine.cells[2].source = "# my own note"
    mine.cells[5].outputs = [new_output("stream", text="passed")]
    mine.cells[5].execution_count = 3
    nbformat.write(mine, file)
    hint("90.1")
    hint("90.2")
    sentence = reset("90.1")
    after = read_notebook(file)
    assert after.cells[4:6] == shipped.cells[4:6]
    assert after.cells[2].source == "# my own note"
    backup = list((home / ".course" / "backups").iterdir())
    assert [kept.read_text(encoding="utf-8") for kept in backup] == ["label_next = 'ä'\n"]
    assert backup[0].name in sentence
    assert list(read_progress()) == ["90.2"]
    assert "is as it was shipped" in reset("90.1")


def test_reset_puts_a_deleted_cell_back_before_its_check(sample: ModuleType, home: Path) -> None:
    import nbformat

    file = home / "exercises" / "90_sample.ipynb"
    shipped = read_notebook(file)
    mine = copy.deepcopy(shipped)
    mine.cells = [cell for cell in mine.cells if exercise_of(cell) != "90.2"]
    nbformat.write(mine, file)
    reset("90.2")
    assert read_notebook(file).cells == shipped.cells


def test_reset_without_its_notebook_is_one_sentence(sample: ModuleType, home: Path) -> None:
    (home / "exercises" / "90_sample.ipynb").unlink()
    with pytest.raises(CourseError, match=r"There is no notebook 90_sample\.ipynb in exercises/"):
        reset("90.1")
    (home / "solutions" / "90_sample.ipynb").unlink()
    with pytest.raises(CourseError, match=r"inside the course's folder"):
        reset("90.1")


@pytest.fixture(scope="module")
def room(notebook: NotebookNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[proof.Room]:
    setup = f"import sys; sys.path.insert(0, {str(FIXTURES)!r}); import lesson_90"
    opened = proof.Room(notebook, tmp_path_factory.mktemp("work"), setup)
    yield opened
    opened.close()


def test_sample_is_proved_both_ways(sample: ModuleType, room: proof.Room) -> None:
    listed = proof.read_wrong_answers(FIXTURES / "wrong_90.py")
    assert proof.complaints_about_run_all(room) == []
    for name in room.exercises():
        objects = find(name).objects
        wrong = [answer for answer in listed if answer.exercise == name]
        assert proof.complaints_about_list(name, room.shipped(name), wrong) == []
        assert proof.complaints_about_shipped(room, name, objects) == []
        for answer in wrong:
            assert proof.complaints_about_wrong(room, answer, objects) == []
        assert proof.complaints_about_hollow(room, name, objects) == []
        assert proof.complaints_about_solution(room, name, objects, wrong) == []


def test_line_and_time_limit_in_a_real_kernel(room: proof.Room) -> None:
    source = 'def label_next(log):\n    log = log.copy()\n    return log["evnt"]'
    report = room.attempt("90.1", source, ("label_next",)).report
    assert "in line 3 of its cell, `return log[\"evnt\"]`: KeyError: 'evnt'" in report
    endless = "def label_next(log):\n    while True:\n        pass"
    report = room.attempt("90.1", endless, ("label_next",)).report
    assert "`label_next` was stopped: its calls took more than 2 s" in report


def test_proof_detects_broken_exercises(sample: ModuleType, room: proof.Room) -> None:
    backwards = proof.read_wrong_answers(FIXTURES / "wrong_90.py")[0]
    objects = ("label_next",)
    room.notebook.cells.append(new_code_cell("1 / 0", id="z"))
    assert "(z): ZeroDivisionError" in proof.complaints_about_run_all(room)[0]
    room.notebook.cells.pop()
    assert (
        "needs three"
        in proof.complaints_about_list("90.1", 'raise NotImplementedError("x")', [])[0]
    )
    bare = [proof.WrongAnswer("90.2", f"n{k}", (f"m{k}",), "x = 1") for k in range(3)]
    assert "ships a planted bug" in proof.complaints_about_list("90.2", "x = 0", bare)[0]
    told = proof.WrongAnswer("90.1", "told otherwise", ("no such words",), backwards.source)
    assert "should be told" in proof.complaints_about_wrong(room, told, objects)[0]
    broken = proof.WrongAnswer("90.1", "broken", ("x",), "label_next = 1 / 0")
    assert "does not run" in proof.complaints_about_wrong(room, broken, objects)[0]
    in_both = [proof.WrongAnswer("90.1", "both", ("one label for each row",), "x = 1")]
    assert "too" in proof.complaints_about_solution(room, "90.1", objects, in_both)[0]

    # a check that is content with everything
    room._run(
        "from course_lib.checks import core\n"
        "lenient = core.Exercise('90.1', 'T', ('label_next',), ('a', 'b'),"
        " lambda answer, cases: cases('anything', True))\n"
        "kept = core._REGISTRY['90.1']\n"
        "core._REGISTRY['90.1'] = lenient"
    )
    assert "passes" in proof.complaints_about_wrong(room, backwards, objects)[0]
    assert proof.complaints_about_hollow(room, "90.1", objects)
    assert proof.complaints_about_shipped(room, "90.1", objects)

    # a check that stumbles: it neither names a mistake nor passes the solution
    room._run(
        "import dataclasses\n"
        "core._REGISTRY['90.1'] = dataclasses.replace(lenient, check=lambda a, c: 1 / 0)"
    )
    assert "stumbles" in proof.complaints_about_wrong(room, backwards, objects)[0]
    assert "does not pass" in proof.complaints_about_solution(room, "90.1", objects, [])[0]
    room._run("core._REGISTRY['90.1'] = kept")
