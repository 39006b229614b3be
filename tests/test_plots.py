"""A figure carries its words, and a session's strip hides nothing and reveals nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from course_lib.errors import CourseError
from course_lib.metrics import Interval
from course_lib.plots import COLOURS, figure, interval_plot, session_strip, session_words, show


@pytest.fixture
def session() -> pd.DataFrame:
    session = pd.DataFrame(
        {
            "timestamp": pd.Timestamp("2026-03-01 10:00", tz="UTC")
            + pd.to_timedelta([0, 20, 75, 130, 600], unit="s"),
            "event": pd.Categorical(
                ["view", "search", "view", "cart", "purchase"],
                ["view", "search", "cart", "remove", "purchase"],
            ),
            "item_id": pd.Categorical(["pan", None, "pot", "pot", "pot"]),
        }
    )
    session.attrs.update(clock="time")
    return session


def test_show_displays_picture_and_words(monkeypatch):
    displayed = []
    monkeypatch.setattr("IPython.display.display", displayed.append)
    drawing, _ = figure()
    show(drawing, "Two lines that cross.")
    data, metadata = displayed[0]._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert data["text/plain"] == "Two lines that cross."
    assert metadata["image/png"]["alt"] == "Two lines that cross."
    assert displayed[1].data == "*Two lines that cross.*"


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_a_figure_without_words_is_refused(alt):
    with pytest.raises(CourseError, match="alt text"):
        show(figure()[0], alt)


def test_colours_differ_in_grey():
    def lightness(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    ladder = sorted(lightness(COLOURS[name]) for name in ("black", "blue", "vermilion", "sky"))
    assert min(np.diff(np.sqrt(ladder))) > 0.1


def test_strip_numbers_items_and_shows_elapsed_time(session):
    axes = session_strip(session).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2", "2", "2"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "0:00", "0:20", "1:15", "2:10", "10:00",
    ]  # fmt: skip
    words = session_words(session)
    assert "5 events" in words
    assert "2 items and goes back to an earlier one 0 times" in words


def test_what_comes_after_now_is_hollow(session):
    axes = session_strip(session, now=2).axes[0]
    filled = {
        offset[0]
        for marks in axes.collections
        if marks.get_facecolor().size and tuple(marks.get_facecolor()[0]) != (1, 1, 1, 1)
        for offset in marks.get_offsets().tolist()
    }
    assert filled == {0, 1, 2}
    assert "the 2 events after it are hollow" in session_words(session, now=2)
    with pytest.raises(CourseError, match="from 0 to 4"):
        session_strip(session, now=5)


def test_strip_of_a_log_without_gaps_and_with_many_kinds():
    many = [f"kind {number}" for number in range(12)]
    session = pd.DataFrame({"category_id": pd.Categorical(many * 4)})
    session.attrs.update(clock="order", event_column="category_id")
    axes = session_strip(session, now=3).axes[0]
    assert axes.get_yticklabels()[-1].get_text() == "other"
    assert axes.get_xlabel() == "event number in the session"
    assert "4 other kinds" in session_words(session)


def test_an_outlying_score_becomes_an_arrow_and_squeezes_nothing():
    near = {
        f"model {i}": Interval(1 + i / 100, 0.99 + i / 100, 1.01 + i / 100, 9, 9) for i in (1, 2, 3)
    }
    axes = interval_plot(
        near | {"majority": Interval(20.0, 19.0, 21.0, 9, 9)},
        xlabel="log-loss",
        lines={"best baseline": 1.02, "best possible": 1.01},
    ).axes[0]
    assert axes.get_xlim()[1] < 1.2
    assert "20" in {text.get_text() for text in axes.texts}
