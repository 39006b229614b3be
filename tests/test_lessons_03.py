"""Lesson 03 under papermill: another seed, every log, with ShopWorld where one lacks something."""

from __future__ import annotations

import pytest
from lesson_runs import assert_runs, forbid_tensorflow, logs_for

ALWAYS = ("what happens after a row", "the audit", "chosen on all sessions", "what a circle")
"""Beginnings of claims that ask nothing of a log but that the section can run on it."""


@pytest.mark.parametrize("dataset", logs_for("03"))
def test_lesson_03(dataset, tmp_path, monkeypatch):
    trace = forbid_tensorflow(tmp_path, monkeypatch)
    claims = assert_runs("03", dataset, tmp_path, dimensions=8, dice=1_000)
    assert not trace.exists(), "lesson 03 asked for TensorFlow or Keras"
    hours_are_known = dataset not in ("rees46",)  # that log is three hours long
    for text, holds in claims.items():
        if text.startswith(ALWAYS) and (hours_are_known or not text.startswith("what a circle")):
            assert holds, text
