"""Every exercise, both ways: as shipped and wrong answers fail in words, the solution passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import exercise_proof as proof
import pytest

from course_lib.checks.core import exercises, find
from course_lib.checks.generator import exercise_of, read_notebook

ROOT = Path(__file__).parents[1]
SOLUTIONS = {file.stem[:2]: file for file in sorted((ROOT / "solutions").glob("[0-9]*.ipynb"))}
NOTEBOOKS = {lesson: read_notebook(file) for lesson, file in SOLUTIONS.items()}
WRONG = {
    lesson: proof.read_wrong_answers(ROOT / "tests" / "wrong_answers" / f"{lesson}.py")
    for lesson in SOLUTIONS
}
IDS = [
    name
    for notebook in NOTEBOOKS.values()
    for cell in notebook.cells
    if (name := exercise_of(cell))
]


def _wrong(exercise: str) -> list[proof.WrongAnswer]:
    return [answer for answer in WRONG[exercise[:2]] if answer.exercise == exercise]


def _cases() -> Iterator[object]:
    """Each notebook unsolved, then its exercises; the solution last, for later cells use it."""
    for lesson, notebook in NOTEBOOKS.items():
        group = pytest.mark.xdist_group(f"exercises-{lesson}")
        inside = [name for cell in notebook.cells if (name := exercise_of(cell))]
        if inside:
            yield pytest.param(inside[0], "unsolved", id=f"{lesson}-unsolved", marks=group)
        for exercise in inside:
            names = [proof.SHIPPED] + [one.name for one in _wrong(exercise)]
            for name in [*dict.fromkeys(names), "hollow", "solution"]:
                yield pytest.param(exercise, name, id=f"{exercise}-{name}", marks=group)


@pytest.fixture(scope="module")
def rooms() -> Iterator[dict[str, proof.Room]]:
    """The open kernel, one at a time, by lesson."""
    opened: dict[str, proof.Room] = {}
    yield opened
    for room in opened.values():
        room.close()


def _room(rooms: dict[str, proof.Room], lesson: str) -> proof.Room:
    if lesson not in rooms:
        for other in list(rooms):
            rooms.pop(other).close()
        rooms[lesson] = proof.Room(NOTEBOOKS[lesson], ROOT / "solutions")
    return rooms[lesson]


@pytest.mark.parametrize(("exercise", "name"), list(_cases()))
def test_exercise_both_ways(exercise: str, name: str, rooms: dict[str, proof.Room]) -> None:
    objects = find(exercise).objects
    room = _room(rooms, exercise[:2])
    if name == "unsolved":
        found = proof.complaints_about_run_all(room)
    elif name == "solution":
        found = proof.complaints_about_solution(room, exercise, objects, _wrong(exercise))
    elif name == "hollow":
        found = proof.complaints_about_hollow(room, exercise, objects)
    else:
        found = []
        if name == proof.SHIPPED:
            found += proof.complaints_about_shipped(room, exercise, objects)
        for answer in _wrong(exercise):
            if answer.name == name:
                found += proof.complaints_about_wrong(room, answer, objects)
    assert not found, "\n".join(found)


def test_every_lesson_with_exercises_is_proved() -> None:
    assert IDS, "no exercise found in solutions/"
    assert sorted(exercises()) == sorted(IDS)
    for lesson, answers in WRONG.items():
        unknown = {answer.exercise for answer in answers} - set(IDS)
        assert not unknown, f"tests/wrong_answers/{lesson}.py names {unknown}"


@pytest.mark.parametrize("exercise", IDS)
def test_exercise_lists_its_wrong_answers(exercise: str) -> None:
    cell = next(cell for cell in NOTEBOOKS[exercise[:2]].cells if exercise_of(cell) == exercise)
    found = proof.complaints_about_list(exercise, proof.shipped_source(cell), _wrong(exercise))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("exercise", IDS)
def test_last_hint_says_where_to_look(exercise: str) -> None:
    lesson = exercise[:2]
    lessons = sorted((ROOT / "notebooks").glob(f"{lesson}_*.ipynb"))
    headings = {
        match.strip()
        for notebook in map(read_notebook, lessons)
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for match in re.findall(r"(?m)^#{1,4} (.+)$", cell.source)
    }
    last = find(exercise).hints[-1]
    assert any(heading in last for heading in headings), (
        f"the last hint of {exercise} quotes no heading of lesson {lesson}: {last!r}"
    )
