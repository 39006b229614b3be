"""A session told as text, for a language model to read (lesson 10).

An event becomes a phrase, "viewed red summer dress 28 $", and a session's visible part one
sentence, with the time that passed told between the phrases: "..., 40 s later added it to cart".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_lib.errors import CourseError, unknown_name
from course_lib.events import offers
from course_lib.features.words import positions
from course_lib.sessions import session_bounds

DETAILS = ("words", "brand", "price", "gap")
"""What `session_texts` can tell of an event beside its kind.

``words`` are those of the title; without a title the names of the category's path; without
any of them the item's number, a word that no language model has learnt to understand.
"""


@dataclass(frozen=True)
class Template:
    """How one language tells an event.

    Attributes:
        kinds: Kind of event to a phrase with ``{}`` where the item stands. Another kind is told
            by its name, before the item.
        same: Stands for the item of the event before.
        item: What an item without words is called; ``{}`` is its number.
        price: ``{}`` is the rounded price.
        units: Seconds in a unit, what is told of a gap; ``{}`` is how many. Largest first.
        comma: Between two phrases.
        space: Between two words.
    """

    kinds: dict[str, str]
    same: str
    item: str
    price: str
    units: tuple[tuple[int, str], ...]
    comma: str
    space: str

    def phrase(self, kind: str, told: str) -> str:
        """One event: its kind, and the item in the place that the language has for it."""
        pattern = self.kinds.get(kind) or kind.replace("_", " ") + " {}"
        return re.sub(r"\s+", " ", pattern.replace("{}", told)).strip()

    def later(self, seconds: float) -> str:
        """The time since the event before, in the largest unit that it fills."""
        size, words = next(
            (unit for unit in self.units if seconds >= unit[0]),
            self.units[-1],
        )
        return words.format(round(seconds / size))


TEMPLATES = {
    "en": Template(
        kinds={
            "view": "viewed {}",
            "search": "searched {}",
            "cart": "added {} to cart",
            "remove": "removed {} from cart",
            "favorite": "saved {}",
            "purchase": "bought {}",
            "coupon": "got a coupon {}",
            "review": "reviewed {}",
            "return": "returned {}",
        },
        same="it",
        item="item {}",
        price="{} $",
        units=(
            (86_400, "{} d later"),
            (3_600, "{} h later"),
            (60, "{} min later"),
            (1, "{} s later"),
        ),
        comma=", ",
        space=" ",
    ),
    "zh": Template(
        kinds={
            "view": "浏览{}",
            "search": "搜索{}",
            "cart": "将{}加入购物车",
            "remove": "将{}移出购物车",
            "favorite": "收藏{}",
            "purchase": "购买{}",
            "coupon": "领取优惠券{}",
            "review": "评价{}",
            "return": "退货{}",
        },
        same="它",
        item="商品{}",
        price="{}元",
        units=((86_400, "{}天后"), (3_600, "{}小时后"), (60, "{}分钟后"), (1, "{}秒后")),
        comma="，",
        space="",
    ),
}
"""Languages that sessions can be told in. Titles and names stay as the shop wrote them."""


def session_texts(
    log: pd.DataFrame,
    rows: np.ndarray | None = None,
    *,
    last: int = 8,
    language: str = "en",
    details: Iterable[str] = DETAILS,
) -> pd.Series:
    """Tell the visible part of each asked row's session as one sentence. Lesson 10.

    A text ends with the event of its own row: nothing that comes after it is told. An item
    that was told in the event just before is called "it". The sign after a price is a word of
    the template, whatever the shop's currency is. Gaps are told where the log's clock knows them.

    Args:
        log: A clean log with sessions, [n] rows.
        rows: The rows asked, bool [n] or positions; None: all.
        last: Tell at most so many events, the newest ones, the row's own included.
        language: ``"en"`` or ``"zh"``.
        details: Which of `DETAILS` to tell, where the log has them.

    Returns:
        A Series of str, [asked], named ``"text"``, with the log's index.

    Raises:
        CourseError: If there is no such language or detail, `last` is below 1, or the rows do
            not fit the log.
    """
    if language not in TEMPLATES:
        raise unknown_name("language", language, TEMPLATES)
    details = tuple(details)
    for detail in details:
        if detail not in DETAILS:
            raise unknown_name("detail", detail, DETAILS)
    if last < 1:
        raise CourseError(f"A text tells at least the last 1 event, not {last}.")
    template, asked = TEMPLATES[language], positions(log, rows)
    begin = np.maximum(session_bounds(log)[0][asked], asked + 1 - last)
    needed = np.zeros(len(log) + 1, np.int64)  # +1 where a text begins, -1 after its end
    np.add.at(needed, begin, 1)
    np.add.at(needed, asked + 1, -1)
    told = np.flatnonzero(np.cumsum(needed[:-1]) > 0)
    place = np.full(len(log), -1)
    place[told] = np.arange(len(told))
    first, further = _phrases(log, told, template, details)
    texts = [
        first[place[start]] + "".join(further[place[start] + 1 : place[row] + 1])
        for start, row in zip(begin, asked, strict=True)
    ]
    return pd.Series(texts, index=log.index[asked], name="text", dtype="str")


def item_texts(log: pd.DataFrame, details: Iterable[str] = ("words", "brand")) -> pd.Series:
    """Return the words of each item, as `session_texts` tells them, by ``item_id``. Lesson 10.

    Args:
        log: A log.
        details: Which of ``words``, ``brand`` and ``price`` to tell.

    Returns:
        A Series of str, one an item that occurs, in the order of the item's categories; an
        item that goes by several names has the one of its first row.
    """
    rows = log.dropna(subset="item_id").drop_duplicates("item_id").sort_values("item_id")
    told = _items(rows, TEMPLATES["en"], tuple(details))
    return pd.Series(told, index=pd.Index(rows["item_id"], name="item_id"), name="text")


def _phrases(
    log: pd.DataFrame, told: np.ndarray, template: Template, details: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Each told row as the first phrase of a text and as a further one."""
    rows = log.iloc[told]
    items = _items(rows, template, details)
    kinds = rows["event"].astype(str).tolist()
    first = [template.phrase(kind, item) for kind, item in zip(kinds, items, strict=True)]
    same = _same_item(log)[told]
    spoken = [
        template.phrase(kind, template.same) if repeated else phrase
        for kind, phrase, repeated in zip(kinds, first, same, strict=True)
    ]
    joint = [template.comma] * len(told)
    if "gap" in details and offers(log, "gaps"):
        gaps = log["timestamp"].diff().dt.total_seconds().to_numpy()[told]
        known = {gap: template.later(gap) + template.space for gap in np.unique(gaps) if gap >= 0.5}
        joint = [template.comma + known.get(gap, "") for gap in gaps]
    further = [between + phrase for between, phrase in zip(joint, spoken, strict=True)]
    return first, further


def _same_item(log: pd.DataFrame) -> np.ndarray:
    """Whether a row is about the item of the row before, bool [rows]."""
    codes = log["item_id"].astype("category").cat.codes.to_numpy()
    same = np.r_[False, codes[1:] == codes[:-1]]
    return same & (codes >= 0)


def _items(rows: pd.DataFrame, template: Template, details: tuple[str, ...]) -> list[str]:
    """What is told of each row's item; empty where the row is about none."""
    parts: list[list[str]] = []
    if "brand" in details and "brand" in rows:
        parts.append(_by_value(rows["brand"], str))
    if "words" in details:
        parts.append(_names(rows, template))
    if "price" in details and "price" in rows:
        parts.append(_by_value(rows["price"].round(), lambda v: template.price.format(int(v))))
    absent = rows["item_id"].isna().to_numpy()
    joined = (" ".join(filter(None, words)) for words in zip(*parts, strict=True))
    if not parts:
        return [""] * len(rows)
    return ["" if nothing else text for nothing, text in zip(absent, joined, strict=True)]


def _names(rows: pd.DataFrame, template: Template) -> list[str]:
    """The first of title, category and number that a row has."""
    names = _by_value(rows["item_id"], template.item.format)
    for column in ("category_id", "category_path", "title"):
        if column in rows:
            better = _by_value(rows[column], _plain)
            names = [new or old for new, old in zip(better, names, strict=True)]
    return names


def _plain(value: object) -> str:
    """A title or the name of a category in plain words; nothing of one without letters."""
    words = re.sub(r"[._>/|\s]+", " ", str(value)).strip().lower()
    return words if re.search(r"[^\W\d_]", words) else ""


def _by_value(column: pd.Series, tell: Callable[[object], str]) -> list[str]:
    """Tell each value of a column, each distinct one once; empty where it is missing."""
    codes, values = pd.factorize(column)
    words = [*(tell(value) for value in values), ""]
    return [words[code] for code in codes]
