"""The rules of the simulated shop: what a shopper may do next, and how likely it is.

A shopper has a hidden **intent** z (browse, research, buy, bargain) that switches slowly
within a session. What the shop sees is a **state** s, a function of the events shown so far:

* the last event (view, search, cart, remove, coupon or purchase),
* how many items lie in the cart (0 to `max_cart`),
* whether a coupon is active: one was seen and no purchase has used it up since.

One table gives the odds of everything that can follow, ``odds[z, s, outcome]``. It is the
softmax of logits that add up over the intent, the last event, the cart and the coupon; what
is impossible (a purchase with an empty cart) has probability exactly zero.

Beside the events the intent leaves **marks**: how long the shopper waits, whether a view
goes back to an item seen before, whether a newly viewed item is on promotion. Marks never
feed back into the events. That is why the exact forecast stays cheap (see `filter`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.special import ndtr

EVENTS = ("view", "search", "cart", "remove", "coupon", "purchase")
OUTCOMES = (*EVENTS, "leave")
VIEW, SEARCH, CART, REMOVE, COUPON, PURCHASE, LEAVE = range(7)

HISTORIES = ("first visit", "returning", "has bought before")
FIRST_VISIT, RETURNING, BOUGHT_BEFORE = range(3)

MIN_GAP, MAX_GAP = 3, 30 * 60
"""Seconds between two events of a session: at least MIN_GAP, less than MAX_GAP.

A double fire comes at most a second late, so it still lies nearer to its original than to the
next event: duplicates can be told for certain."""


@dataclass(frozen=True, eq=False)
class World:
    """The parameters of the event process and of its marks.

    With Z intents, 7 outcomes in the order of `OUTCOMES` and S = 6 (max_cart + 1) 2 visible
    states, the derived tables are `odds` [Z, S, 7], `next_state` [S, 6] and `gap_odds`
    [MAX_GAP, Z, 6].

    Attributes:
        intents: The names of the Z intents.
        switch: Odds that intent z is followed by z' at the next event, [Z, Z].
        first: Odds of the first event of a session, [Z, 6].
        intent_logits: What the intent adds to each outcome's logit, [Z, 7].
        after_logits: What the last event adds, [6, 7].
        cart_logits: What a filled cart adds, [7].
        crowd_logits: What each further item in the cart adds, [7].
        coupon_logits: What an active coupon adds, [7].
        max_cart: The most items a cart holds.
        start_odds: Odds of the first intent, given the visitor's history (`HISTORIES`) and
            whether the day is a promotion day, [3, 2, Z].
        gap_mean: Mean of the logarithm of the seconds before an event, [Z, 6].
        gap_sigma: Its standard deviation.
        revisit: Odds that a view goes back to an item seen earlier in the session, [Z].
        promoted: Odds that a newly viewed item is on promotion, [Z].
        most_items: The most different items of one session; from then on each view goes back.
        promotion_days: Which days, counted from `start`, are promotion days; `simulate`
            fills them in.
        start: The first day, ``"YYYY-MM-DD"``.
    """

    intents: tuple[str, ...]
    switch: np.ndarray
    first: np.ndarray
    intent_logits: np.ndarray
    after_logits: np.ndarray
    cart_logits: np.ndarray
    crowd_logits: np.ndarray
    coupon_logits: np.ndarray
    start_odds: np.ndarray
    gap_mean: np.ndarray
    revisit: np.ndarray
    promoted: np.ndarray
    max_cart: int = 4
    gap_sigma: float = 0.9
    most_items: int = 40
    promotion_days: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    start: str = "2025-01-06"
    outcomes: tuple[str, ...] = OUTCOMES

    @property
    def states(self) -> int:
        """How many visible states there are: last event x items in the cart x coupon."""
        return len(EVENTS) * (self.max_cart + 1) * 2

    def state(self, last: np.ndarray, cart: np.ndarray, coupon: np.ndarray) -> np.ndarray:
        """Number the visible states: ``(last * (max_cart + 1) + cart) * 2 + coupon``."""
        return (last * (self.max_cart + 1) + cart) * 2 + coupon

    def parts(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a state number apart again: last event, items in the cart, coupon active."""
        rest, coupon = np.divmod(state, 2)
        last, cart = np.divmod(rest, self.max_cart + 1)
        return last, cart, coupon

    @cached_property
    def next_state(self) -> np.ndarray:
        """The state that follows state s when event y is shown, int64 [S, 6].

        Events that the rules forbid still lead somewhere, for logs that real cleaning left
        imperfect: the cart never runs below 0 or above `max_cart`.
        """
        _, cart, coupon = self.parts(np.arange(self.states))
        table = np.empty((self.states, len(EVENTS)), dtype=np.int64)
        for event in range(len(EVENTS)):
            change = (event == CART) - (event == REMOVE)
            cart_then = np.clip(cart + change, 0, self.max_cart)
            coupon_then = np.ones_like(coupon) if event == COUPON else coupon
            if event == PURCHASE:
                cart_then, coupon_then = np.zeros_like(cart), np.zeros_like(coupon)
            table[:, event] = self.state(np.full_like(cart, event), cart_then, coupon_then)
        return table

    @cached_property
    def first_state(self) -> np.ndarray:
        """The state after the first event of a session, int64 [6]: nothing came before it."""
        events = np.arange(len(EVENTS))
        return self.state(events, np.where(events == CART, 1, 0), np.where(events == COUPON, 1, 0))

    @cached_property
    def allowed(self) -> np.ndarray:
        """Which outcome each state allows, bool [S, 7]."""
        _, cart, coupon = self.parts(np.arange(self.states))
        allowed = np.ones((self.states, len(OUTCOMES)), dtype=bool)
        allowed[:, CART] = cart < self.max_cart
        allowed[:, REMOVE] = allowed[:, PURCHASE] = cart > 0
        allowed[:, COUPON] = coupon == 0
        return allowed

    @cached_property
    def odds(self) -> np.ndarray:
        """P(outcome | intent, state), float64 [Z, S, 7]: a masked softmax of summed logits."""
        last, cart, coupon = (part[:, None] for part in self.parts(np.arange(self.states)))
        by_state = (
            self.after_logits[last[:, 0]]
            + (cart > 0) * self.cart_logits
            + np.maximum(cart - 1, 0) * self.crowd_logits
            + coupon * self.coupon_logits
        )
        logits = self.intent_logits[:, None, :] + by_state[None]
        weights = np.where(self.allowed, np.exp(logits), 0.0)
        return weights / weights.sum(axis=2, keepdims=True)

    @cached_property
    def gap_odds(self) -> np.ndarray:
        """P(gap of g whole seconds | intent, event), float64 [MAX_GAP, Z, 6].

        A gap is the floor of a lognormal time X kept within [MIN_GAP, MAX_GAP), so
        P(g) = P(g <= X < g + 1) / P(MIN_GAP <= X < MAX_GAP).
        """
        edges = np.log(np.arange(MIN_GAP, MAX_GAP + 1))
        below = ndtr((edges[:, None, None] - self.gap_mean) / self.gap_sigma)
        table = np.zeros((MAX_GAP, *self.gap_mean.shape))
        table[MIN_GAP:] = np.diff(below, axis=0) / (below[-1] - below[0])
        return table


def default_world() -> World:
    """Return the course's shop: four intents, coupons that matter long after they were seen."""
    #     view search cart remove coupon purchase leave
    intent_logits = [
        [2.8, 0.2, -2.6, -2.0, -2.6, -7.1, 0.4],  # browse
        [3.0, 3.8, -2.6, -1.6, -3.3, -7.6, -0.5],  # research
        [1.5, -0.3, 1.8, -2.5, -3.6, -1.6, -0.4],  # buy
        [1.9, 1.6, -0.9, 1.3, -0.1, -4.8, -0.2],  # bargain
    ]
    after_logits = [
        [0.2, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0],  # view
        [0.9, -0.4, -1.0, 0.0, 0.0, 0.0, 0.2],  # search
        [0.0, -0.3, -0.4, 1.2, 0.2, 1.6, -0.3],  # cart
        [0.2, 0.3, -0.4, 0.7, 0.3, -0.6, 0.4],  # remove
        [0.4, 0.5, 0.0, 0.0, 0.0, 0.0, -0.9],  # coupon
        [-0.6, -0.6, -1.2, 0.0, 0.0, 0.0, 1.8],  # purchase
    ]
    return World(
        intents=("browse", "research", "buy", "bargain"),
        switch=np.array(
            [
                [0.930, 0.030, 0.025, 0.015],
                [0.015, 0.930, 0.035, 0.020],
                [0.030, 0.020, 0.930, 0.020],
                [0.015, 0.025, 0.030, 0.930],
            ]
        ),
        first=np.array(
            [
                [0.79, 0.18, 0.00, 0.00, 0.03, 0.00],
                [0.55, 0.43, 0.00, 0.00, 0.02, 0.00],
                [0.66, 0.29, 0.02, 0.00, 0.03, 0.00],
                [0.50, 0.32, 0.00, 0.00, 0.18, 0.00],
            ]
        ),
        intent_logits=np.array(intent_logits),
        after_logits=np.array(after_logits),
        cart_logits=np.array([0.0, 0.0, -0.4, 0.0, 0.2, 0.0, -0.2]),
        crowd_logits=np.array([0.0, 0.0, -0.2, 0.2, 0.0, 0.2, 0.0]),
        coupon_logits=np.array([0.0, -1.0, 1.7, -1.0, 0.0, 0.2, -0.5]),
        start_odds=np.array(
            [
                [[0.62, 0.24, 0.06, 0.08], [0.46, 0.20, 0.08, 0.26]],
                [[0.44, 0.32, 0.14, 0.10], [0.34, 0.24, 0.14, 0.28]],
                [[0.36, 0.18, 0.34, 0.12], [0.28, 0.14, 0.30, 0.28]],
            ]
        ),
        gap_mean=np.log(
            [
                [22.0, 14.0, 30.0, 16.0, 15.0, 60.0],  # browse
                [55.0, 20.0, 60.0, 25.0, 22.0, 95.0],  # research
                [26.0, 10.0, 15.0, 12.0, 12.0, 45.0],  # buy
                [32.0, 14.0, 28.0, 12.0, 10.0, 70.0],  # bargain
            ]
        ),
        revisit=np.array([0.10, 0.34, 0.22, 0.16]),
        promoted=np.array([0.16, 0.12, 0.18, 0.50]),
    )
