"""Lesson 04 under papermill: another seed, every log, and no TensorFlow."""

from __future__ import annotations

import pytest
from lesson_runs import ROOT, assert_runs, forbid_tensorflow, logs_for

from course_lib.errors import CourseError
from course_lib.runs.parameters import read_parameters


@pytest.mark.parametrize("dataset", logs_for("04"))
def test_lesson_04(dataset, tmp_path, monkeypatch):
    trace = forbid_tensorflow(tmp_path, monkeypatch)
    claims = assert_runs("04", dataset, tmp_path, questions=2_000)
    assert not trace.exists(), "lesson 04 asked for TensorFlow or Keras"
    checks = {text: holds for text, holds in claims.items() if text.endswith("the library's")}
    assert len(checks) >= 9
    for text, holds in checks.items():
        assert holds, f"{text}, on {dataset}"


@pytest.mark.parametrize("given", ["orders=5", "k=9", "prefix=0", "questions=1999"])
def test_values_for_which_claims_could_not_hold_are_refused(given):
    name, value = given.split("=")
    declared = read_parameters(ROOT / "notebooks" / "04_baselines_and_metrics.ipynb")
    with pytest.raises(CourseError, match="must be at least"):
        declared[name].parse(value)
