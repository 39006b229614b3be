"""Where logs come from: simulated, published, or your own. `load` reads any of them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.errors import CourseError, unknown_name

if TYPE_CHECKING:
    import pandas as pd

    from course_lib.datasets.cards import Card

PROFILES = ("quick", "full")


def names() -> list[str]:
    """Every log that `load` knows: shopworld, then the published ones."""
    from course_lib.datasets.public import CARDS

    return ["shopworld", *CARDS]


def card(name: str) -> Card:
    """The facts about a log: tasks, clock, columns, licence, address.

    Raises:
        CourseError: If there is no log of that name.
    """
    from course_lib.datasets.public import CARDS

    if name == "shopworld":
        return _shopworld_card()
    if name not in CARDS:
        raise unknown_name("dataset", name, names())
    return CARDS[name]


def serving(task: str) -> list[str]:
    """The names of the logs that can serve `task`.

    Raises:
        CourseError: If there is no task of that name.
    """
    from course_lib.events import TASKS

    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return [name for name in names() if task in card(name).tasks]


def load(name: str, profile: str = "quick", seed: int = 1) -> pd.DataFrame:
    """The raw event log called `name`: the columns of `course_lib.events.COLUMNS`, file order.

    Args:
        name: One of `names()`.
        profile: ``"quick"`` (a laptop, within a minute) or ``"full"`` (everything).
        seed: Which simulated world, or which sample of users where the quick profile samples.

    Raises:
        CourseError: If the name or profile is unknown, or the log is not here and cannot be
            fetched.
    """
    facts = card(name)
    if profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise CourseError(f"A seed is a whole number from 0 up, not {seed!r}.")
    if facts.name == "shopworld":
        from course_lib.datasets import shopworld

        return shopworld.load(profile, seed)
    from course_lib.datasets import public

    return public.load(name, profile, seed)


def _shopworld_card() -> Card:
    from course_lib.datasets.cards import Card
    from course_lib.events import TASKS

    return Card(
        name="shopworld",
        title="a simulated shop, seeded, that knows the truth about itself",
        tasks=TASKS,
        clock="time",
        event_column="event",
        columns={},
        rows=None,
        licence="Apache-2.0, as the course",
        citation="this course",
        address="built in: simulated on your machine",
    )
