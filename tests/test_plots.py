"""A figure carries its words, and a session's strip hides nothing and reveals nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from course_lib.errors import CourseError
from course_lib.metrics import Interval
from course_lib.plots import (
    COLOURS,
    bars,
    figure,
    histogram,
    interval_plot,
    session_strip,
    session_words,
    show,
    telling_session,
)


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


def test_bars_on_a_log_scale_show_a_count_of_one():
    counts = pd.Series({"1970-01": 1, "2025-01": 100_000})
    axes = bars(counts, "events", log=True).axes[0]
    left, right = axes.get_xlim()
    assert 0 < left < 1 and right > 100_000
    assert [text.get_text() for text in axes.get_yticklabels()] == list(counts.index)
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first is on top"
    with pytest.raises(CourseError, match="nothing to draw"):
        bars(counts[:0], "events")


def test_histogram_counts_each_value_once_and_leaves_missing_ones_out():
    values = pd.Series([0.0, 0.2, 1.0, np.nan])
    axes = histogram(values, "seconds", "rows", bins=np.arange(-0.5, 2), shaded=(0, 1)).axes[0]
    heights = [patch.get_height() for patch in axes.patches if patch.get_width() == 1]
    assert heights[:2] == [2, 1]
    assert axes.get_xlabel() == "seconds"


def test_telling_session_decides_late_and_fits_the_picture():
    kinds = {
        "long": ["view", "cart", "remove", "search", "purchase"],
        "early": ["purchase", "cart", "view", "view"],
        "late": ["view", "view", "cart", "purchase"],
        "dull": ["view"],
    }
    rows = [(session, event) for session, events in kinds.items() for event in events]
    log = pd.DataFrame(rows, columns=["session_id", "event"])
    log.attrs["event_column"] = "event"
    assert telling_session(log, longest=4) == "late"
    assert telling_session(log[log["session_id"] == "long"], longest=4) == "long"
