"""ShopWorld: a simulated shop that knows the truth about its own log.

`simulate` makes a shop of any size from a seed: the raw log as the shop recorded it, the
truth about each raw row, the clean log, and the rules. `oracle` gives the exact probability
of the next event, the best score that any model can reach; `far_back` marks the rows whose
cause lies many clicks back. ``docs/shopworld.md`` describes what is simulated and how it
compares with real shops.
"""

from __future__ import annotations

from course_lib.datasets.shopworld.catalogue import Catalogue
from course_lib.datasets.shopworld.dirt import KINDS, LOST_BY_TRUNCATION, DirtRates
from course_lib.datasets.shopworld.filter import far_back, oracle, purchase_values
from course_lib.datasets.shopworld.simulation import PROFILES, Simulation, load, simulate
from course_lib.datasets.shopworld.world import EVENTS, OUTCOMES, World, default_world

__all__ = [
    "EVENTS",
    "KINDS",
    "LOST_BY_TRUNCATION",
    "OUTCOMES",
    "PROFILES",
    "Catalogue",
    "DirtRates",
    "Simulation",
    "World",
    "default_world",
    "far_back",
    "load",
    "oracle",
    "purchase_values",
    "simulate",
]
