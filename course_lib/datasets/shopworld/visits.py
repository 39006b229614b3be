"""Who comes when: users, their visits, the hour of the day, the calendar of promotions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WEEKDAYS = np.array([0.95, 0.92, 0.94, 0.97, 1.02, 1.06, 1.14])
HOURS = np.array(
    [
        *(1.2, 0.7, 0.4, 0.3, 0.3, 0.5, 1.2, 2.4, 3.8, 4.8, 5.4, 5.6),
        *(5.6, 5.2, 5.0, 4.9, 5.0, 5.3, 5.9, 6.8, 7.6, 7.4, 5.4, 2.9),
    ]
)
PROMOTION_PULL = 1.6
"""How many times more visits a promotion day brings."""
MOST_LOYAL = 0.4
"""The highest chance that a user comes back on a given day."""
DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Visits:
    """All visits, one entry a session, in the order of user and time.

    Attributes:
        user: User number 0.. of each session, int64 [sessions].
        day: Its day, int64 [sessions].
        second: Second of that day at which it starts, int64 [sessions].
    """

    user: np.ndarray
    day: np.ndarray
    second: np.ndarray


def promotion_calendar(days: int, rng: np.random.Generator) -> np.ndarray:
    """Choose the promotion days, two or three in a row about every four weeks: bool [days]."""
    calendar = np.zeros(days, dtype=bool)
    day = int(rng.integers(5, 20))
    while day < days:
        calendar[day : day + int(rng.integers(2, 4))] = True
        day += int(rng.integers(18, 38))
    return calendar


def draw_visits(users: int, promotion_days: np.ndarray, rng: np.random.Generator) -> Visits:
    """Draw the visits of all users, day by day.

    Each user has a first visit, then comes back with a chance of their own (a few come
    often, most hardly ever), more on weekends and on promotion days. Two visits of one user
    start at least a day apart, so that no session runs into the next.
    """
    days = len(promotion_days)
    busy = WEEKDAYS[np.arange(days) % 7] * np.where(promotion_days, PROMOTION_PULL, 1.0)
    loyalty = 0.012 * np.exp(rng.normal(0.0, 1.25, size=users))
    first_day = rng.choice(days, size=users, p=busy / busy.sum())
    came_yesterday = np.zeros(users, dtype=bool)
    who, when = [], []
    for day in range(days):
        chance = np.minimum(loyalty * busy[day], MOST_LOYAL)
        returns = (first_day < day) & (rng.random(users) < chance)
        comes = (returns & ~came_yesterday) | (first_day == day)
        who.append(np.flatnonzero(comes))
        when.append(np.full(len(who[-1]), day))
        came_yesterday = comes
    user, day = np.concatenate(who), np.concatenate(when)
    order = np.argsort(user, kind="stable")
    hour = rng.choice(24, size=len(user), p=HOURS / HOURS.sum())
    second = hour * 3600 + rng.integers(0, 3600, size=len(user))
    return Visits(user[order], day[order], second)


def visitor_history(user: np.ndarray, bought: np.ndarray) -> np.ndarray:
    """What the shop knows of a visitor when a session begins.

    Args:
        user: User of each session, sessions in the order of user and time, [sessions].
        bought: Whether the session has a purchase, bool [sessions].

    Returns:
        int64 [sessions]: a position in `world.HISTORIES`.
    """
    is_first = np.ones(len(user), dtype=bool)
    is_first[1:] = user[1:] != user[:-1]
    start = np.maximum.accumulate(np.where(is_first, np.arange(len(user)), 0))
    before = np.concatenate([[0], np.cumsum(bought)[:-1]])
    return np.where(is_first, 0, np.where(before > before[start], 2, 1))
