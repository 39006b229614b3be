"""Figures in the house style, each with words that say what it shows.

Colours are told apart by people who see colours differently (Okabe and Ito, 2008) and differ
in lightness, so that a figure printed in grey still reads; marks differ in shape as well.
Only drawings that several lessons share live here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from course_lib.errors import CourseError
from course_lib.events import CLOCKS
from course_lib.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: dict[str, str] = {
    "black": "#1a1a1a",
    "blue": "#0b5394",
    "vermilion": "#d55e00",
    "green": "#009e73",
    "orange": "#e69f00",
    "sky": "#7fc4ef",
    "grey": "#8a8a8a",
    "pale": "#e6e6e6",
}
"""House colours by name, from dark to light."""

STYLE: dict[str, object] = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.prop_cycle": None,
    "lines.linewidth": 2.0,
    "lines.markersize": 8,
    "legend.frameon": False,
    "figure.dpi": 96,
}
"""Settings of the house style; `figure` applies them."""

MARKS: dict[str, tuple[str, str, float]] = {
    "view": ("o", "sky", 1.0),
    "search": ("D", "grey", 0.7),
    "favorite": ("h", "orange", 1.2),
    "cart": ("s", "orange", 1.0),
    "remove": ("v", "pale", 1.4),
    "coupon": ("P", "green", 1.0),
    "purchase": ("p", "vermilion", 1.5),
}
"""Marker, colour and relative area of each event type, the same in every lesson."""
_LANES = 8
_NUMBERED = 26  # a longer session has no room for item numbers
_PIXELS_PER_INCH = 96


def _settings() -> dict[str, object]:
    from cycler import cycler

    cycle = cycler(color=[COLOURS[name] for name in ("blue", "vermilion", "green", "orange")])
    return STYLE | {"axes.prop_cycle": cycle + cycler(linestyle=["-", "--", "-.", ":"])}


def figure(
    width: float = 7.5, height: float = 3.6, rows: int = 1, columns: int = 1, **options
) -> tuple[Figure, Axes | np.ndarray]:
    """Return a new figure in the house style and its axes, one or an array [rows, columns].

    Args:
        width: In inches; 7.5 fills a notebook's page.
        height: In inches.
        rows: Rows of axes.
        columns: Columns of axes.
        **options: Passed to matplotlib's ``Figure.subplots``, e.g. ``sharex=True``.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_settings()):
        made = Figure(figsize=(width, height), layout="constrained")
        axes = made.subplots(rows, columns, **options)
    return made, axes


@dataclass(frozen=True)
class _Picture:
    """A picture that a notebook shows, and its words where it cannot be shown."""

    png: bytes
    alt: str
    width: int

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        shown = {"image/png": self.png, "text/plain": self.alt}
        return shown, {"image/png": {"alt": self.alt, "width": self.width}}


def show(figure: Figure, alt: str) -> None:
    """Show a figure, with words that replace it for who cannot see it, and say them under it.

    Args:
        figure: A matplotlib figure; it is closed afterwards.
        alt: One or two sentences that say what the picture shows: what is drawn and what to
            see in it. Compute the numbers in it.

    Raises:
        CourseError: If there are no words, or what is shown is no figure.
    """
    from io import BytesIO

    from IPython.display import Markdown, display

    if not isinstance(alt, str) or not alt.strip():
        raise CourseError("A figure needs alt text: say in a sentence or two what it shows.")
    if not hasattr(figure, "savefig"):
        raise CourseError(f"show needs a matplotlib figure, not {type(figure).__name__}.")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=1.5 * _PIXELS_PER_INCH, metadata={"Software": None})
    width = round(figure.get_figwidth() * _PIXELS_PER_INCH)
    display(_Picture(picture.getvalue(), alt, width))
    display(Markdown(f"*{alt.strip().replace('*', '×')}*"))
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)


# --- how many --------------------------------------------------------------------------------


def bars(counts: pd.Series, xlabel: str, *, log: bool = False) -> Figure:
    """Draw one horizontal bar for each entry of `counts`, the first on top, named by its index.

    Args:
        counts: How many, or which share, [bars].
        xlabel: What is counted.
        log: Draw on a log scale that begins below 1, so that a count of 1 still has a bar.

    Raises:
        CourseError: If there is nothing to draw.
    """
    if not len(counts):
        raise CourseError("There is nothing to draw: no counts.")
    made, axes = figure(height=1.2 + 0.3 * len(counts))
    axes.barh(range(len(counts)), counts, color=COLOURS["blue"])
    axes.set_yticks(range(len(counts)), [str(name) for name in counts.index])
    axes.set_ylim(len(counts) - 0.5, -0.5)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(0.7, 2 * max(counts.max(), 1))
    axes.set_xlabel(f"{xlabel} (log scale)" if log else xlabel)
    axes.tick_params(axis="y", length=0)
    return made


def histogram(
    values: pd.Series,
    xlabel: str,
    ylabel: str,
    *,
    bins: int | np.ndarray = 30,
    log: bool = False,
    shaded: tuple[float, float] | None = None,
) -> Figure:
    """Draw how often values fall into each bin; missing values are left out.

    Args:
        values: Numbers.
        xlabel: What they are, with the unit.
        ylabel: What is counted.
        bins: How many, or their edges.
        log: Draw both axes on a log scale.
        shaded: A stretch of the horizontal axis to shade.
    """
    made, axes = figure(height=2.8)
    axes.hist(values.dropna(), bins=bins, color=COLOURS["sky"], edgecolor=COLOURS["black"])
    if shaded is not None:
        axes.axvspan(*shaded, color=COLOURS["pale"], zorder=0)
    if log:
        axes.set(xscale="log", yscale="log")
        axes.set_ylim(bottom=0.7)
    axes.set(xlabel=xlabel, ylabel=f"{ylabel} (log scale)" if log else ylabel)
    return made


# --- one session ---------------------------------------------------------------------------


def telling_session(log: pd.DataFrame, longest: int = 22) -> object:
    """Return the id of a session worth drawing: many kinds of events, and a late purchase.

    Of the sessions with at most `longest` events (or as short as they come) those with the
    most kinds of events are left, of these the one whose first purchase comes last, then the
    one with the most events.

    Args:
        log: A sorted log with sessions and the log's attrs.
        longest: Events that fit a picture.
    """
    column = log.attrs["event_column"]
    by_session = log.groupby("session_id", sort=False)
    facts = by_session[column].agg(kinds="nunique", events="size")
    place = by_session.cumcount().where(log["event"] == "purchase")
    facts["decided"] = place.groupby(log["session_id"], sort=False).min()
    facts = facts[facts["events"] <= max(longest, facts["events"].min())]
    order = ["kinds", "decided", "events"]
    ordered = facts.sort_values(order, ascending=False, kind="stable", na_position="last")
    return ordered.index[0]


def _lanes(session: pd.DataFrame, column: str) -> tuple[list[str], np.ndarray]:
    """Names of the lanes, from the bottom up, and each row's lane; rare values share `other`."""
    values = session[column].astype("category")
    counts = values.value_counts(sort=False)
    if column == "event":
        known = [name for name in MARKS if name in counts.index]
        names = known + [name for name in counts.index if name not in known]
        names = [name for name in names if counts[name] or len(counts) <= _LANES]
    else:
        names = list(counts[counts > 0].sort_values(ascending=False, kind="stable").index)
    if len(names) > _LANES:
        names = [*names[: _LANES - 1], "other"]
    place = {name: lane for lane, name in enumerate(names)}
    lanes = values.map(lambda name: place.get(name, len(names) - 1), na_action=None)
    return [str(name) for name in names], lanes.to_numpy(np.int64)


def _elapsed(session: pd.DataFrame) -> list[str] | None:
    """Time since the session's first event as ``m:ss``, or None where the clock has no gaps."""
    if session.attrs.get("clock", "time") not in ("time", "session"):
        return None
    seconds = (session["timestamp"] - session["timestamp"].iloc[0]).dt.total_seconds().round()
    return [f"{int(second) // 60}:{int(second) % 60:02d}" for second in seconds]


def session_strip(session: pd.DataFrame, now: int | None = None) -> Figure:
    """Draw one session as a strip: one mark an event, from left to right as it happened.

    Each kind of event has its lane. Where items are known, the number in a mark says which
    item of the session it is, counted in order of appearance, so a return to an item shows as
    its number coming back. Under the axis stands the time since the first event, where the
    log's clock tells it.

    Args:
        session: The rows of one session, [k] rows, in order, with the log's attrs.
        now: Position in the session, from 0: events after it are drawn hollow, behind a
            line, because a forecast made there may not see them.

    Raises:
        CourseError: If the session is empty, or `now` lies outside it.
    """
    if not len(session):
        raise CourseError("There is no session to draw: it has no rows.")
    last = len(session) - 1
    now = last if now is None else now
    if not 0 <= now <= last:
        raise CourseError(f"now is a position from 0 to {last} in this session, not {now}.")
    column = session.attrs.get("event_column", "event")
    names, lanes = _lanes(session, column)
    items = pd.factorize(session["item_id"])[0] + 1 if "item_id" in session else None
    made, axes = figure(height=1.3 + 0.42 * len(names))
    steps = np.arange(len(session))
    axes.plot(steps, lanes, color=COLOURS["pale"], linestyle="-", linewidth=2, zorder=1)
    for lane, name in enumerate(names):
        for seen in (True, False):
            _draw_events(axes, steps[(lanes == lane) & ((steps <= now) == seen)], lane, name, seen)
    if items is not None and len(session) <= _NUMBERED:
        for step in steps[items > 0]:
            tone = COLOURS["black" if step <= now else "grey"]
            place = {"ha": "center", "va": "center_baseline", "fontsize": 10}
            axes.text(step, lanes[step], str(items[step]), color=tone, zorder=3, **place)
    if now < last:
        axes.axvline(now + 0.5, color=COLOURS["black"], linestyle="--", linewidth=1.5)
        for text, side, shift in (("now", "right", -8), ("what comes?", "left", 8)):
            axes.annotate(
                text,
                (now + 0.5, len(names) - 0.45),
                xytext=(shift, 0),
                textcoords="offset points",
                ha=side,
                va="bottom",
                fontsize=12,
            )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(-0.7, last + 0.7)
    _label_steps(axes, session)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    return made


def _draw_events(axes: Axes, steps: np.ndarray, lane: int, name: str, seen: bool) -> None:
    """Draw the marks of one lane, filled if they are seen, hollow if they are still to come."""
    marker, colour, scale = MARKS.get(name, ("o", "sky", 1.0))
    axes.scatter(
        steps,
        np.full(len(steps), lane),
        s=scale * (330 if axes.get_lines()[0].get_xdata().size <= _NUMBERED else 120),
        marker=marker,
        color=COLOURS[colour] if seen else "white",
        edgecolor=COLOURS["black" if seen else "grey"],
        linewidth=1,
        zorder=2,
    )


def _label_steps(axes: Axes, session: pd.DataFrame) -> None:
    every = max(1, -(-len(session) // 9))
    ticks = np.arange(0, len(session), every)
    elapsed = _elapsed(session)
    if elapsed is None:
        axes.set_xticks(ticks, [str(tick + 1) for tick in ticks])
        axes.set_xlabel("event number in the session")
    else:
        axes.set_xticks(ticks, [elapsed[tick] for tick in ticks])
        axes.set_xlabel("time since the first event (min:s), one mark an event")


def session_words(session: pd.DataFrame, now: int | None = None) -> str:
    """Say in words what `session_strip` draws: its alt text. Arguments as there."""
    column = session.attrs.get("event_column", "event")
    counts = session[column].value_counts()
    counts = counts[counts > 0]
    kinds = ", ".join(f"{name} {count}" for name, count in counts.head(_LANES).items())
    if len(counts) > _LANES:
        kinds += f" and {len(counts) - _LANES} other kinds"
    words = f"A session of {len(session)} events from left to right: {kinds}."
    elapsed = _elapsed(session)
    if elapsed is None:
        clock = CLOCKS[session.attrs["clock"]]
        words += f" Its events are evenly spaced, because the log knows {clock}."
    else:
        words += f" It lasts {elapsed[-1]} (min:s)."
    if "item_id" in session and session["item_id"].notna().any():
        items = session["item_id"].dropna()
        returns = int((items.duplicated() & items.ne(items.shift())).sum())
        often = "once" if returns == 1 else f"{returns} times"
        words += f" It touches {items.nunique()} items and goes back to an earlier one {often}."
    if now is not None and now < len(session) - 1:
        words += (
            f" A line after event {now + 1} marks the present; the {len(session) - 1 - now} "
            "events after it are hollow: a forecast may not see them."
        )
    return words


# --- scores with intervals -----------------------------------------------------------------


def interval_plot(
    scores: Mapping[str, Interval],
    *,
    xlabel: str,
    kinds: Sequence[str] | None = None,
    lines: Mapping[str, float] | None = None,
) -> Figure:
    """Draw scores with their intervals, one row each, first on top.

    A score far from all others would squeeze them together; it is drawn as an arrow at the
    edge with its value beside it.

    Args:
        scores: Name to score.
        xlabel: What the scores are, with the better direction.
        kinds: For each score ``"baseline"``, ``"model"`` or ``"best"``: hollow circle, filled
            circle, diamond.
        lines: Label to position of vertical lines: the first dashed, the second solid; the
            stretch between two of them is shaded.

    Raises:
        CourseError: If there are no scores.
    """
    if not scores:
        raise CourseError("There is nothing to draw: no scores yet.")
    names, intervals = list(scores), list(scores.values())
    kinds = list(kinds) if kinds is not None else ["model"] * len(names)
    low, high = _window([score.value for score in intervals], intervals)
    made, axes = figure(height=1.5 + 0.5 * len(names))
    _draw_lines(axes, dict(lines or {}), (low, high))
    for row, (score, kind) in enumerate(zip(intervals, kinds, strict=True)):
        _draw_score(axes, row, score, kind, (low, high))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.7)
    axes.set_xlim(low, high)
    axes.set_xlabel(xlabel)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return made


def _window(values: list[float], intervals: Sequence[Interval]) -> tuple[float, float]:
    """The stretch of the axis that holds all scores but the outlying ones."""
    middle = float(np.median(values))
    spread = sorted(abs(value - middle) for value in values)[len(values) // 2] or 1e-3
    near = [score for score in intervals if abs(score.value - middle) <= 12 * spread]
    low, high = min(score.low for score in near), max(score.high for score in near)
    margin = 0.12 * (high - low or 1.0)
    return low - margin, high + 2.2 * margin


def _draw_lines(axes: Axes, lines: dict[str, float], window: tuple[float, float]) -> None:
    inside = {label: at for label, at in lines.items() if window[0] <= at <= window[1]}
    if len(inside) == 2:
        axes.axvspan(*sorted(inside.values()), color=COLOURS["pale"], alpha=0.6, linewidth=0)
    centre = sum(window) / 2
    apart = max(inside.values(), default=0) - min(inside.values(), default=0)
    close = len(inside) == 2 and 0 < apart < 0.38 * (window[1] - window[0])
    for place, (label, at) in enumerate(inside.items()):
        axes.axvline(at, color=COLOURS["black"], linewidth=1.2, linestyle=("--", "-")[place % 2])
        side = "left" if at <= centre else "right"
        if close:  # labels point away from each other
            side = "right" if at == min(inside.values()) else "left"
        axes.annotate(
            label,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            ha=side,
            va="bottom",
            xytext=(-4 if (side == "left") != close else 4, 2),
            textcoords="offset points",
            fontsize=12,
        )


def _draw_score(
    axes: Axes, row: int, score: Interval, kind: str, window: tuple[float, float]
) -> None:
    from matplotlib.patheffects import withStroke

    text = {"va": "center", "fontsize": 12}
    if not window[0] <= score.value <= window[1]:
        beyond = score.value > window[1]
        edge = window[1] if beyond else window[0]
        axes.annotate(
            f"{score.value:.3g}",
            (edge, row),
            xytext=(-46 if beyond else 46, 0),
            textcoords="offset points",
            ha="right" if beyond else "left",
            arrowprops={"arrowstyle": "->", "shrinkB": 0, "linewidth": 2, "color": COLOURS["grey"]},
            **text,
        )
        return
    colour = COLOURS[{"baseline": "grey", "best": "vermilion"}.get(kind, "blue")]
    axes.plot([score.low, score.high], [row, row], color=colour, linestyle="-", linewidth=3)
    axes.plot(
        [score.value],
        [row],
        marker="D" if kind == "best" else "o",
        markersize=9,
        color=colour,
        markerfacecolor="white" if kind == "baseline" else colour,
        markeredgewidth=2,
        linestyle="none",
    )
    halo = withStroke(linewidth=5, foreground="white")  # so that a line may pass behind it
    axes.annotate(
        f"{score.value:.3f}",
        (score.high, row),
        xytext=(9, 0),
        textcoords="offset points",
        path_effects=[halo],
        **text,
    )
