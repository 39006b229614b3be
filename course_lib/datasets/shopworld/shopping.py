"""Which item each event is about.

Every row with an item gets it from another row, by a **pointer**: a view that goes back
points to the row that introduced the item, a cart event to the view before it, a removal
and a purchase to the cart event that put the item in, a repeat purchase's view to the
purchase it repeats. A row that points to itself (a *root*) draws an item of its own. All
pointers lead to earlier rows, so following them to their roots gives every row its item.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.datasets.shopworld.catalogue import DEPARTMENTS, Catalogue
from course_lib.datasets.shopworld.process import Events, Lottery, Marks
from course_lib.datasets.shopworld.visits import Visits
from course_lib.datasets.shopworld.world import (
    BOUGHT_BEFORE,
    CART,
    PURCHASE,
    REMOVE,
    VIEW,
    World,
)

MONTH = 30
TASTE_SPREAD, TASTE_DRIFT = 1.1, 0.45
"""How far users' tastes lie apart, and how far one wanders in a month (logits)."""
REPEAT_STAPLE, REPEAT_OTHER = 0.45, 0.06
"""Odds that a session in a department where the user bought before opens with that item."""
PROMOTION_SALES = 1.5
"""How many times more often an item is found on promotion than off."""
CATEGORY, DEPARTMENT, SHOP = range(3)
"""Where an item is looked for: the category wished for, its department, the whole shop."""


@dataclass(frozen=True)
class Plan:
    """What each session is about, [sessions] each.

    Attributes:
        department: Its department.
        first, second: Its main category and the one it is compared with.
    """

    department: np.ndarray
    first: np.ndarray
    second: np.ndarray


def plan_sessions(catalogue: Catalogue, visits: Visits, rng: np.random.Generator) -> Plan:
    """Choose each session's department by its user's taste that day, then its categories."""
    taste = _tastes(visits, rng)
    luck = -np.log(-np.log(rng.random(taste.shape, dtype=np.float32) + 1e-12))
    department = np.argmax(taste + luck, axis=1)
    size = np.bincount(catalogue.category)
    of = catalogue.department[None, :] == np.arange(len(DEPARTMENTS))[:, None]
    shares = Lottery(of * size / (of * size).sum(axis=1, keepdims=True))
    first, second = (shares.draw(department, rng.random(len(department))) for _ in range(2))
    return Plan(department, first, second)


def _tastes(visits: Visits, rng: np.random.Generator) -> np.ndarray:
    """Logits over departments on the day of each visit, float32 [sessions, departments].

    A taste is a random walk with one step a month, straight lines in between.
    """
    users, months = visits.user.max() + 1, visits.day.max() // MONTH + 2
    taste = np.zeros((len(visits.user), len(DEPARTMENTS)), dtype=np.float32)
    knot = rng.standard_normal((users, len(DEPARTMENTS)), dtype=np.float32) * TASTE_SPREAD
    knot += np.linspace(0.6, -0.6, len(DEPARTMENTS), dtype=np.float32)
    for month in range(months):
        part = 1.0 - np.abs(visits.day / MONTH - month)
        near = np.flatnonzero(part > 0)
        taste[near] += part[near, None].astype(np.float32) * knot[visits.user[near]]
        knot += rng.standard_normal(knot.shape, dtype=np.float32) * np.float32(TASTE_DRIFT)
    return taste


def draw_items(
    world: World,
    catalogue: Catalogue,
    visits: Visits,
    events: Events,
    marks: Marks,
    rng: np.random.Generator,
) -> np.ndarray:
    """Give every row its item, -1 where the event has none: int64 [n].

    Roots of one session must differ from all items that the session saw before, or a new
    item would look like a way back. Where a draw collides it is drawn again, after a few
    tries from the department and from the whole shop.
    """
    plan = plan_sessions(catalogue, visits, rng)
    pointer = _follow(_pointers(world, catalogue, visits, events, marks, plan, rng))
    root = np.flatnonzero(pointer == np.arange(len(pointer)))
    wish = _wished_categories(plan, events.session[root], rng)
    day, promoted = visits.day[events.session[root]], marks.promoted[root]
    introduced = np.flatnonzero(marks.introduces)
    place = np.searchsorted(root, introduced)
    shelf = Shelf(catalogue)
    item = np.full(len(pointer), -1, dtype=np.int64)
    shown = np.full(len(introduced), -1, dtype=np.int64)
    todo, tries = np.arange(len(root)), 0
    while len(todo):
        reach = CATEGORY if tries < 3 else DEPARTMENT if tries < 6 else SHOP
        item[root[todo]] = shelf.draw(day[todo], promoted[todo], wish[todo], reach, rng)
        before, shown = shown, item[pointer[introduced]]
        in_doubt = np.zeros(len(visits.user), dtype=bool)
        in_doubt[events.session[root[todo]]] = True
        in_doubt[events.session[introduced[shown != before]]] = True
        check = np.flatnonzero(in_doubt[events.session[introduced]])
        again = _seen_before(events.session[introduced[check]], shown[check])
        todo, tries = place[check[again]], tries + 1
    has_item = pointer >= 0
    item[has_item] = item[pointer[has_item]]
    return item


def _pointers(
    world: World,
    catalogue: Catalogue,
    visits: Visits,
    events: Events,
    marks: Marks,
    plan: Plan,
    rng: np.random.Generator,
) -> np.ndarray:
    """Point each row to the row that it has its item from; roots to themselves, -1: no item."""
    n = len(events.event)
    rows = np.arange(n)
    pointer = np.full(n, -1, dtype=np.int64)
    pointer[marks.introduces] = rows[marks.introduces]

    introduced = np.flatnonzero(marks.introduces)
    begin = np.searchsorted(introduced, events.start[:-1])
    back = np.flatnonzero((events.event == VIEW) & ~marks.introduces)
    choice = (rng.random(len(back)) * marks.seen[back]).astype(np.int64)
    pointer[back] = introduced[begin[events.session[back]] + choice]

    last_view = np.maximum.accumulate(np.where(events.event == VIEW, rows, -1))
    cart = np.flatnonzero((events.event == CART) & ~marks.introduces)
    viewed = last_view[cart] >= events.start[events.session[cart]]
    opener = introduced[begin[events.session[cart]]]
    pointer[cart] = np.where(viewed, last_view[cart], opener)

    _point_out_of_the_cart(world, events, pointer)
    _point_to_repeats(catalogue, visits, events, marks, plan, pointer, rng)
    return pointer


def _point_out_of_the_cart(world: World, events: Events, pointer: np.ndarray) -> None:
    """Point removals to the item put in last, purchases to the one put in first, in place.

    The cart is a pile: the item at height h is the one of the last cart event that left h
    items in the cart.
    """
    rows = np.arange(len(pointer))
    _, height, _ = world.parts(events.state)
    before = np.concatenate([[0], height[:-1]])
    for level in range(1, world.max_cart + 1):
        put_in = (events.event == CART) & (height == level)
        last = np.maximum.accumulate(np.where(put_in, rows, -1))
        taken = (events.event == REMOVE) & (before == level)
        if level == 1:
            taken |= events.event == PURCHASE
        pointer[taken] = last[taken]


def _point_to_repeats(
    catalogue: Catalogue,
    visits: Visits,
    events: Events,
    marks: Marks,
    plan: Plan,
    pointer: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Let sessions open with the item that the user last bought in the department, in place."""
    bought = np.full(len(visits.user), -1, dtype=np.int64)
    purchase = np.flatnonzero(events.event == PURCHASE)
    bought[events.session[purchase]] = purchase
    key = visits.user * len(DEPARTMENTS) + plan.department
    latest = pd.Series(bought).groupby(key).cummax()
    earlier = latest.groupby(key).shift(fill_value=-1).to_numpy()

    opener = np.flatnonzero(marks.introduces & (marks.seen == 0) & (events.event == VIEW))
    session = events.session[opener]
    odds = np.where(catalogue.consumable[plan.department], REPEAT_STAPLE, REPEAT_OTHER)[session]
    repeats = (
        (events.history[session] == BOUGHT_BEFORE)
        & (earlier[session] >= 0)
        & (rng.random(len(opener)) < odds)
    )
    pointer[opener[repeats]] = earlier[session[repeats]]


def _follow(pointer: np.ndarray) -> np.ndarray:
    """Follow every pointer to its root, doubling the distance each time; -1 stays -1."""
    while True:
        further = np.where(pointer >= 0, pointer[pointer], -1)
        if np.array_equal(further, pointer):
            return pointer
        pointer = further


def _wished_categories(plan: Plan, session: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pick each root's category: mostly the session's first, sometimes its second."""
    first, second = plan.first[session], plan.second[session]
    return np.where(rng.random(len(session)) < 0.72, first, second)


def _seen_before(session: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Mark rows whose item an earlier row of the same session has, bool like ``item``."""
    key = session * (item.max() + 1) + item
    order = np.argsort(key, kind="stable")
    repeated = np.zeros(len(key), dtype=bool)
    repeated[order[1:]] = key[order[1:]] == key[order[:-1]]
    return repeated


class Shelf:
    """The items to be found on a day, on or off promotion, in a category or beyond it.

    Holds the cumulative popularity of all items, one row a (day, on promotion), so that an
    item of a category is one binary search between the category's two ends. Stock-outs and
    items not yet launched weigh nothing.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        """Add up the popularity of what is available, [days, 2, items]."""
        popularity = catalogue.items["popularity"].to_numpy()
        promoted = catalogue.on_promotion
        weight = np.where(catalogue.available, popularity, 0.0)
        by_promotion = np.stack([weight * ~promoted, weight * promoted * PROMOTION_SALES], axis=1)
        self.days, _, self.items = by_promotion.shape
        self.total = np.concatenate([[0.0], np.cumsum(by_promotion.ravel())])
        self.edges = {
            CATEGORY: _edges(catalogue.category),
            DEPARTMENT: _edges(catalogue.department[catalogue.category]),
            SHOP: np.array([0, self.items]),
        }
        self.department = catalogue.department

    def draw(
        self,
        day: np.ndarray,
        promoted: np.ndarray,
        category: np.ndarray,
        reach: int,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Draw an item for each entry, looking further where the reach holds none: int64."""
        line = (day * 2 + promoted) * self.items
        low, high = self._range(line, category, reach)
        for wider in range(reach + 1, SHOP + 1):
            nothing = self.total[high] <= self.total[low]
            low[nothing], high[nothing] = self._range(line[nothing], category[nothing], wider)
        mark = self.total[low] + rng.random(len(day)) * (self.total[high] - self.total[low])
        place = np.searchsorted(self.total, mark, side="right") - 1
        return np.clip(place, low, high - 1) - line

    def _range(
        self, line: np.ndarray, category: np.ndarray, reach: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where in `total` the reach begins and ends on each entry's line."""
        group = (category, self.department[category], np.zeros_like(category))[reach]
        edges = self.edges[reach]
        return line + edges[group], line + edges[group + 1]


def _edges(group: np.ndarray) -> np.ndarray:
    """First item of each group of a sorted numbering, and the number of items at the end."""
    return np.searchsorted(group, np.arange(group.max() + 2))
