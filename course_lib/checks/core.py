"""Run the check of an exercise: look the learner's objects up, record every case, report.

A check is a function registered with `exercise`. It gets an `Answer`, which hands out what
the learner wrote (guarded: no learner's mistake becomes a traceback of the course), and a
`Cases` recorder. `check` runs it and returns a `Report`.
"""

from __future__ import annotations

import _thread
import copy
import html
import importlib
import importlib.util
import linecache
import os
import pkgutil
import re
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from course_lib.checks.compare import difference, kind_in_words
from course_lib.errors import CourseError, unknown_name

PASSED, FAILED, UNWRITTEN, STUMBLED, UNKNOWN = (
    "passed",
    "not yet",
    "not written yet",
    "the check could not finish",
    "unknown",
)
Kind = type | tuple[type, ...] | None


@dataclass(frozen=True)
class Exercise:
    """One exercise: its check and its hints, registered by `exercise`."""

    id: str
    title: str
    objects: tuple[str, ...]
    hints: tuple[str, ...]
    check: Callable[[Answer, Cases], None]
    seconds: float = 20.0

    @property
    def lesson(self) -> str:
        """The lesson's two digits."""
        return self.id[:2]


_REGISTRY: dict[str, Exercise] = {}


def exercise(
    exercise_id: str,
    *,
    title: str,
    objects: tuple[str, ...],
    hints: tuple[str, ...],
    seconds: float = 20.0,
) -> Callable[[Callable[[Answer, Cases], None]], Callable[[Answer, Cases], None]]:
    """Register the decorated function as the check of an exercise.

    Args:
        exercise_id: ``"02.1"``: the lesson's two digits, a dot, the number in the lesson.
        title: A few words.
        objects: The names that the learner writes.
        hints: Two to four sentences, from a nudge to the place in the lesson to look at.
        seconds: How long all calls of the learner's code may take together.

    Raises:
        CourseError: If the declaration is not of this form, or its id is taken.
    """
    if not re.fullmatch(r"\d\d\.[1-9]\d?", exercise_id):
        raise CourseError(f"Exercise id {exercise_id!r} is not of the form '02.1'.")
    if not objects or not 2 <= len(hints) <= 4:
        raise CourseError(f"Exercise {exercise_id} needs objects and two to four hints.")

    def register(function: Callable[[Answer, Cases], None]) -> Callable[[Answer, Cases], None]:
        taken = _REGISTRY.get(exercise_id)
        if taken and taken.check.__qualname__ != function.__qualname__:
            raise CourseError(
                f"Exercise {exercise_id} is checked twice, by {taken.check.__name__} and "
                f"{function.__name__}."
            )
        _REGISTRY[exercise_id] = Exercise(
            exercise_id, title, tuple(objects), tuple(hints), function, seconds
        )
        return function

    return register


def exercises() -> dict[str, Exercise]:
    """Return all exercises by id, in order; loads every lesson's checks."""
    package = importlib.import_module("course_lib.checks")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("lesson_"):
            importlib.import_module(f"course_lib.checks.{module.name}")
    return dict(sorted(_REGISTRY.items()))


def find(exercise_id: object) -> Exercise:
    """Return the exercise of this id; ``2.1`` and ``"2.1"`` mean ``"02.1"``.

    Raises:
        CourseError: If there is none; names the nearest.
    """
    text = str(exercise_id).strip()
    if re.fullmatch(r"\d\.\d+", text):
        text = f"0{text}"
    if text not in _REGISTRY and re.fullmatch(r"\d\d\.\d+", text):
        name = f"course_lib.checks.lesson_{text[:2]}"
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    if text in _REGISTRY:
        return _REGISTRY[text]
    known = exercises()
    same_lesson = [name for name in known if name[:2] == text[:2]]
    if not known:
        raise CourseError(f"Unknown exercise {text!r}: the course has none yet.")
    raise unknown_name("exercise", text, same_lesson or known)


@dataclass(frozen=True)
class Case:
    """One property that an answer should have, and whether it has it."""

    what: str
    holds: bool
    otherwise: str = ""


@dataclass(frozen=True)
class Report:
    """What a check found; its text and its HTML are the same words.

    Attributes:
        exercise: The id.
        title: The exercise's title.
        status: ``"passed"``, ``"not yet"``, ``"not written yet"``, ``"the check could not
            finish"`` or ``"unknown"``.
        cases: Every case, in the order in which the check looked at it.
        mistake: The misconception that the check recognised, or ``""``.
        sentence: What stopped the check, or ``""``.
    """

    exercise: str
    title: str
    status: str
    cases: tuple[Case, ...] = ()
    mistake: str = ""
    sentence: str = ""

    @property
    def passed(self) -> bool:
        """Whether the exercise is solved."""
        return self.status == PASSED

    def __str__(self) -> str:
        if self.status == UNKNOWN:
            return self.sentence
        lines = [self._headline()]
        if self.mistake:
            lines.append(f"  {self.mistake}")
        for case in self.cases:
            lines.append(f"  {'holds' if case.holds else 'fails'}  {case.what}")
            if case.otherwise and not case.holds:
                lines.append(f"         {case.otherwise}")
        if self.sentence:
            lines.append(f"  {self.sentence}")
        if self._hint_helps():
            lines.append(f'  Stuck? hint("{self.exercise}")')
        return "\n".join(lines)

    __repr__ = __str__

    def _headline(self) -> str:
        name = f"{self.exercise} {self.title}".strip()
        held = sum(case.holds for case in self.cases)
        if self.status == PASSED:
            many = "1 case holds" if len(self.cases) == 1 else f"all {len(self.cases)} cases hold"
            return f"{name}: passed, {many}"
        if self.status == FAILED and held < len(self.cases):
            return f"{name}: not yet, {held} of {len(self.cases)} cases hold"
        return f"{name}: {self.status}"

    def _hint_helps(self) -> bool:
        return self.status in (FAILED, UNWRITTEN)

    def _repr_html_(self) -> str:
        """Return the report as HTML that reads in light and dark themes, without colour too."""
        colour = {PASSED: "#2e7d32", FAILED: "#b26a00"}.get(self.status, "#607d8b")
        parts = [] if self.status == UNKNOWN else [f"<b>{as_html(self._headline())}</b>"]
        if self.mistake:
            parts.append(f"<p style='margin:.4em 0'>{as_html(self.mistake)}</p>")
        if self.cases:
            rows = []
            for case in self.cases:
                mark, word = ("✓", "holds") if case.holds else ("✗", "fails")
                detail = ""
                if case.otherwise and not case.holds:
                    detail = f"<br><span style='opacity:.8'>{as_html(case.otherwise)}</span>"
                rows.append(
                    "<tr><td style='text-align:left;vertical-align:top;white-space:nowrap'>"
                    f"{mark} {word}</td><td style='text-align:left'>{as_html(case.what)}"
                    f"{detail}</td></tr>"
                )
            parts.append(f"<table style='margin:.3em 0'>{''.join(rows)}</table>")
        if self.sentence:
            parts.append(f"<p style='margin:.4em 0'>{as_html(self.sentence)}</p>")
        if self._hint_helps():
            parts.append(f"<div>Stuck? <code>hint(&quot;{self.exercise}&quot;)</code></div>")
        return (
            f"<div style='border-left:4px solid {colour};padding:.3em .8em'>{''.join(parts)}</div>"
        )


def as_html(text: str) -> str:
    """Return a sentence as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


class _Stop(Exception):
    """Ends a check with a sentence for the learner."""

    def __init__(self, sentence: str, status: str = FAILED) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status


@dataclass
class Cases:
    """Records what a check finds, case by case."""

    recorded: list[Case] = field(default_factory=list)
    named: str = ""

    def __call__(self, what: str, holds: object, otherwise: str = "") -> bool:
        """Record a case and return whether it holds.

        Args:
            what: The expectation in words, true of a right answer.
            holds: Whether it is met.
            otherwise: What was found instead, and what that means.
        """
        met = bool(holds)
        self.recorded.append(Case(what, met, "" if met else otherwise))
        return met

    def equal(
        self,
        what: str,
        got: Any,
        expected: Any,
        otherwise: str = "",
        tolerance: float | None = None,
    ) -> bool:
        """Record whether two values are equal (see `compare.difference`), and where they differ.

        Args:
            what: The expectation in words.
            got: The learner's value.
            expected: The truth.
            otherwise: What a difference means; stands before the place of the difference.
            tolerance: How far two numbers may lie apart; without it, rounding errors only.
        """
        text = difference(got, expected, tolerance)
        return self(what, not text, f"{otherwise} ({text})" if otherwise else f"{text}.")

    def mistake(self, when: object, sentence: str) -> bool:
        """Name the misconception where it is recognised; the first one named stays.

        Args:
            when: Whether the answer shows it.
            sentence: What the learner did, and why it hurts.
        """
        recognised = bool(when)
        if recognised and not self.named:
            self.named = sentence
        return recognised

    @property
    def failed(self) -> bool:
        """Whether something recorded so far fails the exercise."""
        return bool(self.named) or not all(case.holds for case in self.recorded)


class Answer:
    """What the learner wrote, by name, guarded.

    Args:
        names: The namespace that holds the learner's objects and the notebook's own.
        task: The exercise.
    """

    def __init__(self, names: Mapping[str, Any], task: Exercise) -> None:
        self._names = names
        self._task = task
        self._left = task.seconds

    def function(self, name: str, returns: Kind = None) -> Callable[..., Any]:
        """Return the learner's function; each call gets copies and may fail only in words.

        Args:
            name: Its name.
            returns: The type, or types, that a right answer returns; None accepts all but None.
        """
        function = self._look_up(name)
        if not callable(function) or isinstance(function, type):
            raise _Stop(f"`{name}` is {kind_in_words(function)}; it should be a function.")

        def guarded(*arguments: Any, **named: Any) -> Any:
            arguments = tuple(private_copy(value) for value in arguments)
            named = {key: private_copy(value) for key, value in named.items()}
            value = self._call(name, function, arguments, named)
            if value is None:
                raise _Stop(
                    f"`{name}` returns nothing (None): does each way through it end with `return`?"
                )
            self._expect_kind(f"`{name}` returns", value, returns)
            return value

        return guarded

    def value(self, name: str, kind: Kind = None) -> Any:
        """Return a copy of a value of the learner's.

        Args:
            name: Its name.
            kind: The type, or types, that a right answer has; None accepts all but None.
        """
        value = self._look_up(name)
        if value is None or value is Ellipsis:
            raise _Stop(f"`{name}` is {value}: give it a value.", UNWRITTEN)
        self._expect_kind(f"`{name}` is", value, kind)
        return private_copy(value)

    def type(self, name: str) -> type:
        """Return a class of the learner's."""
        value = self._look_up(name)
        if not isinstance(value, type):
            raise _Stop(f"`{name}` is {kind_in_words(value)}; it should be a class.")
        return value

    def given(self, name: str) -> Any:
        """Return a copy of something that the notebook's own cells define."""
        if name not in self._names:
            raise _Stop(
                f"`{name}` is not there: run the cells above the exercise first, from the top."
            )
        return private_copy(self._names[name])

    def run(self, what: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call something built from the learner's code (a method, a class), guarded likewise.

        Args:
            what: Its name in the sentence, such as ``Forecaster.predict``.
            function: What to call.
            *arguments: Copied before the call, as are the named ones.
            **named: See there.
        """
        copies = tuple(private_copy(value) for value in arguments)
        return self._call(
            what, function, copies, {key: private_copy(value) for key, value in named.items()}
        )

    def _look_up(self, name: str) -> Any:
        if name in self._names:
            return self._names[name]
        own = [key for key in self._names if not key.startswith("_")]
        nearest = get_close_matches(name, own, n=1, cutoff=0.75)
        also = f" (there is `{nearest[0]}`: is it the same under another name?)" if nearest else ""
        raise _Stop(
            f"`{name}` is not there yet{also}: write it in the cell of exercise "
            f"{self._task.id}, run that cell, then check again.",
            UNWRITTEN,
        )

    def _expect_kind(self, start: str, value: Any, kind: Kind) -> None:
        if kind is None:
            return
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if isinstance(value, _with_numpy(kinds)):
            return
        wanted = " or ".join(kind_in_words(one) for one in kinds)
        raise _Stop(f"{start} {kind_in_words(value)}; expected {wanted}.")

    def _call(
        self,
        name: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        named: dict[str, Any],
    ) -> Any:
        started = time.monotonic()
        try:
            with _time_limit(self._left):
                return function(*arguments, **named)
        except _TooSlow:
            raise _Stop(
                f"`{name}` was stopped: its calls took more than {self._task.seconds:g} s "
                "together. Does a loop never end, or go through the rows one by one?"
            ) from None
        except NotImplementedError as error:
            text = str(error).strip().rstrip(".")
            wanted = text or "put your own code in the place of `raise NotImplementedError()`"
            raise _Stop(f"Still to do: {wanted}.", UNWRITTEN) from None
        except (Exception, SystemExit) as error:
            raise _Stop(_learners_error(name, function, error)) from None
        finally:
            self._left = max(0.05, self._left - (time.monotonic() - started))


def _with_numpy(kinds: tuple[type, ...]) -> tuple[type, ...]:
    """NumPy's own numbers count as Python's."""
    more: list[type] = list(kinds)
    if float in kinds:
        more += [np.floating, np.integer, int]
    if int in kinds:
        more.append(np.integer)
    if bool in kinds:
        more.append(np.bool_)
    return tuple(more)


def private_copy(value: Any) -> Any:
    """Return a copy that can be changed without harm; models, functions, modules stay themselves.

    Copied are tables, arrays, Python's containers and the course's own dataclasses.
    """
    if isinstance(value, pd.DataFrame | pd.Series | pd.Index | np.ndarray):
        return value.copy()
    plain = isinstance(value, list | dict | set | tuple)
    ours = type(value).__module__.startswith("course_lib.") and hasattr(
        value, "__dataclass_fields__"
    )
    if plain or ours:
        try:
            return copy.deepcopy(value)
        except Exception:
            return value
    return value


def _learners_error(name: str, function: Callable[..., Any], error: BaseException) -> str:
    """Say what the learner's code raised, and in which line of their cell."""
    code = getattr(function, "__code__", None) or getattr(
        getattr(function, "__func__", None), "__code__", None
    )
    own_file = code.co_filename if code else None
    line_number, line = 0, ""
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file == own_file or "ipykernel_" in file or file.startswith("<ipython"):
            line_number = step.tb_lineno
            line = linecache.getline(file, line_number).strip()
        step = step.tb_next
    message = (str(error).strip().splitlines() or [""])[0]
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(text) > 300:
        text = text[:297] + "..."
    if isinstance(error, TypeError) and not line_number and "argument" in message:
        return f"`{name}` cannot be called as the exercise says: {message}."
    where = f" in line {line_number} of its cell" if line_number else ""
    shown = f", `{line}`" if line else ""
    return f"`{name}` stopped with an error{where}{shown}: {text}"


class _TooSlow(Exception):
    """The learner's code used up its time."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the code inside after so many seconds; works in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    lock = threading.Lock()
    state = {"over": False, "fired": False}
    # What a shell starts in the background ignores SIGINT, and nothing would be interrupted.
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def fire() -> None:
        with lock:
            if not state["over"]:
                state["fired"] = True
                _thread.interrupt_main()

    timer = threading.Timer(seconds, fire)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                state["over"] = True
            timer.cancel()
            if state["fired"]:
                # the interrupt may still be on its way: let it arrive here, not in other code
                time.sleep(0.05)
    except KeyboardInterrupt:
        if state["fired"]:
            raise _TooSlow from None
        raise
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def check(exercise_id: object, answers: Mapping[str, Any] | None = None) -> Report | None:
    """Check an exercise and return the report, which Jupyter shows.

    Under nbgrader the report is shown, and a failing one raises, so that the cell is graded.

    Args:
        exercise_id: ``"02.1"``.
        answers: The names to look the learner's objects up in; by default the notebook's.
    """
    from course_lib.checks.progress import record

    try:
        task = find(exercise_id)
    except CourseError as error:
        report = Report(str(exercise_id), "", UNKNOWN, sentence=str(error))
    else:
        report = run_check(task, notebook_names() if answers is None else answers)
        if answers is None:
            record(report)
    if "NBGRADER_EXECUTION" not in os.environ:
        return report
    from IPython.display import display

    display(report)
    if not report.passed:
        raise AssertionError(str(report))
    return None


def run_check(task: Exercise, names: Mapping[str, Any]) -> Report:
    """Run one check over a namespace and return its report; never raises.

    Args:
        task: The exercise.
        names: The learner's objects and what the notebook's cells define.
    """
    cases = Cases()
    sentence, status = "", ""
    try:
        task.check(Answer(names, task), cases)
    except _Stop as stop:
        sentence, status = stop.sentence, stop.status
        if cases.recorded or cases.named:
            status = FAILED
    except Exception as error:
        # after a recorded failure the check may meet values that it did not expect
        if not cases.failed:
            status = STUMBLED
            sentence = (
                f"The answer could not be read ({type(error).__name__}: {error}). Has it the shape "
                "and the types that the exercise asks for? If it has, run the cells above and your "
                "own again, from the top."
            )
    if not status:
        solved = bool(cases.recorded) and not cases.failed
        status = PASSED if solved else FAILED
    return Report(task.id, task.title, status, tuple(cases.recorded), cases.named, sentence)


def notebook_names() -> Mapping[str, Any]:
    """Return the names of the running notebook, or of the main module outside IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if isinstance(ipython, types.ModuleType) else None
    if shell is not None:
        return shell.user_ns
    return vars(sys.modules["__main__"])
