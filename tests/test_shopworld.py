"""ShopWorld: deterministic, lawful, and an oracle that is exact."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from course_lib.datasets import shopworld
from course_lib.datasets.shopworld import world as rules
from course_lib.errors import CourseError

OUTCOMES = list(shopworld.OUTCOMES)
LEAVE = OUTCOMES.index("leave")


@pytest.fixture(scope="module")
def small() -> shopworld.Simulation:
    return shopworld.simulate(seed=3, users=900, days=90)


@pytest.fixture(scope="module")
def million() -> shopworld.Simulation:
    made = shopworld.simulate(seed=11, users=19_000, days=150, dirt=False)
    assert len(made.log) > 1_000_000
    return made


def follows(log: pd.DataFrame) -> np.ndarray:
    """Outcome number that follows each row in its session, int [n]."""
    code = pd.Index(OUTCOMES).get_indexer(log["event"])
    session = log["session_id"].to_numpy()
    last = np.append(session[1:] != session[:-1], True)
    return np.where(last, LEAVE, np.append(code[1:], LEAVE))


def buys_later(log: pd.DataFrame) -> np.ndarray:
    """Whether a purchase follows each row in its session, bool [n]."""
    purchase = (log["event"] == "purchase").to_numpy()
    last = pd.Series(np.where(purchase, np.arange(len(log)), -1))
    return (last.groupby(log["session_id"].to_numpy()).transform("max") > last.index).to_numpy()


def losses(forecast: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return -np.log(forecast[np.arange(len(outcome)), outcome])


def margin(difference: np.ndarray, session: np.ndarray) -> tuple[float, float]:
    """Mean of a difference by row, and its standard error when sessions are the units."""
    centred = np.bincount(session, difference - difference.mean())
    return difference.mean(), np.sqrt((centred**2).sum()) / len(difference)


def miscalibration(probability: np.ndarray, happened: np.ndarray, session: np.ndarray) -> float:
    """Largest distance, in standard errors, between forecast and frequency over ten bins."""
    edges = np.unique(np.quantile(probability, np.linspace(0, 1, 11)[1:-1]))
    part = np.searchsorted(edges, probability)
    worst = 0.0
    for number in np.unique(part):
        here = part == number
        residual = np.where(here, happened - probability, 0.0)
        error = np.sqrt((np.bincount(session, residual) ** 2).sum())
        worst = max(worst, abs(residual.sum()) / max(error, 1e-12))
    return worst


def calibration(log: pd.DataFrame, forecast: pd.DataFrame) -> dict[str, float]:
    """Miscalibration of each outcome and of purchase_later."""
    outcome, session = follows(log), log["session_id"].to_numpy()
    worst = {
        name: miscalibration(forecast[name].to_numpy(), outcome == code, session)
        for code, name in enumerate(OUTCOMES)
    }
    later = forecast["purchase_later"].to_numpy()
    return worst | {"purchase_later": miscalibration(later, buys_later(log), session)}


def test_same_arguments_give_the_same_shop_and_other_seeds_another() -> None:
    first = shopworld.simulate(seed=5, users=60, days=30)
    shopworld.simulation._simulate.cache_clear()
    again = shopworld.simulate(seed=5, users=60, days=30)
    for name in ("raw", "truth", "log"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name))
    other = shopworld.simulate(seed=6, users=60, days=30)
    assert not first.log["timestamp"].head(50).equals(other.log["timestamp"].head(50))


def test_changing_a_result_does_not_change_the_next_one() -> None:
    first = shopworld.simulate(seed=5, users=60, days=30)
    first.raw["price"] = np.float32(0)
    first.log.loc[0, "event"] = "purchase"
    again = shopworld.simulate(seed=5, users=60, days=30)
    assert again.raw["price"].max() > 0
    assert again.log["event"].iloc[0] != "purchase"


def test_the_log_keeps_the_schema(small: shopworld.Simulation) -> None:
    from course_lib.events import validate_log

    validate_log(small.log)
    assert small.log["session_id"].diff().dropna().isin([0, 1]).all()
    assert small.raw.attrs["dataset"] == "shopworld"
    assert small.raw.attrs["clock"] == "time"
    assert "session_id" not in small.raw
    assert small.raw["received_at"].is_monotonic_increasing


def test_carts_and_coupons_keep_the_rules(small: shopworld.Simulation) -> None:
    log, world = small.log, small.world
    for _, rows in log.groupby("session_id"):
        cart: list[str] = []
        coupon = False
        for event, item, quantity in zip(
            rows["event"], rows["item_id"], rows["quantity"], strict=True
        ):
            if event == "cart":
                cart.append(item)
                assert len(cart) <= world.max_cart
            elif event == "remove":
                assert item == cart.pop()
            elif event == "coupon":
                assert not coupon
                coupon = True
            elif event == "purchase":
                assert (item, quantity) == (cart[0], len(cart))
                cart, coupon = [], False
    without_item = log["event"].isin(["search", "coupon"])
    assert (log["item_id"].isna() == without_item).all()
    assert (log["price"].isna() == without_item).all()


def test_items_are_sold_when_they_can_be(small: shopworld.Simulation) -> None:
    log, catalogue = small.log, small.catalogue
    first_row = ~log["session_id"].duplicated()
    midnight = log["timestamp"].where(first_row).ffill().dt.floor("D")
    day = (midnight - pd.Timestamp(small.world.start, tz="UTC")).dt.days.to_numpy()
    views = (log["event"] == "view").to_numpy()
    item = log["item_id"].cat.codes.to_numpy()
    assert (catalogue.available[day[views], item[views]]).mean() > 0.99
    assert (day >= catalogue.items["launch_day"].to_numpy()[item])[views].mean() > 0.99
    promoted = catalogue.on_promotion[day[views], item[views]]
    assert (promoted == log["promotion"].to_numpy()[views]).all()
    regular = catalogue.items["price"].to_numpy()[item[views]]
    assert ((log["price"].to_numpy()[views] < regular - 0.005) == promoted).all()


def test_thirty_minutes_of_silence_recover_the_sessions(small: shopworld.Simulation) -> None:
    log = small.log
    same_user = log["user_id"].eq(log["user_id"].shift())
    gap = log["timestamp"].diff()
    new = ~same_user | (gap >= pd.Timedelta(minutes=30))
    assert (new.cumsum() - 1 == log["session_id"]).all()
    assert gap[~new].min() >= pd.Timedelta(seconds=rules.MIN_GAP)


def test_the_truth_repairs_the_raw_log(small: shopworld.Simulation) -> None:
    raw, truth, log = small.raw, small.truth, small.log
    happened = (truth["log_row"] >= 0).to_numpy()
    never = truth["duplicate"] | truth["bot"]
    assert (happened == ~never.to_numpy()).all()
    row = truth["log_row"].to_numpy()[happened]
    assert (np.sort(row) == np.arange(len(log))).all()

    recorded, wrong = raw[happened].reset_index(drop=True), truth[happened].reset_index(drop=True)
    real = log.iloc[row].reset_index(drop=True)
    for column in ("user_id", "event", "item_id", "category_id", "promotion", "quantity"):
        assert recorded[column].equals(real[column]), column
    in_time = ~wrong["clock"]
    assert (recorded["timestamp"] == real["timestamp"])[in_time].all()
    assert (recorded["timestamp"] != real["timestamp"])[~in_time].all()
    priced = ~(wrong["absurd_price"] | wrong["missing_price"])
    assert recorded["price"][priced].equals(real["price"][priced])
    assert recorded["price"][wrong["missing_price"]].isna().all()
    assert (recorded["price"] != real["price"])[wrong["absurd_price"]].all()
    whole = ~wrong["truncated"]
    for column in ("title", "brand"):
        assert recorded[column][whole].astype(str).equals(real[column][whole].astype(str))
    cut = zip(recorded["title"][~whole], real["title"][~whole], strict=True)
    assert all(full.startswith(part) and part != full for part, full in cut)
    assert recorded["brand"][~whole].isna().all()


def test_dirt_can_be_told_from_the_raw_log(small: shopworld.Simulation) -> None:
    raw, truth = small.raw, small.truth
    ahead = raw["timestamp"] > raw["received_at"]
    reset = raw["timestamp"].dt.year == 1970
    assert ((ahead | reset) == truth["clock"]).all()
    delay = raw["received_at"] - raw["timestamp"]
    assert (delay[truth["late"]] >= pd.Timedelta(minutes=5)).all()
    usual = ~(truth["late"] | truth["clock"])
    assert (delay[usual] < pd.Timedelta(seconds=5)).all()

    known = raw.assign(received=raw["received_at"], item=raw["item_id"].cat.codes)
    known = known.sort_values(["user_id", "event", "item", "timestamp"], kind="stable")
    same = known[["user_id", "event", "item"]].eq(known[["user_id", "event", "item"]].shift())
    close = known["timestamp"].diff() <= pd.Timedelta(seconds=1)
    assert (same.all(axis=1) & close).sum() == truth["duplicate"].sum()

    bots = raw[truth["bot"]]
    assert set(bots["event"]) <= {"view", "search"}
    assert bots.groupby("user_id").size().min() >= 60
    assert not set(bots["user_id"]) & set(small.log["user_id"])


@pytest.mark.parametrize("rate", ["duplicate", "bot", "clock", "absurd_price", "late"])
def test_each_rate_makes_its_own_dirt(rate: str) -> None:
    rates = replace(shopworld.simulation.CLEAN, **{rate: 0.05})
    truth = shopworld.simulate(seed=2, users=150, days=30, dirt=rates).truth
    assert truth[rate].mean() == pytest.approx(0.05, abs=0.04)
    assert not truth[[kind for kind in shopworld.KINDS if kind != rate]].to_numpy().any()


def tiny_world() -> shopworld.World:
    """Two intents, a cart of one, short sessions: small enough to enumerate."""
    rng = np.random.default_rng(0)
    first = rng.dirichlet(np.ones(6), size=2) * [1, 1, 1, 0, 1, 0]
    logits = rng.normal(0, 0.8, size=(2, 7))
    logits[:, LEAVE] += 1.5
    return shopworld.World(
        intents=("looks", "buys"),
        switch=np.array([[0.8, 0.2], [0.3, 0.7]]),
        first=first / first.sum(axis=1, keepdims=True),
        intent_logits=logits,
        after_logits=rng.normal(0, 0.5, size=(6, 7)),
        cart_logits=rng.normal(0, 0.5, size=7),
        crowd_logits=np.zeros(7),
        coupon_logits=rng.normal(0, 1, size=7),
        start_odds=rng.dirichlet(np.ones(2), size=(3, 2)),
        gap_mean=rng.uniform(2, 4, size=(2, 6)),
        revisit=np.array([0.1, 0.6]),
        promoted=np.array([0.2, 0.7]),
        max_cart=1,
    )


def by_hand(world: shopworld.World, state: tuple[int, int, int]) -> np.ndarray:
    """Odds of each outcome in a state (last, cart, coupon), written out: [Z, 7]."""
    last, cart, coupon = state
    logits = world.intent_logits + world.after_logits[last]
    logits = logits + (cart > 0) * world.cart_logits + coupon * world.coupon_logits
    weights = np.exp(logits)
    forbidden = {2: cart >= world.max_cart, 3: cart == 0, 4: coupon == 1, 5: cart == 0}
    for outcome, is_forbidden in forbidden.items():
        if is_forbidden:
            weights[:, outcome] = 0
    return weights / weights.sum(axis=1, keepdims=True)


def step(world: shopworld.World, state: tuple[int, int, int], event: int) -> tuple[int, int, int]:
    _, cart, coupon = state
    if event == 5:
        return event, 0, 0
    return event, cart + (event == 2) - (event == 3), 1 if event == 4 else coupon


def enumerate_paths(
    world: shopworld.World, events: list[int], prior: np.ndarray, marks: np.ndarray
) -> tuple[np.ndarray, float]:
    """Next-outcome odds, and the odds of no purchase ending, by summing over hidden paths."""
    total = np.zeros(7)
    for path in product(range(2), repeat=len(events) + 1):
        weight = prior[path[0]] * world.first[path[0], events[0]] * marks[0, path[0]]
        state = step(world, (0, 0, 0), events[0])
        for t in range(1, len(events)):
            weight *= world.switch[path[t - 1], path[t]] * marks[t, path[t]]
            weight *= by_hand(world, state)[path[t], events[t]]
            state = step(world, state, events[t])
        weight *= world.switch[path[-2], path[-1]]
        total += weight * by_hand(world, state)[path[-1]]
    return total / total.sum(), total.sum()


def purchase_by_futures(
    world: shopworld.World, state: tuple[int, int, int], belief: np.ndarray, depth: int
) -> float:
    """Odds of a purchase within ``depth`` events, by walking through every future."""
    if depth == 0 or belief.sum() < 1e-14:
        return 0.0
    odds = by_hand(world, state)
    total = float(belief @ odds[:, 5])
    for event in (0, 1, 2, 3, 4):
        after = (belief * odds[:, event]) @ world.switch
        total += purchase_by_futures(world, step(world, state, event), after, depth - 1)
    return total


def tiny_log(events: list[str]) -> pd.DataFrame:
    times = pd.Timestamp("2025-01-06", tz="UTC") + pd.to_timedelta(
        np.cumsum([0, 7, 30, 12, 5][: len(events)]), unit="s"
    )
    items = [f"I{number}" if name in ("view", "cart") else None
             for name, number in zip(events, (1, 1, 2, 1, 3), strict=False)]  # fmt: skip
    return pd.DataFrame(
        {
            "user_id": 1,
            "session_id": 0,
            "timestamp": times.as_unit("us"),
            "event": pd.Categorical(events, categories=list(shopworld.EVENTS)),
            "item_id": pd.Categorical(items),
            "promotion": [item == "I2" for item in items],
        }
    )


def mark_odds_by_hand(world: shopworld.World, log: pd.DataFrame) -> np.ndarray:
    """P(marks | intent) of each row of a first-time visitor, written out: [n, Z]."""
    odds = np.ones((len(log), 2))
    seen: set[str] = set()
    rows = zip(log["event"].cat.codes, log["item_id"], log["promotion"], strict=True)
    gaps = log["timestamp"].diff().dt.total_seconds()
    for row, (event, item, promoted) in enumerate(rows):
        if row:
            odds[row] *= world.gap_odds[int(gaps[row]), :, event]
        if event == 0 and seen:
            odds[row] *= world.revisit if item in seen else 1 - world.revisit
        if event == 0 and item not in seen:
            odds[row] *= world.promoted if promoted else 1 - world.promoted
        if event in (0, 2):
            seen.add(item)
    return odds


@pytest.mark.parametrize("given", ["events", "everything"])
@pytest.mark.parametrize(
    "events",
    [
        ["view"],
        ["view", "view", "cart", "view", "search"],
        ["search", "view", "coupon", "cart", "purchase"],
        ["coupon", "cart", "remove", "view", "view"],
    ],
)
def test_the_oracle_equals_enumeration(events: list[str], given: str) -> None:
    world = tiny_world()
    log = tiny_log(events)
    codes = list(log["event"].cat.codes)
    marks = mark_odds_by_hand(world, log) if given == "everything" else np.ones((len(log), 2))
    forecast = shopworld.oracle(log, world, given)
    for row in range(len(log)):
        seen = codes[: row + 1]
        expected, _ = enumerate_paths(world, seen, world.start_odds[0, 0], marks)
        np.testing.assert_allclose(forecast[OUTCOMES].iloc[row], expected, atol=1e-9)


def test_purchase_later_equals_enumeration_of_futures() -> None:
    world = tiny_world()
    state = (0, 0, 0)
    number = world.state(*state)
    values = shopworld.purchase_values(world)
    for intent in range(2):
        near = purchase_by_futures(world, state, np.eye(2)[intent], depth=7)
        far = purchase_by_futures(world, state, np.eye(2)[intent], depth=8)
        assert near < far <= values[intent, number] + 1e-12
    operator = np.zeros_like(values)
    for z, s in product(range(2), range(world.states)):
        operator[z, s] = world.odds[z, s, 5] + sum(
            world.odds[z, s, event] * world.switch[z] @ values[:, world.next_state[s, event]]
            for event in (0, 1, 2, 3, 4)
        )
    np.testing.assert_allclose(values, operator, atol=1e-12)


def test_gap_odds_sum_to_one() -> None:
    table = shopworld.default_world().gap_odds
    np.testing.assert_allclose(table.sum(axis=0), 1)
    assert (table[: rules.MIN_GAP] == 0).all()


@pytest.mark.parametrize("given", ["events", "everything"])
def test_the_oracle_is_calibrated_on_a_million_events(
    million: shopworld.Simulation, given: str
) -> None:
    forecast = shopworld.oracle(million.log, million.world, given)
    np.testing.assert_allclose(forecast[OUTCOMES].sum(axis=1), 1)
    worst = calibration(million.log, forecast)
    assert max(worst.values()) < 4.5, worst


def test_calibration_catches_a_wrong_filter(million: shopworld.Simulation) -> None:
    log = million.log[million.log["session_id"] < 10_000]
    swapped = replace(million.world, switch=million.world.switch[[1, 0, 2, 3]])
    worst = calibration(log, shopworld.oracle(log, swapped))
    assert max(worst.values()) > 6


def test_knowing_more_never_hurts_and_nothing_trained_beats_the_oracle(
    million: shopworld.Simulation,
) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    log = million.log[million.log["session_id"] < 8_000]
    session, outcome = log["session_id"].to_numpy(), follows(log)
    events = losses(shopworld.oracle(log, million.world).to_numpy(), outcome)
    everything = losses(shopworld.oracle(log, million.world, "everything").to_numpy(), outcome)
    gain, error = margin(events - everything, session)
    assert gain > 3 * error

    features = state_features(log, million.world)
    train = session < 5_000
    model = HistGradientBoostingClassifier(
        max_iter=15, max_leaf_nodes=12, learning_rate=0.3, max_bins=32, random_state=0
    )
    model.fit(features[train], outcome[train])
    trained = losses(model.predict_proba(features[~train]), outcome[~train])
    excess, error = margin(trained - events[~train], session[~train])
    assert excess > -2 * error
    chain = markov(log, outcome, train, order=3)
    excess, error = margin(losses(chain, outcome)[~train] - events[~train], session[~train])
    assert excess > 3 * error


def state_features(log: pd.DataFrame, world: shopworld.World) -> np.ndarray:
    """What a careful modeller would count: the visible state, the last events, totals."""
    code = pd.Series(pd.Index(shopworld.EVENTS).get_indexer(log["event"]))
    group = code.groupby(log["session_id"].to_numpy())
    columns = [code, group.cumcount(), *(group.shift(lag).fillna(-1) for lag in (1, 2, 3))]
    for event in range(6):
        columns.append((code == event).groupby(log["session_id"].to_numpy()).cumsum())
    columns.append(pd.Series(shopworld.far_back(log, 0)))
    return np.column_stack(columns).astype(np.float32)


def markov(log: pd.DataFrame, outcome: np.ndarray, train: np.ndarray, order: int) -> np.ndarray:
    code = pd.Series(pd.Index(shopworld.EVENTS).get_indexer(log["event"]))
    group = code.groupby(log["session_id"].to_numpy())
    key = sum(
        (group.shift(lag).fillna(6).to_numpy().astype(int) * 7**lag for lag in range(order)),
        np.zeros(len(code), dtype=int),
    )
    counts = np.full((7**order, 7), 0.2)
    np.add.at(counts, (key[train], outcome[train]), 1)
    return (counts / counts.sum(axis=1, keepdims=True))[key]


def test_far_back_by_hand() -> None:
    names = ["view", "coupon", "view", "view", "cart", "purchase", "view", "view"]
    log = pd.DataFrame({"session_id": [0] * 8 + [1] * 3, "event": [*names, "view", "view", "view"]})
    expected = [False, False, False, True, True, False, False, False, False, False, False]
    assert shopworld.far_back(log, distance=1).tolist() == expected
    assert shopworld.far_back(log, distance=0).tolist()[1:5] == [False, True, True, True]


def test_an_impossible_event_is_survived() -> None:
    log = tiny_log(["view", "purchase", "view"])
    forecast = shopworld.oracle(log, tiny_world())
    assert np.isfinite(forecast.to_numpy()).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "quik"}, "did you mean 'quick'"),
        ({"users": 0}, "users is 0"),
        ({"days": 1.5}, "days is 1.5"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments: dict, message: str) -> None:
    with pytest.raises(CourseError, match=message):
        shopworld.simulate(**arguments)


def test_the_oracle_names_what_it_lacks(small: shopworld.Simulation) -> None:
    with pytest.raises(CourseError, match="session_id"):
        shopworld.oracle(small.raw, small.world)
    with pytest.raises(CourseError, match="did you mean 'events'"):
        shopworld.oracle(small.log, small.world, "event")
    with pytest.raises(CourseError, match="side by side"):
        shopworld.far_back(small.log.sort_values("timestamp"))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (40, 400)])
def test_small_and_long_shops_work(size: tuple[int, int]) -> None:
    made = shopworld.simulate(seed=4, users=size[0], days=size[1])
    assert made.log["user_id"].nunique() == size[0]
    assert len(made.raw) == len(made.truth) >= len(made.log)
