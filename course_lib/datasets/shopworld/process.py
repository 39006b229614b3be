"""The event process: hidden intents switch, events follow, marks are left behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from course_lib.datasets.shopworld.visits import Visits, visitor_history
from course_lib.datasets.shopworld.world import (
    BOUGHT_BEFORE,
    CART,
    LEAVE,
    MAX_GAP,
    MIN_GAP,
    PURCHASE,
    VIEW,
    World,
)

PLAIN_PROMOTED = 0.18
"""Odds that an item is on promotion where the intent has no say in it."""


class Lottery:
    """Draws from the rows of a table of odds, one draw an entry, with one binary search.

    Row r's cumulative odds are stored shifted by r, so that all rows together form one
    increasing sequence and ``searchsorted(r + uniform)`` finds the row and the draw at once.
    """

    def __init__(self, odds: np.ndarray) -> None:
        """Prepare a table ``odds`` [rows, choices] whose rows sum to one."""
        rows, self.choices = odds.shape
        cumulative = np.cumsum(odds, axis=1)
        cumulative /= cumulative[:, -1:]
        self.edges = (cumulative + np.arange(rows)[:, None]).ravel()

    def draw(self, row: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Draw one choice for each entry: int64 of the shape of ``row``."""
        place = np.searchsorted(self.edges, row + uniform, side="right")
        return np.minimum(place - row * self.choices, self.choices - 1)


@dataclass(frozen=True)
class Events:
    """Simulated events, session by session, n rows in all.

    Attributes:
        start: First row of each session, int64 [sessions + 1] (the last entry is n).
        session: Session of each row, int64 [n].
        event: Event of each row, a position in `world.EVENTS`, int8 [n].
        state: Visible state after the row, int16 [n].
        intent: Hidden intent that led to the row, int8 [n].
        history: Visitor history of each session, int64 [sessions].
    """

    start: np.ndarray
    session: np.ndarray
    event: np.ndarray
    state: np.ndarray
    intent: np.ndarray
    history: np.ndarray


def draw_events(
    world: World, visits: Visits, promotion_day: np.ndarray, rng: np.random.Generator
) -> Events:
    """Simulate every session's events.

    A session's first intent depends on whether its user has bought before, that is on the
    sessions before it. To simulate all sessions at once we first take it that nobody has
    bought, look who did, and simulate again only those later sessions whose first intent,
    drawn with the same random number, now comes out differently. Everything else in a
    session depends on its first intent alone, so the result has exactly the right law.

    Args:
        world: The rules.
        visits: The sessions, in the order of user and time.
        promotion_day: Whether each session falls on a promotion day, bool [sessions].
        rng: Source of chance.
    """
    first_intents = Lottery(world.start_odds.reshape(-1, len(world.intents)))
    luck = rng.random(len(visits.user))
    history = visitor_history(visits.user, np.zeros(len(visits.user), dtype=bool))
    intent = first_intents.draw(history * 2 + promotion_day, luck)
    steps = _run(world, np.arange(len(intent)), intent, rng)

    bought = np.zeros(len(intent), dtype=bool)
    bought[steps["session"][steps["event"] == PURCHASE]] = True
    history = visitor_history(visits.user, bought)
    intent_now = first_intents.draw(history * 2 + promotion_day, luck)
    changed = intent_now != intent
    if changed.any():
        kept = ~changed[steps["session"]]
        again = _run(world, np.flatnonzero(changed), intent_now[changed], rng)
        steps = {name: np.concatenate([steps[name][kept], again[name]]) for name in steps}
    return _by_session(steps, history)


def _run(
    world: World, session: np.ndarray, intent: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Run sessions step by step, all at once, until the last shopper has left.

    Args:
        world: The rules.
        session: Numbers of the sessions to run, at least one, [sessions].
        intent: The intent that each starts with, [sessions].
        rng: Source of chance.

    Returns:
        Columns session, step, event, state, intent; one entry an event, ordered by step.
    """
    next_events = Lottery(world.odds.reshape(-1, LEAVE + 1))
    switches = Lottery(world.switch)
    event = Lottery(world.first).draw(intent, rng.random(len(intent)))
    state = world.first_state[event]
    columns: dict[str, list[np.ndarray]] = {
        name: [] for name in ("session", "step", "event", "state", "intent")
    }
    step = 0
    while len(session):
        columns["session"].append(session)
        columns["step"].append(np.full(len(session), step, dtype=np.int32))
        columns["event"].append(event.astype(np.int8))
        columns["state"].append(state.astype(np.int16))
        columns["intent"].append(intent.astype(np.int8))
        intent = switches.draw(intent, rng.random(len(session)))
        outcome = next_events.draw(intent * world.states + state, rng.random(len(session)))
        stays = outcome != LEAVE
        session, intent, event = session[stays], intent[stays], outcome[stays]
        state = world.next_state[state[stays], event]
        step += 1
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _by_session(steps: dict[str, np.ndarray], history: np.ndarray) -> Events:
    """Reorder events from step by step to session by session."""
    length = np.bincount(steps["session"], minlength=len(history))
    start = np.concatenate([[0], np.cumsum(length)])
    row = start[steps["session"]] + steps["step"]
    ordered = {}
    for name in ("session", "event", "state", "intent"):
        ordered[name] = np.empty_like(steps[name])
        ordered[name][row] = steps[name]
    return Events(start=start, history=history, **ordered)


def draw_gaps(world: World, events: Events, rng: np.random.Generator) -> np.ndarray:
    """Draw the whole seconds since the event before, 0 on the first of a session: int64 [n].

    By inversion: a uniform number between the lognormal's distribution function at MIN_GAP
    and at MAX_GAP is sent back through it, and the time found is rounded down.
    """
    cell = events.intent * np.int16(world.gap_mean.shape[1]) + events.event
    mean = world.gap_mean.ravel()
    low = ndtr((np.log(MIN_GAP) - mean) / world.gap_sigma)
    high = ndtr((np.log(MAX_GAP) - mean) / world.gap_sigma)
    level = low[cell] + (high - low)[cell] * rng.random(len(cell))
    seconds = np.exp(mean[cell] + world.gap_sigma * ndtri(level))
    gap = np.clip(seconds.astype(np.int64), MIN_GAP, MAX_GAP - 1)
    gap[events.start[:-1]] = 0
    return gap


@dataclass(frozen=True)
class Marks:
    """What shows of an item before it is known which item it is, n rows.

    Attributes:
        introduces: The row shows an item that the session has not seen, bool [n].
        seen: How many different items the session saw before the row, int64 [n].
        promoted: An introduced item is on promotion, bool [n].
    """

    introduces: np.ndarray
    seen: np.ndarray
    promoted: np.ndarray


def draw_marks(world: World, events: Events, rng: np.random.Generator) -> Marks:
    """Draw which views go back to an item seen before and which new items are on promotion."""
    is_view = events.event == VIEW
    goes_back = rng.random(len(is_view)) < world.revisit[events.intent]
    introduces, seen = introductions(world, events, is_view & ~goes_back)
    free_of_intent = ~is_view | ((seen == 0) & (events.history[events.session] == BOUGHT_BEFORE))
    odds = np.where(free_of_intent, PLAIN_PROMOTED, world.promoted[events.intent])
    return Marks(introduces, seen, introduces & (rng.random(len(odds)) < odds))


def introductions(
    world: World, events: Events, wishes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn the wish to see something new into rows that do, and count them as they go.

    The first view or cart event of a session has nothing to go back to, so it introduces an
    item whatever the wish; once `most_items` are known, no row introduces another.

    Args:
        world: The rules.
        events: The simulated events, n rows.
        wishes: Whether the row would introduce an item, bool [n].

    Returns:
        introduces bool [n] and seen int64 [n], as in `Marks`.
    """
    has_item = (events.event == VIEW) | (events.event == CART)
    rows = np.flatnonzero(has_item)
    first = np.diff(events.session[rows], prepend=-1) > 0
    introduces = wishes & has_item
    introduces[rows[first]] = True
    seen = _count_before(introduces, events)
    introduces &= seen < world.most_items
    return introduces, np.minimum(seen, world.most_items)


def _count_before(flag: np.ndarray, events: Events) -> np.ndarray:
    """Count the flagged rows of the session before each row, int64 [n]."""
    before = np.cumsum(flag) - flag
    return before - before[events.start[:-1]][events.session]
