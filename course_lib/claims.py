"""Claims: a lesson's take-aways as statements that check themselves each time it runs.

On the default log a claim must hold, or the notebook fails. On another log it may fail: it
then says that it does not hold here, and a run's report lists it (`course_lib.runs`). The
numbers behind a claim travel in the output's metadata, not in its text, so that a text
compared from run to run stays the same while the numbers move.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from course_lib.errors import CourseError

MUST_HOLD_ON = "shopworld"
"""The log on which every claim must hold."""
METADATA_KEY = "course_claim"
"""Key of the output metadata that holds text, holds, evidence, dataset and must_hold."""


class ClaimFailed(AssertionError):
    """A claim that must hold on this log does not."""


@dataclass(frozen=True)
class Verdict:
    """What a claim came to: shown as one line, with the facts in the output's metadata."""

    text: str
    holds: bool
    evidence: str
    dataset: str
    must_hold: bool

    def __repr__(self) -> str:
        return f"{self._outcome}: {self.text}"

    @property
    def _outcome(self) -> str:
        return "holds" if self.holds else "does not hold here"

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        shown = {"text/plain": repr(self), "text/markdown": f"**{self._outcome}:** {self.text}"}
        return shown, {METADATA_KEY: asdict(self)}


@dataclass(frozen=True)
class Claims:
    """Checks claims on one log; made by `claims_for`.

    Attributes:
        dataset: Name of the log that the claims are about.
    """

    dataset: str

    @property
    def must_hold(self) -> bool:
        """Whether a claim that fails here is an error."""
        return self.dataset == MUST_HOLD_ON

    def __call__(self, text: str, condition: bool, evidence: str = "") -> None:
        """State a claim, show whether it holds, and fail where it must hold and does not.

        Args:
            text: The claim as a sentence, without measured numbers.
            condition: Whether it holds.
            evidence: The numbers that decide it, for the report.

        Raises:
            ClaimFailed: If it does not hold on the log where it must.
            CourseError: If the text is empty, or the condition no single yes or no.
        """
        from IPython.display import display

        if not isinstance(text, str) or not text.strip():
            raise CourseError("A claim needs words: say in one sentence what should hold.")
        if not isinstance(condition, bool | np.bool_):
            raise CourseError(
                f"Claim {text!r} has the condition {condition!r}: it must be a single True or "
                "False, so compare two numbers."
            )
        verdict = Verdict(text, bool(condition), str(evidence), self.dataset, self.must_hold)
        display(verdict)
        if self.must_hold and not verdict.holds:
            because = f" ({evidence})" if evidence else ""
            raise ClaimFailed(f"Does not hold on {self.dataset}, where it must: {text}{because}.")


def claims_for(dataset: str) -> Claims:
    """Return what checks claims on one log; lessons call it ``claim``.

    Args:
        dataset: Name of the log that the lesson runs on, its parameter ``dataset``.
    """
    return Claims(str(dataset))
