"""Log rows made of numbers: what a row of the log shows of its user, its time and its item."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.datasets.shopworld.catalogue import Catalogue
from course_lib.datasets.shopworld.visits import DAY_SECONDS
from course_lib.datasets.shopworld.world import EVENTS, World


class RowMaker:
    """Makes log rows from numbers: users, seconds, events, items."""

    def __init__(self, catalogue: Catalogue, world: World) -> None:
        """Look up what a row shows of its item."""
        items = catalogue.items
        self.discount = catalogue.discount
        self.price = items["price"].to_numpy()
        self.category = items["category_id"].cat.codes.to_numpy()
        self.brand = items["brand"].cat.codes.to_numpy()
        self.types = {
            "event": pd.CategoricalDtype(list(EVENTS)),
            "item_id": pd.CategoricalDtype(list(items["item_id"])),
            "category_id": items["category_id"].dtype,
            "brand": items["brand"].dtype,
            "title": pd.CategoricalDtype(list(items["title"])),
        }
        self.start = np.datetime64(world.start, "s").astype(np.int64)

    def __call__(
        self,
        user_id: np.ndarray,
        second: np.ndarray,
        event: np.ndarray,
        item: np.ndarray,
        day: np.ndarray | None = None,
        quantity: np.ndarray | None = None,
    ) -> pd.DataFrame:
        """Return one row an event.

        Args:
            user_id: Who, int64 [n].
            second: Seconds since the first midnight, int64 [n].
            event: Positions in `EVENTS`, [n].
            item: Item numbers, -1 for none; others are taken modulo the catalogue, [n].
            day: The day whose prices are charged; the event's own if not given.
            quantity: Units, 0 for none.
        """
        last_day, items = self.discount.shape
        has_item = item >= 0
        item = np.where(has_item, item % items, -1)
        day = np.clip(second // DAY_SECONDS, 0, last_day - 1) if day is None else day
        quantity = np.zeros(len(item), dtype=np.int16) if quantity is None else quantity
        discount = np.where(has_item, self.discount.ravel()[day * items + item], 0)
        price = np.where(has_item, np.round(self.price[item] * (1 - discount), 2), np.nan)
        return pd.DataFrame(
            {
                "user_id": user_id,
                "timestamp": self._timestamps(second),
                "event": self._category("event", event),
                "item_id": self._category("item_id", item),
                "category_id": self._category("category_id", self.category[item], has_item),
                "price": price.astype(np.float32),
                "promotion": discount > 0,
                "quantity": pd.arrays.IntegerArray(quantity.astype(np.int16), quantity == 0),
                "title": self._category("title", item),
                "brand": self._category("brand", self.brand[item], has_item),
            }
        )

    def _timestamps(self, second: np.ndarray) -> pd.DatetimeIndex:
        """UTC timestamps of seconds since the first midnight."""
        micros = (second + self.start) * 1_000_000
        return pd.DatetimeIndex(micros.view("datetime64[us]")).tz_localize("UTC")

    def _category(
        self, column: str, codes: np.ndarray, present: np.ndarray | None = None
    ) -> pd.Categorical:
        """A categorical column of codes, missing where the code is -1 or nothing is present."""
        codes = codes if present is None else np.where(present, codes, -1)
        return pd.Categorical.from_codes(codes, dtype=self.types[column])
