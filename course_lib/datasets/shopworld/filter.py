r"""The oracle: the exact probability of what comes next, given what the shop could see.

The intent is hidden, so the oracle carries a **belief**: the probability of each intent,
given everything seen so far. When row t shows event :math:`y_t` in visible state
:math:`s_{t-1}`, and marks :math:`m_t` with it, Bayes' rule says

.. math::
    b_t(z) \propto \Big(\sum_{z'} b_{t-1}(z')\, \mathrm{switch}(z', z)\Big)
        \; E(z, s_{t-1}, y_t) \; P(m_t \mid z, y_t)

where E is the table of odds of `World`. The first row of a session starts from the prior of
the first intent and the table of first events instead. What comes after row t then has

.. math::
    P(y_{t+1} = y) = \sum_z \Big(\sum_{z'} b_t(z')\, \mathrm{switch}(z', z)\Big) E(z, s_t, y).

The state :math:`s_t` is a function of the events up to t, so four numbers a session are all
that has to be carried along. This is the forward pass of a hidden Markov model whose
emissions also depend on a visible state (Rabiner, "A tutorial on hidden Markov models",
1989). Marks multiply in their likelihood and change nothing else, because no event ever
depends on them.

Whether a purchase follows later in the session is a question about all futures at once. Let
V(z, s) be its probability when the next event is about to come from intent z in state s.
One step ahead it satisfies

.. math::
    V(z, s) = E(z, s, \mathrm{purchase}) + \sum_{y \neq \mathrm{purchase, leave}}
        E(z, s, y) \sum_{z'} \mathrm{switch}(z, z')\, V(z', s \to y)

which is a linear system with one unknown a pair (z, s): 240 for the default world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.datasets.shopworld.visits import DAY_SECONDS, visitor_history
from course_lib.datasets.shopworld.world import (
    BOUGHT_BEFORE,
    CART,
    COUPON,
    EVENTS,
    LEAVE,
    MAX_GAP,
    MIN_GAP,
    PURCHASE,
    VIEW,
    World,
)
from course_lib.errors import CourseError, unknown_name

GIVEN = ("events", "everything")
CHUNK = 65_536


@dataclass(frozen=True)
class Steps:
    """The rows of a log in the order in which the filter visits them, n in all.

    First the first row of every session, longest session first, then every second row, and
    so on: the rows of one step lie side by side, and the sessions that go on come first.

    Attributes:
        row: Row of the log at each place, int64 [n].
        start: First place of each step, int64 [steps + 1].
        event: Event at each place, int64 [n].
        session: Sessions, counted in the log's order, from the longest on, int64 [sessions].
    """

    row: np.ndarray
    start: np.ndarray
    event: np.ndarray
    session: np.ndarray


def oracle(log: pd.DataFrame, world: World, given: str = "events") -> pd.DataFrame:
    """Return the exact odds of what follows each row in its session.

    Row i knows the rows of its session up to and including i. An event that the world calls
    impossible (left behind by imperfect cleaning) teaches nothing and leaves the belief as it
    was. A session whose earlier visits were cut from the log looks like a first visit, so
    ask about the whole log and select rows afterwards.

    Args:
        log: A clean ShopWorld log, n rows sorted by user and time, with session_id.
        world: The rules that it came from, `Simulation.world`.
        given: ``"events"`` sees the types of events only, and expects the average visitor of
            this log; ``"everything"`` also sees the gaps, which items are viewed and whether
            they are on promotion, who is visiting and on which day.

    Returns:
        DataFrame indexed like ``log``: a float64 column for each of `world.outcomes`, which
        sum to one, and purchase_later, the probability that a purchase follows in the session.

    Raises:
        CourseError: If the log lacks a column or a session's rows are not side by side.
    """
    if given not in GIVEN:
        raise unknown_name("evidence", given, GIVEN)
    needed = ["session_id", "event", "user_id", "timestamp"]
    needed += ["item_id", "promotion"] if given == "everything" else []
    missing = [column for column in needed if column not in log]
    if missing:
        raise CourseError(f"The oracle needs column {missing[0]!r}, which this log lacks.")
    begin, session = _sessions(log)
    event = _event_numbers(log)
    prior, history = _first_intent_odds(log, world, begin, event)
    likelihood = None
    if given == "events":
        prior = np.broadcast_to(prior.mean(axis=0), prior.shape)
    else:
        likelihood = _mark_odds(log, world, begin, session, event, history)
    steps = _steps(begin, event)
    belief, state = _filter(world, steps, prior, likelihood)
    table = np.empty((len(log), LEAVE + 2))
    table[steps.row] = _forecast(world, belief, state)
    return pd.DataFrame(table, index=log.index, columns=[*world.outcomes, "purchase_later"])


def far_back(log: pd.DataFrame, distance: int = 15) -> np.ndarray:
    """Mark the rows whose next event has a cause far back: an active coupon seen long ago.

    Args:
        log: A clean log with session_id, n rows.
        distance: How many events ago the coupon must have been seen, or more.

    Returns:
        bool [n]: a coupon was seen more than ``distance`` events before the row and no
        purchase of the session has used it up since.
    """
    begin, session = _sessions(log)
    event = _event_numbers(log)
    rows = np.arange(len(event))
    purchase = np.maximum.accumulate(np.where(event == PURCHASE, rows, -1))
    fresh_from = np.maximum(begin[:-1][session], purchase + 1)
    coupons = np.append(np.flatnonzero(event == COUPON), len(event))
    seen = coupons[np.searchsorted(coupons, fresh_from)]
    return seen + distance < rows


def _sessions(log: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """First row of each session (and the number of rows at the end), and session of each row."""
    if "session_id" not in log:
        raise CourseError("This log has no session_id: use assign_sessions(log) first.")
    code = log["session_id"].to_numpy()
    changes = np.ones(len(code), dtype=bool)
    changes[1:] = code[1:] != code[:-1]
    begin = np.append(np.flatnonzero(changes), len(code))
    if len(begin) - 1 != log["session_id"].nunique():
        raise CourseError("The rows of a session do not lie side by side: use sort_log(log) first.")
    return begin, np.cumsum(changes) - 1


def _seconds(timestamp: pd.Series) -> np.ndarray:
    """Whole seconds since 1970, int64 like ``timestamp``."""
    return timestamp.to_numpy(dtype="datetime64[us]").view(np.int64) // 1_000_000


def _event_numbers(log: pd.DataFrame) -> np.ndarray:
    """Positions of the log's events in `EVENTS`, int64 [n]."""
    column = log["event"].astype("category")
    strange = [name for name in column.cat.categories if name not in EVENTS]
    if strange and column.isin(strange).any():
        raise CourseError(f"ShopWorld knows no event {strange[0]!r}: is this its log?")
    numbers = pd.Index(EVENTS).get_indexer(column.cat.categories)
    return numbers[column.cat.codes]


def _first_intent_odds(
    log: pd.DataFrame, world: World, begin: np.ndarray, event: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Prior of each session's first intent [sessions, Z] and its visitor's history [sessions]."""
    first = begin[:-1]
    bought = np.add.reduceat(event == PURCHASE, first) > 0
    user = pd.factorize(log["user_id"].iloc[first])[0]
    history = visitor_history(user, bought)
    second = _seconds(log["timestamp"].iloc[first])
    start = np.datetime64(world.start, "s").astype(np.int64)
    day = (second - start) // DAY_SECONDS
    calendar = np.append(world.promotion_days, False)
    known = (day >= 0) & (day < len(calendar) - 1)
    promotion_day = calendar[np.where(known, day, -1)]
    return world.start_odds[history, promotion_day.astype(np.int64)], history


def _mark_odds(
    log: pd.DataFrame,
    world: World,
    begin: np.ndarray,
    session: np.ndarray,
    event: np.ndarray,
    history: np.ndarray,
) -> np.ndarray:
    """P(marks of the row | intent, event), float64 [n, Z]; 1 where nothing can be learnt."""
    gap = np.diff(_seconds(log["timestamp"]), prepend=0)
    gap[begin[:-1]] = 0
    gap_odds = world.gap_odds.transpose(0, 2, 1)
    timed = (gap >= MIN_GAP) & (gap < MAX_GAP)
    odds = np.where(timed[:, None], gap_odds[np.where(timed, gap, MIN_GAP), event], 1.0)

    item = log["item_id"].cat.codes.to_numpy().astype(np.int64)
    shows = ((event == VIEW) | (event == CART)) & (item >= 0)
    key = np.where(shows, session * (item.max() + 1) + item, -1 - np.arange(len(item)))
    new = shows & ~pd.Series(key).duplicated().to_numpy()
    before = np.cumsum(new) - new
    seen = before - before[begin[:-1]][session]

    free = (event == VIEW) & shows & (seen > 0) & (seen < world.most_items)
    odds *= np.where(free[:, None], np.where(new[:, None], 1 - world.revisit, world.revisit), 1.0)
    no_say = (seen == 0) & (history[session] == BOUGHT_BEFORE)
    priced = new & (event == VIEW) & ~no_say
    promoted = log["promotion"].to_numpy(dtype=bool)[:, None]
    odds *= np.where(priced[:, None], np.where(promoted, world.promoted, 1 - world.promoted), 1.0)
    return odds


def _steps(begin: np.ndarray, event: np.ndarray) -> Steps:
    """Order the rows step by step, sessions from the longest to the shortest."""
    length = np.diff(begin)
    longest_first = np.argsort(-length, kind="stable")
    first = begin[:-1][longest_first]
    shrinking = length[longest_first]
    alive = np.searchsorted(-shrinking, -np.arange(length.max()), side="left")
    start = np.concatenate([[0], np.cumsum(alive)])
    row = np.empty(len(event), dtype=np.int64)
    for step, count in enumerate(alive):
        row[start[step] : start[step + 1]] = first[:count] + step
    return Steps(row, start, event[row], longest_first)


def _filter(
    world: World, steps: Steps, prior: np.ndarray, likelihood: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Run the filter over all sessions at once.

    The start of a session counts as one more state, whose odds are those of first events.

    Args:
        world: The rules.
        steps: The rows, step by step, n in all.
        prior: Odds of each session's first intent, sessions in the order of the log
            [sessions, Z].
        likelihood: P(marks | intent) of each row of the log [n, Z], or None.

    Returns:
        belief [n, Z]: the intent of the *next* row, given the rows up to this one (the
        switch is already applied), and state [n]; both in the order of ``steps``.
    """
    emission = np.append(world.odds[:, :, : len(EVENTS)], world.first[:, None], axis=1)
    emission = emission.transpose(1, 2, 0)
    next_state = np.append(world.next_state, world.first_state[None], axis=0)
    belief = np.empty((len(steps.row), len(world.intents)))
    state = np.empty(len(steps.row), dtype=np.int64)
    predicted = prior[steps.session]
    before = np.full(len(predicted), world.states)
    for step in range(len(steps.start) - 1):
        here = slice(steps.start[step], steps.start[step + 1])
        event = steps.event[here]
        came_from = before[: len(event)]
        weight = emission[came_from, event]
        if likelihood is not None:
            weight = weight * likelihood[steps.row[here]]
        belief[here] = _update(predicted[: len(event)], weight) @ world.switch
        state[here] = next_state[came_from, event]
        predicted, before = belief[here], state[here]
    return belief, state


def _update(predicted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Bayes' rule: predicted x weight, scaled to sum to one; [k, Z] each."""
    joint = predicted * weight
    total = joint.sum(axis=1, keepdims=True)
    return np.where(total > 0, joint / np.where(total > 0, total, 1.0), predicted)


def _forecast(world: World, belief: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Outcome odds and purchase_later of beliefs [n, Z] in states [n]: float64 [n, 8]."""
    later = purchase_values(world)
    table = np.concatenate([world.odds, later[:, :, None]], axis=2).transpose(1, 0, 2)
    forecast = np.empty((len(state), table.shape[2]))
    for begin in range(0, len(state), CHUNK):
        part = slice(begin, begin + CHUNK)
        forecast[part] = np.matmul(belief[part, None, :], table[state[part]])[:, 0]
    return forecast


def purchase_values(world: World) -> np.ndarray:
    """Solve for V(z, s), the odds that a purchase comes before the end: float64 [Z, S].

    The unknowns are numbered z * S + s. See the module's docstring for the equation.
    """
    intents, states = len(world.intents), world.states
    matrix = np.eye(intents * states)
    for event in range(len(EVENTS)):
        if event == PURCHASE:
            continue
        reach = np.zeros((states, states))
        reach[np.arange(states), world.next_state[:, event]] = 1.0
        odds = world.odds[:, :, event]
        matrix -= np.einsum("zs,zk,st->zskt", odds, world.switch, reach).reshape(matrix.shape)
    values = np.linalg.solve(matrix, world.odds[:, :, PURCHASE].ravel())
    return values.reshape(intents, states)
