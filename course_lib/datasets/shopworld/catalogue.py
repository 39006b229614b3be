"""What the shop sells: items with readable titles, prices, launches, stock-outs, promotions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

# department: (typical price, bought again and again?, materials, {category: nouns})
DEPARTMENTS: dict[str, tuple[float, bool, tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "fashion": (
        39.0,
        False,
        ("linen", "cotton", "wool", "denim", "silk", "viscose"),
        {
            "women.dresses": ("summer dress", "evening dress", "wrap dress"),
            "women.tops": ("blouse", "cardigan", "t-shirt"),
            "men.shirts": ("office shirt", "polo shirt", "flannel shirt"),
            "men.trousers": ("chinos", "slim jeans", "cargo shorts"),
        },
    ),
    "shoes": (
        65.0,
        False,
        ("leather", "suede", "canvas", "mesh"),
        {
            "sneakers": ("running shoes", "low sneakers", "court shoes"),
            "boots": ("ankle boots", "hiking boots", "rain boots"),
            "sandals": ("flat sandals", "platform sandals", "slides"),
        },
    ),
    "home": (
        34.0,
        False,
        ("steel", "ceramic", "oak", "glass", "bamboo"),
        {
            "kitchen.pans": ("frying pan", "saucepan", "casserole"),
            "kitchen.tableware": ("dinner plate", "soup bowl", "coffee mug"),
            "textiles.bedding": ("duvet cover", "pillowcase", "throw blanket"),
            "lighting": ("table lamp", "pendant lamp", "floor lamp"),
        },
    ),
    "furniture": (
        210.0,
        False,
        ("oak", "pine", "walnut", "rattan", "steel"),
        {
            "seating": ("armchair", "dining chair", "bar stool"),
            "tables": ("coffee table", "desk", "side table"),
            "storage": ("bookcase", "chest of drawers", "shoe rack"),
        },
    ),
    "electronics": (
        150.0,
        False,
        ("compact", "wireless", "smart", "portable"),
        {
            "phones": ("smartphone", "flip phone", "phone case"),
            "audio": ("headphones", "soundbar", "bluetooth speaker"),
            "computers": ("laptop", "monitor", "mechanical keyboard"),
            "cameras": ("action camera", "instant camera", "webcam"),
        },
    ),
    "appliances": (
        120.0,
        False,
        ("steel", "quiet", "compact", "digital"),
        {
            "kitchen": ("kettle", "toaster", "stand mixer"),
            "cleaning": ("vacuum cleaner", "steam mop", "robot vacuum"),
            "climate": ("tower fan", "air purifier", "fan heater"),
        },
    ),
    "beauty": (
        17.0,
        True,
        ("almond", "argan", "aloe", "rose", "charcoal"),
        {
            "skin": ("day cream", "face serum", "clay mask"),
            "hair": ("shampoo", "hair mask", "styling wax"),
            "makeup": ("lipstick", "mascara", "eyeliner"),
        },
    ),
    "grocery": (
        7.0,
        True,
        ("organic", "roasted", "salted", "wholegrain", "smoked"),
        {
            "coffee": ("espresso beans", "filter coffee", "instant coffee"),
            "snacks": ("almonds", "rye crackers", "trail mix"),
            "pantry": ("basmati rice", "red lentils", "olive oil"),
        },
    ),
    "pets": (
        14.0,
        True,
        ("salmon", "chicken", "grain-free", "natural"),
        {
            "dogs": ("dog food", "dog treats", "chew bone"),
            "cats": ("cat food", "cat litter", "cat treats"),
        },
    ),
    "toys": (
        24.0,
        False,
        ("wooden", "magnetic", "plush", "classic"),
        {
            "building": ("building blocks", "marble run", "train set"),
            "games": ("board game", "card game", "jigsaw puzzle"),
            "outdoor": ("scooter", "kite", "water gun"),
        },
    ),
    "sports": (
        42.0,
        False,
        ("light", "waterproof", "carbon", "foldable"),
        {
            "fitness": ("yoga mat", "dumbbell set", "jump rope"),
            "cycling": ("bike helmet", "bike lock", "cycling gloves"),
            "camping": ("tent", "sleeping bag", "camping stove"),
        },
    ),
    "garden": (
        29.0,
        False,
        ("terracotta", "cedar", "galvanised", "recycled"),
        {
            "plants": ("olive tree", "lavender", "fern"),
            "tools": ("pruning shears", "spade", "watering can"),
            "outdoor": ("plant pot", "garden bench", "fire bowl"),
        },
    ),
}
COLOURS = (
    "Blue", "Black", "White", "Red", "Green", "Grey", "Sand", "Navy", "Yellow", "Pink",
    "Olive", "Copper",
)  # fmt: skip
BRANDS = (
    "Aldera", "Bramble", "Corvane", "Dunmore", "Eskil", "Fennick", "Galtor", "Hollin", "Isbrand",
    "Jorvik", "Kestrel", "Lumen", "Marlow", "Nordal", "Orrin", "Pascoe", "Quarry", "Ravel",
    "Solva", "Tarn", "Umber", "Velden", "Wexley", "Yarrow", "Zephyr",
)  # fmt: skip
DISCOUNTS = np.array([0.1, 0.15, 0.2, 0.3, 0.4])


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items and what happens to them day by day (N items in order of category, D days).

    Attributes:
        items: One row an item: item_id, title, category_id, department, brand, price (the
            regular one), popularity, launch_day, consumable.
        available: Whether an item is launched and in stock, bool [D, N].
        discount: Price cut of the day as a share, 0 off promotion, float32 [D, N].
        category: Category number of each item, int64 [N].
        department: Department number of each category, int64 [C].
        consumable: Whether a department's items are bought again and again, bool [departments].
    """

    items: pd.DataFrame
    available: np.ndarray
    discount: np.ndarray
    category: np.ndarray
    department: np.ndarray
    consumable: np.ndarray

    @property
    def on_promotion(self) -> np.ndarray:
        """Whether an item is on promotion, bool [D, N]."""
        return self.discount > 0


def make_catalogue(items: int, promotion_days: np.ndarray, rng: np.random.Generator) -> Catalogue:
    """Invent a catalogue.

    Args:
        items: How many items, a few hundred at least.
        promotion_days: Which of the D days are promotion days, bool [D].
        rng: Source of chance.
    """
    categories = [f"{name}.{part}" for name, spec in DEPARTMENTS.items() for part in spec[3]]
    department_of_category = np.repeat(
        np.arange(len(DEPARTMENTS)), [len(spec[3]) for spec in DEPARTMENTS.values()]
    )
    category = np.sort(rng.integers(len(categories), size=items))
    category[: len(categories)] = np.arange(len(categories))
    category.sort()
    consumable = np.array([spec[1] for spec in DEPARTMENTS.values()])
    department = department_of_category[category]
    staple = consumable[department]
    days = len(promotion_days)
    launch = np.where(rng.random(items) < 0.75, 0, rng.integers(0, max(days, 1), size=items))
    launch = np.where(staple & (rng.random(items) < 0.5), 0, launch)
    table = pd.DataFrame(
        {
            "item_id": [f"I{number:05d}" for number in range(items)],
            "title": _titles(categories, category, rng),
            "category_id": pd.Categorical.from_codes(category, categories),
            "department": pd.Categorical.from_codes(department, list(DEPARTMENTS)),
            "brand": pd.Categorical.from_codes(_brands(department, rng), sorted(BRANDS)),
            "price": _prices(department, rng),
            "popularity": rng.permutation(np.arange(1, items + 1) ** -1.2),
            "launch_day": launch,
            "consumable": staple,
        }
    )
    return Catalogue(
        items=table,
        available=_in_stock(launch, staple, days, rng),
        discount=_discounts(items, promotion_days, rng),
        category=category,
        department=department_of_category,
        consumable=consumable,
    )


def _titles(categories: list[str], category: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Name each item, all names different: colour, material, noun and, if need be, a number."""
    used: dict[str, int] = {}
    titles = []
    for code in category:
        department, part = categories[code].split(".", 1)
        _, _, materials, parts = DEPARTMENTS[department]
        words = (rng.choice(COLOURS), rng.choice(materials), rng.choice(parts[part]))
        title = " ".join(words)
        used[title] = used.get(title, 0) + 1
        titles.append(title if used[title] == 1 else f"{title} mark {used[title]}")
    return titles


def _brands(department: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each item a brand number; a department is served by a handful of brands."""
    return (department * 3 + rng.geometric(0.35, size=len(department))) % len(BRANDS)


def _prices(department: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw lognormal prices around the department's typical one, ending in .99."""
    typical = np.array([spec[0] for spec in DEPARTMENTS.values()])[department]
    prices = typical * np.exp(rng.normal(0.0, 0.5, size=len(department)))
    return (np.floor(prices) + 0.99).astype(np.float32)


def _in_stock(
    launch: np.ndarray, staple: np.ndarray, days: int, rng: np.random.Generator
) -> np.ndarray:
    """Mark the days after launch on which an item is in stock; staples never run out."""
    today = np.arange(days)[:, None]
    available = today >= launch
    for _ in range(1 + days // 60):
        begin = rng.integers(-30, days + 1, size=len(launch))
        length = rng.integers(3, 15, size=len(launch))
        hit = (rng.random(len(launch)) < 0.5) & ~staple
        available &= ~((today >= begin) & (today < begin + length) & hit)
    return available


def _discounts(items: int, promotion_days: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw each item's promotions; on promotion days a fifth of the shop joins in."""
    days = len(promotion_days)
    today = np.arange(days)[:, None]
    discount = np.zeros((days, items), dtype=np.float32)
    for _ in range(1 + days // 45):
        begin = rng.integers(-9, days + 1, size=items)
        end = begin + rng.integers(4, 10, size=items)
        cut = rng.choice(DISCOUNTS, size=items).astype(np.float32)
        discount = np.where((today >= begin) & (today < end), cut, discount)
    joins = promotion_days[:, None] & (rng.random(items) < 0.2)
    return np.where(joins & (discount == 0), np.float32(0.2), discount).astype(np.float32)
