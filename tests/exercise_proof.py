"""Prove exercises both ways: as shipped they fail, wrong answers fail in their own words.

One kernel a solution notebook; each of its cells runs once, and an exercise's answers are
tried at its place, as a learner would: run the cell, then ``check("02.1")``.
"""

from __future__ import annotations

import ast
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty

from jupyter_client.manager import start_new_kernel
from nbformat import NotebookNode

from course_lib.checks.core import STUMBLED
from course_lib.checks.generator import check_of, exercise_of, shipped_source

SHIPPED = "as shipped"
SECONDS = 240  # for one cell


@dataclass(frozen=True)
class WrongAnswer:
    """A wrong answer and what the report must say about it; no source: the cell as shipped."""

    exercise: str
    name: str
    messages: tuple[str, ...]
    source: str


def read_wrong_answers(file: Path) -> list[WrongAnswer]:
    """Return the wrong answers of a lesson's file, in percent format.

    Args:
        file: Blocks of ``# %% 02.1 short name``, ``# message: fragment`` lines, source.
    """
    if not file.is_file():
        return []
    answers = []
    for block in re.split(r"(?m)^# %% ", file.read_text(encoding="utf-8"))[1:]:
        header, _, rest = block.partition("\n")
        match = re.fullmatch(r"(\d\d\.\d+) (.+)", header.strip())
        if not match:
            raise ValueError(f"{file.name}: {header!r} is not of the form '02.1 short name'.")
        lines = rest.split("\n")
        messages = []
        while lines and lines[0].startswith("# message: "):
            messages.append(lines.pop(0).removeprefix("# message: ").strip())
        if not messages:
            raise ValueError(f"{file.name}: {header!r} names no message.")
        answers.append(
            WrongAnswer(match[1], match[2], tuple(messages), "\n".join(lines).strip("\n"))
        )
    return answers


def emptied(source: str, objects: tuple[str, ...], result: str = "None") -> str:
    """Return an answer whose functions do nothing but return `result`.

    Args:
        source: A right answer.
        objects: The names the exercise asks for; those that are values become `result`.
        result: An expression.
    """
    tree = ast.parse(source)
    answer = ast.parse(f"return {result}").body[0]
    for node in tree.body:
        functions = [node] if isinstance(node, ast.FunctionDef) else []
        if isinstance(node, ast.ClassDef):
            functions = [
                one
                for one in node.body
                if isinstance(one, ast.FunctionDef) and one.name != "__init__"
            ]
        for function in functions:
            function.body = [answer]
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    values = [name for name in objects if name not in defined]
    # an answer without functions need not be run: a network may be trained in it
    kept = [ast.unparse(tree)] if defined else []
    return "\n".join([*kept, *(f"{name} = {result}" for name in values)])


@dataclass
class Attempt:
    """What came of an answer: the error of its cell, if any, and the check's text."""

    error: str
    report: str

    @property
    def passed(self) -> bool:
        return bool(re.search(r": passed, (all \d+ cases hold|1 case holds)$", self._headline()))

    @property
    def stumbled(self) -> bool:
        return self._headline().endswith(f": {STUMBLED}") or not self.report

    def _headline(self) -> str:
        return self.report.split("\n", 1)[0]


@dataclass
class Room:
    """A solution notebook's kernel, run as far as the exercise at hand needs.

    Args:
        notebook: The solution notebook.
        folder: Where the kernel works.
        setup: Code to run first.
    """

    notebook: NotebookNode
    folder: Path
    setup: str = ""
    _done: int = 0
    _written: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        environment = os.environ | {"COURSE_PROGRESS": "off"}
        self._manager, self._client = start_new_kernel(
            kernel_name="python3", cwd=str(self.folder), env=environment
        )
        self._run(self.setup)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def exercises(self) -> list[str]:
        return [name for cell in self.notebook.cells if (name := exercise_of(cell))]

    def solution(self, exercise: str) -> str:
        return self._cell(exercise).source

    def shipped(self, exercise: str) -> str:
        return shipped_source(self._cell(exercise))

    def run_all_as_shipped(self) -> list[str]:
        """Run the notebook from top to bottom as learners get it; return the errors by cell.

        Cells above the first answer run once; the others will run again with the solutions.
        """
        answers = [number for number, cell in enumerate(self.notebook.cells) if exercise_of(cell)]
        errors = []
        for number, cell in enumerate(self.notebook.cells[self._done :], start=self._done):
            if cell.cell_type == "code":
                error, _ = self._execute(shipped_source(cell))
                errors += [f"cell {number + 1} ({cell.id}): {error}"] if error else []
        self._done = max(self._done, answers[0])
        self._written = {}
        return errors

    def attempt(self, exercise: str, source: str, objects: tuple[str, ...]) -> Attempt:
        """Run an answer in the exercise's place and check it.

        Args:
            exercise: Its id.
            source: What stands in the answer cell.
            objects: The names the exercise asks for: earlier answers' are removed first.
        """
        self._advance_to(exercise)
        self._run("".join(f"globals().pop({name!r}, None)\n" for name in objects))
        error, _ = self._execute(source)
        self._written[exercise] = source
        failure, report = self._execute(f'check("{exercise}")')
        if failure:
            raise AssertionError(f'check("{exercise}") raised {failure}')
        return Attempt(error, report)

    def _cell(self, exercise: str) -> NotebookNode:
        return next(cell for cell in self.notebook.cells if exercise_of(cell) == exercise)

    def _advance_to(self, exercise: str) -> None:
        for earlier, source in self._written.items():
            if earlier != exercise and source != self.solution(earlier):
                self._run(self.solution(earlier))
                self._written[earlier] = self.solution(earlier)
        stop = self.notebook.cells.index(self._cell(exercise))
        while self._done < stop:
            cell = self.notebook.cells[self._done]
            self._done += 1
            name = exercise_of(cell)
            if cell.cell_type == "code" and not check_of(cell) and name not in self._written:
                self._run(cell.source)
                if name:
                    self._written[name] = cell.source

    def _run(self, source: str) -> None:
        error, _ = self._execute(source)
        if error:
            raise AssertionError(f"a cell of the notebook failed with {error}:\n{source}")

    def _execute(self, source: str) -> tuple[str, str]:
        """Return the error (``""`` if none) and the text of the last expression."""
        shown = []

        def collect(message: dict) -> None:
            if message["msg_type"] == "execute_result":
                shown.append(message["content"]["data"]["text/plain"])

        try:
            reply = self._client.execute_interactive(
                source, timeout=SECONDS, output_hook=collect, allow_stdin=False
            )
        except (Empty, TimeoutError):
            raise AssertionError(f"a cell took more than {SECONDS} s:\n{source}") from None
        content = reply["content"]
        error = ""
        if content["status"] != "ok":
            error = f"{content.get('ename', content['status'])}: {content.get('evalue', '')}"
        return error, "\n".join(shown)


def stub_text(shipped: str) -> str:
    """Return what the stub's NotImplementedError says, ``""`` where there is none."""
    for node in ast.walk(ast.parse(shipped)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            function = node.exc.func
            if isinstance(function, ast.Name) and function.id == "NotImplementedError":
                return ast.literal_eval(node.exc.args[0])
    return ""


def complaints_about_run_all(room: Room) -> list[str]:
    """Return the errors of an unsolved notebook's cells other than what is still to be written."""
    return [
        f"in the unsolved notebook, {error}"
        for error in room.run_all_as_shipped()
        if ": NotImplementedError: " not in error
    ]


def complaints_about_shipped(room: Room, exercise: str, objects: tuple[str, ...]) -> list[str]:
    """Return what is wrong with how an exercise that has a stub fails as shipped."""
    shipped = room.shipped(exercise)
    text = stub_text(shipped)
    if not text:
        return []
    attempt = room.attempt(exercise, shipped, objects)
    sentence = f"Still to do: {text.rstrip('.')}."
    friendly = sentence in attempt.report or (
        attempt.error.startswith("NotImplementedError") and "is not there yet" in attempt.report
    )
    if attempt.passed or not friendly:
        return [f"as shipped it should say {sentence!r}, and says:\n{attempt.report}"]
    return []


def complaints_about_wrong(room: Room, answer: WrongAnswer, objects: tuple[str, ...]) -> list[str]:
    """Return what is wrong with how a wrong answer fails."""
    source = answer.source or room.shipped(answer.exercise)
    attempt = room.attempt(answer.exercise, source, objects)
    if attempt.error:
        return [f"{answer.name!r} does not run: {attempt.error}"]
    if attempt.passed:
        return [f"{answer.name!r} passes:\n{attempt.report}"]
    if attempt.stumbled:
        return [f"the check stumbles over {answer.name!r}:\n{attempt.report}"]
    return [
        f"{answer.name!r} should be told {message!r}, and is told:\n{attempt.report}"
        for message in answer.messages
        if message not in attempt.report
    ]


def complaints_about_hollow(room: Room, exercise: str, objects: tuple[str, ...]) -> list[str]:
    """Return what is wrong with how emptied and constant answers fail."""
    found = []
    for result in ("None", "0"):
        source = emptied(room.solution(exercise), objects, result)
        attempt = room.attempt(exercise, source, objects)
        if attempt.passed or attempt.stumbled or len(attempt.report.split("\n")) < 2:
            found.append(f"an answer that returns {result} is told:\n{attempt.report}")
    return found


def complaints_about_solution(
    room: Room, exercise: str, objects: tuple[str, ...], wrong: list[WrongAnswer]
) -> list[str]:
    """Return what is wrong with how the solution passes."""
    attempt = room.attempt(exercise, room.solution(exercise), objects)
    if attempt.error or not attempt.passed:
        return [f"the solution does not pass: {attempt.error}\n{attempt.report}"]
    return [
        f"{message!r}, the message for {answer.name!r}, is in the report on the solution too"
        for answer in wrong
        for message in answer.messages
        if message in attempt.report
    ]


def complaints_about_list(exercise: str, shipped: str, wrong: list[WrongAnswer]) -> list[str]:
    """Return what is wrong with the list of an exercise's wrong answers."""
    found = []
    if len(wrong) < 3:
        found.append(f"{exercise} lists {len(wrong)} wrong answers, and needs three")
    messages = [answer.messages for answer in wrong]
    found += [
        f"two wrong answers of {exercise} share the message {one[0]!r}"
        for one in sorted(set(messages))
        if messages.count(one) > 1
    ]
    found += [
        f"{exercise}: {answer.name!r} has no source"
        for answer in wrong
        if not answer.source and answer.name != SHIPPED
    ]
    planted = not stub_text(shipped)
    if planted and SHIPPED not in [answer.name for answer in wrong]:
        found.append(f"{exercise} ships a planted bug, and no {SHIPPED!r} block names it")
    return found
