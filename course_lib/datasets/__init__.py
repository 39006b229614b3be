"""Where logs come from: simulated, published, or your own. `load` reads any of them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_lib.errors import CourseError, unknown_name

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from course_lib.datasets.cards import Card

PROFILES = ("quick", "full")
BUILT_IN = (
    "shopworld",
    "eshop",
    "online_retail",
    "rees46",
    "dmm",
    "yoochoose",
    "beauty",
    "jd",
    "retailrocket",
    "taobao",
)


def names() -> list[str]:
    """Every log that `load` knows: shopworld, the published ones, then your imported ones."""
    from course_lib.datasets import own_csv

    return [*BUILT_IN, *own_csv.names()]


def card(name: str) -> Card:
    """The facts about a log: tasks, clock, columns, licence, address.

    Raises:
        CourseError: If there is no log of that name.
    """
    if name == "shopworld":
        return _shopworld_card()
    if name in BUILT_IN:
        from course_lib.datasets.catalogue import CARDS

        return CARDS[name]
    from course_lib.datasets import own_csv

    if name in own_csv.names():
        return own_csv.card(name)
    raise unknown_name("dataset", name, names())


def serving(task: str) -> list[str]:
    """The names of the logs that can serve `task`.

    Raises:
        CourseError: If there is no task of that name.
    """
    from course_lib.events import TASKS

    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return [name for name in names() if task in card(name).tasks]


def available(name: str) -> bool:
    """Whether `load(name)` can be answered on this machine, without the network.

    Raises:
        CourseError: If there is no log of that name, or its file is laid out otherwise.
    """
    from course_lib.datasets.catalogue import CARDS

    if card(name).name not in CARDS:
        return True
    from course_lib.datasets import public

    return public.locate(name) is not None


def fetch(name: str, progress: bool = True) -> list[Path]:
    """Download a published log into the cache unless it is here already; return its files.

    Raises:
        CourseError: If there is no log of that name, a login stands before it, or the download
            fails; the sentence says what to do.
    """
    from course_lib.datasets.catalogue import CARDS

    if card(name).name not in CARDS:
        return []
    from course_lib.datasets import public

    return public.fetch(name, progress)


def load(name: str, profile: str = "quick", seed: int = 1) -> pd.DataFrame:
    """The raw event log called `name`: the columns of `course_lib.events.COLUMNS`, file order.

    Args:
        name: One of `names()`.
        profile: ``"quick"`` (a laptop, within a minute) or ``"full"`` (everything).
        seed: Which simulated world, or which sample of users where the quick profile samples.

    Returns:
        A DataFrame with a RangeIndex, one row a line of the file; ids may be missing. Its
        ``attrs`` are those of `course_lib.events.attach_attrs` and ``decision_events``.

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
    if facts.name in BUILT_IN:
        from course_lib.datasets import public

        return public.load(name, profile, seed)
    from course_lib.datasets import own_csv

    return own_csv.load(name)


def _shopworld_card() -> Card:
    from course_lib.datasets.cards import Card
    from course_lib.datasets.shopworld.simulation import PROFILES as SIZES
    from course_lib.events import COLUMNS, TASKS

    sizes = {name: f"{size.users:,} users, {size.days} days" for name, size in SIZES.items()}
    return Card(
        name="shopworld",
        title="a simulated shop, seeded, that knows the truth about itself",
        tasks=TASKS,
        clock="time",
        event_column="event",
        columns={
            name: what for name, what in COLUMNS.items() if name not in ("session_id", "visit_id")
        }
        | {
            "promotion": "was the item on promotion?",
            "received_at": "when the event reached the shop's servers: late ones come out of order",
        },
        rows=None,
        licence="Apache-2.0, as the course",
        citation="the course itself",
        page="built in: simulated on your machine",
        notes=("dirt is mixed in on purpose, and the truth about it is known",),
        quick=f"{sizes['quick']}; the full one has {sizes['full']}",
    )
