"""A claim holds, does not hold here, or stops the notebook, and leaves its facts behind."""

from __future__ import annotations

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from course_lib.claims import METADATA_KEY, ClaimFailed, claims_for
from course_lib.errors import CourseError


def run_notebook(*cells: str):
    """Execute cells in a fresh kernel; returns the notebook and the error that stopped it."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    try:
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    except CellExecutionError as error:
        return notebook, error
    return notebook, None


def claim_cell(dataset: str, condition: str) -> str:
    return (
        "from course_lib.claims import claims_for\n"
        f"claim = claims_for({dataset!r})\n"
        f"claim('gates keep what SimpleRNN forgets', {condition}, evidence='0.48 below 0.89')"
    )


def test_a_false_claim_on_shopworld_fails_the_notebook_and_elsewhere_is_recorded():
    notebook, error = run_notebook(
        claim_cell("shopworld", "1 < 2"),
        claim_cell("jd", "1 > 2"),
        claim_cell("shopworld", "1 > 2"),
        "print('never reached')",
    )
    assert "ClaimFailed" in str(error)
    assert "gates keep what SimpleRNN forgets (0.48 below 0.89)" in str(error)
    outputs = [output for cell in notebook.cells for output in cell.outputs]
    shown = [output.data["text/plain"] for output in outputs if "data" in output]
    assert shown == [
        "holds: gates keep what SimpleRNN forgets",
        "does not hold here: gates keep what SimpleRNN forgets",
        "does not hold here: gates keep what SimpleRNN forgets",
    ]
    facts = [output.metadata[METADATA_KEY] for output in outputs if "data" in output]
    assert facts[1] == {
        "text": "gates keep what SimpleRNN forgets",
        "holds": False,
        "evidence": "0.48 below 0.89",
        "dataset": "jd",
        "must_hold": False,
    }
    assert [fact["holds"] for fact in facts] == [True, False, False]
    assert not notebook.cells[3].outputs


def test_evidence_stays_out_of_what_is_compared(capsys):
    claims_for("eshop")("counting beats guessing", np.bool_(True), evidence="1.0861")
    assert capsys.readouterr().out == "holds: counting beats guessing\n"


def test_undecidable_comparisons_do_not_hold():
    with pytest.raises(ClaimFailed):
        claims_for("shopworld")("a score exists", float("nan") > 0)


@pytest.mark.parametrize("condition", [1, 0.5, None, "yes", np.array([True]), np.array([1, 2])])
def test_a_condition_is_a_single_yes_or_no(condition):
    with pytest.raises(CourseError, match="single True or False"):
        claims_for("eshop")("something", condition)


def test_a_claim_needs_words():
    with pytest.raises(CourseError, match="needs words"):
        claims_for("eshop")(" ", True)
