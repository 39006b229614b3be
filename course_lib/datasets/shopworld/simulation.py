"""The simulated shop as a whole: from a seed to a clean log, the raw log and the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd

from course_lib.datasets.shopworld.catalogue import Catalogue, make_catalogue
from course_lib.datasets.shopworld.dirt import CLEAN, DirtRates, add_dirt
from course_lib.datasets.shopworld.process import draw_events, draw_gaps, draw_marks
from course_lib.datasets.shopworld.rows import RowMaker
from course_lib.datasets.shopworld.shopping import draw_items
from course_lib.datasets.shopworld.visits import DAY_SECONDS, draw_visits, promotion_calendar
from course_lib.datasets.shopworld.world import CART, PURCHASE, REMOVE, World, default_world
from course_lib.errors import CourseError, unknown_name
from course_lib.events import TASKS, attach_attrs


@dataclass(frozen=True)
class Profile:
    """How big a shop is simulated unless told otherwise."""

    users: int
    days: int
    items: int


PROFILES = {
    "quick": Profile(users=5_400, days=150, items=1_200),
    "full": Profile(users=40_000, days=240, items=3_000),
}


@dataclass(frozen=True, eq=False)
class Simulation:
    """A simulated shop.

    Attributes:
        raw: What the shop recorded, in the order of receipt, with `received_at`, without
            session_id. Equal to `log` less session_id where ``dirt=False``.
        truth: What is wrong with each raw row, same index: bool columns duplicate, bot,
            clock, absurd_price, missing_price, truncated, late; log_row: the row of `log`
            that it records, -1 for rows that never happened.
        log: What really happened: sorted by user and time, session_id 0.. in row order.
        intent: The hidden intent behind each row of `log`, a position in `world.intents`,
            int8 [len(log)].
        catalogue: The items.
        world: The rules, with the calendar of promotion days.
    """

    raw: pd.DataFrame
    truth: pd.DataFrame
    log: pd.DataFrame
    intent: np.ndarray
    catalogue: Catalogue
    world: World


def simulate(
    profile: str = "quick",
    seed: int = 1,
    *,
    users: int | None = None,
    days: int | None = None,
    dirt: bool | DirtRates = True,
    world: World | None = None,
) -> Simulation:
    """Simulate a shop; the same arguments give the same shop, to the last digit.

    Args:
        profile: ``"quick"`` (some 300,000 events) or ``"full"`` (some ten times as many).
        seed: Source of all chance, 0 or more.
        users: Number of users instead of the profile's; sessions grow with it.
        days: Number of days instead of the profile's.
        dirt: Whether the raw log is dirty; `DirtRates` sets how much.
        world: Other rules than `default_world`'s.

    Raises:
        CourseError: If the profile is unknown or a size is no positive whole number.
    """
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    size = PROFILES[profile]
    users = size.users if users is None else users
    days = size.days if days is None else days
    for name, value, least in (("users", users, 1), ("days", days, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise CourseError(f"ShopWorld's {name} is {value!r}; give a whole number >= {least}.")
    rates = dirt if isinstance(dirt, DirtRates) else DirtRates() if dirt else CLEAN
    made = _simulate(int(seed), int(users), int(days), size.items, rates, world)
    frames = {name: getattr(made, name).copy(deep=False) for name in ("raw", "truth", "log")}
    return replace(made, **frames)


def load(profile: str = "quick", seed: int = 1) -> pd.DataFrame:
    """Return the raw log of a simulated shop, as `datasets.load("shopworld")` does.

    Raises:
        CourseError: If the profile is unknown or the seed is no whole number >= 0.
    """
    return simulate(profile, seed).raw


@lru_cache(maxsize=2)
def _simulate(
    seed: int, users: int, days: int, items: int, rates: DirtRates, world: World | None
) -> Simulation:
    """Simulate for real; each stage draws from a stream of its own."""
    streams = [np.random.default_rng([seed, stage]) for stage in range(8)]
    promotion_days = promotion_calendar(days, streams[0])
    world = replace(world or default_world(), promotion_days=promotion_days)
    catalogue = make_catalogue(items, promotion_days, streams[1])
    visits = draw_visits(users, promotion_days, streams[2])
    events = draw_events(world, visits, promotion_days[visits.day], streams[3])
    gap = draw_gaps(world, events, streams[4])
    marks = draw_marks(world, events, streams[5])
    item = draw_items(world, catalogue, visits, events, marks, streams[6])

    elapsed = np.cumsum(gap)
    begins = visits.day * DAY_SECONDS + visits.second
    second = elapsed + (begins - elapsed[events.start[:-1]])[events.session]
    ids, bot_ids = _user_ids(users, streams[7])
    rows = RowMaker(catalogue, world)
    log = rows(
        user_id=ids[visits.user[events.session]],
        second=second,
        event=events.event,
        item=item,
        day=visits.day[events.session],
        quantity=_quantity(world, events.event, events.state),
    )
    log.insert(1, "session_id", events.session)
    raw, truth = add_dirt(log, rows, bot_ids, days, rates, streams[7])
    for frame in (raw, log):
        attach_attrs(frame, dataset="shopworld", tasks=TASKS, clock="time")
    return Simulation(raw, truth, log, events.intent, catalogue, world)


def _user_ids(users: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw increasing ids for users, and ids in between that are left for bots."""
    bots = 50 + users // 20
    ids = 1_000_000 + np.cumsum(rng.integers(1, 60, size=users + bots))
    is_bot = np.zeros(users + bots, dtype=bool)
    is_bot[rng.choice(users + bots, size=bots, replace=False)] = True
    return ids[~is_bot], rng.permutation(ids[is_bot])


def _quantity(world: World, event: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Units of each row: one into or out of the cart, the whole cart when bought, else 0."""
    _, cart, _ = world.parts(state)
    before = np.concatenate([[0], cart[:-1]])
    return np.select([event == PURCHASE, (event == CART) | (event == REMOVE)], [before, 1], 0)
