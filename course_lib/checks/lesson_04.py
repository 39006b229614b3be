"""Checks of lesson 04's exercises: back-off, ranks, three honest scores, a model of one's own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.sessions import next_item, session_ids
from course_lib.splits import temporal_split

PLACES = 20
"""Suggestions a question gets in the open task."""
BACK = 10
"""How many visible items of a session a question of the open task shows."""
_QUESTIONS = 2000
_TAUGHT = 100_000
_SHARE_OF_GAP = {"shopworld": 1.0}
_SHARE_ELSEWHERE = 0.5
_SCALAR = (float, int)


@exercise(
    "04.1",
    title="Forecast, and back off",
    objects=("markov_forecast",),
    hints=(
        "Begin with the base: how often each outcome came at all, as if each had been seen "
        "`smoothing / len(outcomes)` times more. Its parts add up to 1.",
        "`pd.crosstab(taught['last'], taught['next'])` counts what followed what; `reindex` with "
        "`fill_value=0` brings it to the contexts asked and to all outcomes.",
        "The row of a context is its counts plus `smoothing` times the base, divided by the "
        "context's total plus `smoothing`. What is left of this where the counts are all 0?",
        'Lesson 04, section "1. What happens next?" counts a chain that leans on the frequencies, '
        'and "Markov chains and back-off" lets longer contexts lean on shorter ones.',
    ),
)
def markov_with_back_off(answer: Answer, cases: Cases) -> None:
    """Eight pairs by hand, an outcome that never came, a context never seen; then the log."""
    forecast = answer.function("markov_forecast", returns=(np.ndarray, pd.DataFrame, list))
    taught = pd.DataFrame(
        {
            "last": ["view"] * 6 + ["cart"] * 2,
            "next": ["view", "view", "view", "cart", "cart", "leave", "purchase", "leave"],
        }
    )
    outcomes, asked, s = ["cart", "favorite", "leave", "purchase", "view"], 3, 2.0
    got = _table(forecast(taught, ["view", "cart", "search"], outcomes, s))
    if not cases(
        "one row a question, one number an outcome",
        got is not None and got.shape == (asked, len(outcomes)),
        "three questions and five outcomes should give numbers of shape (3, 5), and give "
        + ("something that is no table of numbers." if got is None else f"{got.shape}."),
    ):
        return
    view, cart = np.array([2, 0, 1, 0, 3]), np.array([0, 0, 1, 1, 0])
    cells, counts = np.vstack([view, cart, 0 * view]), view + cart
    total = cells.sum(axis=1, keepdims=True)
    base = (counts + s / 5) / (8 + s)
    truth = (cells + s * base) / (total + s)
    frequencies = counts / 8
    with np.errstate(invalid="ignore", divide="ignore"):
        backwards = cells[0] / counts
    cases.mistake(
        np.allclose(got[:2], frequencies) or np.allclose(got[:2], base),
        "Every context gets the same forecast: it says how often each outcome comes, and never "
        "looks at the last event.",
    )
    cases.mistake(
        np.allclose(got[0, counts > 0], backwards[counts > 0])
        or np.allclose(got[0], (view + s * base) / (counts + s)),
        "The shares were taken the wrong way round: of all `cart` labels, how many came after a "
        "view? Asked is: of all views, how many were followed by `cart`? Divide by the total of "
        "the context.",
    )
    cases.mistake(
        np.allclose(got[:2], (cells / np.maximum(total, 1))[:2]),
        "Nothing is smoothed: after two carts this forecast is certain that no view can follow, "
        "and an unseen context has nothing to fall back on.",
    )
    cases.mistake(
        np.allclose(got[:2], ((cells + s / 5) / (total + s))[:2])
        or np.allclose(got[:2], ((cells + 1) / (total + 5))[:2])
        or np.allclose(got[:2], ((cells + s) / (total + 5 * s))[:2]),
        "A rare context leans on the uniform forecast, in which a purchase is as likely as a "
        "view. Let it lean on the base, on how often each outcome comes.",
    )
    base_of_1 = (counts + 1 / 5) / (8 + 1)
    cases.mistake(
        any(np.allclose(got[:2], ((cells + lean) / (total + 1))[:2]) for lean in (base, base_of_1))
        or np.allclose(got[:2], ((cells + s * base_of_1) / (total + s))[:2]),
        "The question says to smooth as if seen twice, and somewhere in this forecast it is once: "
        "use the argument `smoothing` in the base and in the chain, not a number of your own.",
    )
    cases.mistake(
        (got[:, 1] == 0).all() and np.allclose(got.sum(axis=1), 1),
        "`favorite` has probability 0 in every row because training never saw it. The first time "
        "it happens the log-loss is infinite: smooth the base as well.",
    )
    cases.mistake(
        not np.isfinite(got[2]).all() or (np.allclose(got[:2], truth[:2]) and not got[2].any()),
        "`search` never was the last event in training, and its row holds no forecast. With no "
        "counts of its own, a context has the base.",
    )
    cases.equal("every forecast adds up to 1", got.sum(axis=1), [1.0, 1.0, 1.0], tolerance=1e-6)
    cases.equal("a context that was often seen", got[0], truth[0], tolerance=1e-6)
    cases.equal("a context that was seen twice leans on the base", got[1], truth[1], tolerance=1e-6)
    cases.equal("a context never seen gets the base itself", got[2], base, tolerance=1e-6)
    taught = answer.given("taught").tail(20_000)
    asked = answer.given("held_out")["last"].head(500)
    outcomes = sorted(taught["next"].unique())
    got = _table(forecast(taught, asked, outcomes, 1.0))
    truth = _markov(taught, asked, outcomes, 1.0)
    same = got is not None and got.shape == truth.shape and np.allclose(got, truth, atol=1e-6)
    cases(
        "the same on the log, with a smoothing of 1",
        same,
        "on the pairs made by hand it holds or is explained above; on the log it differs.",
    )


def _markov(taught: pd.DataFrame, asked: pd.Series, outcomes: list, smoothing: float) -> np.ndarray:
    """The forecasts that exercise 04.1 asks for, [asked, outcomes]."""
    counts = taught["next"].value_counts().reindex(outcomes, fill_value=0).to_numpy()
    base = (counts + smoothing / len(outcomes)) / (counts.sum() + smoothing)
    cells = pd.crosstab(taught["last"], taught["next"])
    cells = cells.reindex(index=list(asked), columns=outcomes, fill_value=0).to_numpy()
    return (cells + smoothing * base) / (cells.sum(axis=1, keepdims=True) + smoothing)


@exercise(
    "04.2",
    title="The rank of the answer",
    objects=("rank_of_target", "ndcg"),
    hints=(
        "Do not sort. Whoever stands before the answer has a higher score: count them.",
        "Items that tie with the answer come before it in half of all orders. Does the answer tie "
        "with itself?",
        "A question whose answer stands at rank r within the first k is worth 1 / log2(1 + r), "
        "any other nothing. The mean is over all questions.",
        'Lesson 04, section "Ranking the full catalogue" counts ranks, and settles ties.',
    ),
)
def rank_by_counting(answer: Answer, cases: Cases) -> None:
    """Ties by hand, columns in another order, ranks by hand; then popularity on the log."""
    rank_of_target = answer.function("rank_of_target", returns=(np.ndarray, pd.Series, list))
    ndcg = answer.function("ndcg", returns=_SCALAR)
    one = [0.9, 0.5, 0.5, 0.5, 0.1]
    scores, targets = np.array([one, one, one, [0.2] * 5]), np.array([2, 0, 4, 3])
    got = _numbers(rank_of_target(scores, targets))
    if not cases(
        "one rank a question",
        got is not None and got.shape == (4,),
        "four questions should give four numbers.",
    ):
        return
    mirrored = _numbers(rank_of_target(scores[:, ::-1], 4 - targets))
    truth = _ranks(scores, targets)
    cases.mistake(
        np.allclose(got, truth - 1),
        "The best rank is 0 here. Ranks begin at 1: with 0, 1/rank of a perfect forecast is "
        "infinite, and a hit among the first 10 would be one among 11.",
    )
    cases.mistake(
        np.allclose(got, [3, 5, 1, 3]),
        "The lowest score stands first: this rewards the model for what it thinks least likely.",
    )
    cases.mistake(
        np.allclose(got, [2, 1, 5, 1]),
        "The answer wins every tie: a model that gives all items the same score would be called "
        "perfect, with rank 1 in every question.",
    )
    cases.mistake(
        np.allclose(got, [4, 1, 5, 5]),
        "The answer loses every tie: a model with few distinct scores, as counts are, is made "
        "worse than it is. Over all orders of the tied items the answer stands in their middle.",
    )
    cases.mistake(
        np.allclose(got, truth + 0.5),
        "The answer is counted as a tie with itself, so even a lone winner gets rank 1.5: take "
        "one off the number of ties.",
    )
    cases.mistake(
        mirrored is None or mirrored.shape != got.shape or not np.allclose(got, mirrored),
        "The rank changes when the items are listed in another order: among equal scores the "
        "sort decides, that is the item's number. Many items tie in counts, so the score "
        "would depend on how the catalogue happens to be numbered.",
    )
    cases.equal("a lone winner has rank 1, the last of five rank 5", got[1:3], [1.0, 5.0])
    cases.equal("one better item, three tied with the answer among them: rank 3", got[0], 3.0)
    cases.equal("five equal scores: the middle, rank 3", got[3], 3.0)
    ranks = np.array([1.0, 3.0, 2.5, 10.0, 12.0])
    gains = 1 / np.log2(1 + ranks)
    value = float(ndcg(ranks, 10))
    cases.mistake(
        not np.isfinite(value),
        "A perfect rank makes the score infinite or undefined: the discount is log2(1 + rank), "
        "which is 1 at rank 1, not log2(rank), which is 0.",
    )
    cases.mistake(
        np.isclose(value, gains[:4].mean()),
        "Only the questions with a hit are averaged, so a model that answers one question in a "
        "thousand, and well, would be the best of all. A miss counts as 0.",
    )
    cases.mistake(
        np.isclose(value, gains.mean()),
        "Rank 12 still earns something at k = 10: nobody sees what stands below the list's end.",
    )
    cases.mistake(
        np.isclose(value, gains[:3].sum() / 5),
        "Rank 10 earns nothing at k = 10: it is the last place of the list, and still in it.",
    )
    cases.mistake(
        np.isclose(value, 0.8),
        "Every hit is worth 1, wherever it stands: that is the hit rate. NDCG pays less for "
        "lower places.",
    )
    cases.equal("NDCG@10 of the ranks 1, 3, 2.5, 10, 12", value, gains[:4].sum() / 5)
    popularity, targets = _popularity_questions(answer.given("items"))
    got = _numbers(rank_of_target(popularity, targets))
    truth = _ranks(popularity, targets)
    if cases.equal("the same for popularity on the log, where many items tie", got, truth):
        wanted = np.where(truth <= PLACES, 1 / np.log2(1 + truth), 0.0).mean()
        cases.equal(f"and its NDCG@{PLACES}", float(ndcg(truth, PLACES)), wanted)


def _ranks(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The mean rank of each target, by counting, [n]."""
    own = scores[np.arange(len(targets)), targets][:, None]
    return 1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2


def _popularity_questions(items: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The counts of up to 500 items as scores of up to 300 questions, and their targets."""
    codes = items["item_id"].cat.codes.to_numpy(np.int64)
    seen = np.bincount(codes[codes >= 0], minlength=500)[:500]
    targets = codes[(codes >= 0) & (codes < len(seen))][:300]
    return np.tile(seen, (len(targets), 1)).astype(float), targets


@exercise(
    "04.3",
    title="Debug: a wonderful memory",
    objects=("share_right",),
    hints=(
        "Follow the name `part` through the code: which rows does the last line look at?",
        "Two groups of rows have a role here. One teaches the memory; the other is asked.",
        "What should count where the memory has never met what was seen? In the shop, the shopper "
        "goes on all the same.",
        'Lesson 04, section "5. What a score is not", its first sentence; the picture of section 1 '
        "shows how memory shines on the rows that taught it.",
    ),
)
def scored_on_the_training_rows(answer: Answer, cases: Cases) -> None:
    """Fourteen moments by hand, for which each confusion of rows gives another share."""
    share_right = answer.function("share_right", returns=_SCALAR)
    moments = pd.DataFrame({"seen": list("aabaababdcdcac"), "answer": list("xxxyyyxyxxxxxy")})
    test = np.isin(np.arange(14), [2, 4, 6, 8, 10, 12])
    train = ~test
    got = float(share_right(moments, train, test))
    honest, everything, itself = (_right(moments, rows) for rows in (train, train | test, test))
    known = moments["seen"].isin(moments["seen"][train]).to_numpy()
    cases.mistake(
        np.isclose(got, honest[train].mean()),
        "The share was computed on the training rows: the memory is asked what it has just been "
        "told. That is a measure of how much it can hold, not of what it will do next week.",
    )
    cases.mistake(
        np.isclose(got, honest.mean()),
        "The share is over all rows, and most of them taught the memory: the training rows still "
        "pay for the rest. Ask the test rows only.",
    )
    cases.mistake(
        np.isclose(got, everything[test].mean()),
        "The memory was taught by all rows, so it has met the answers of the test. Only the "
        "training rows may teach.",
    )
    cases.mistake(
        np.isclose(got, itself[test].mean()),
        "The memory was taught by the test rows and asked about the same ones: the bug has only "
        "moved to the other part.",
    )
    cases.mistake(
        np.isclose(got, itself[train].mean()),
        "The two parts changed places: the test rows teach, and the training rows are asked.",
    )
    cases.mistake(
        np.isclose(got, honest[test & known].mean()),
        "Rows for which the memory has no guess are left out. A model that is silent at every "
        "hard question would look best of all: no guess counts as wrong.",
    )
    cases.mistake(
        np.isclose(got, 1),
        "Everything is right: the guesses were compared with themselves, or with a memory of the "
        "answers they should meet.",
    )
    cases.equal("two of the six test rows are guessed rightly", got, 2 / 6)
    moments, train, test = memory_moments(answer.given("items"))
    got = float(share_right(moments, train, test))
    cases.equal("the share on the log", got, _right(moments, train)[test].mean())
    moments.loc[train, "answer"] = moments.loc[train, "answer"].to_numpy()[::-1]
    cases.equal(
        "a memory that was taught nonsense scores what it deserves",
        float(share_right(moments, train, test)),
        _right(moments, train)[test].mean(),
    )


def memory_of(part: pd.DataFrame) -> pd.Series:
    """Return the most frequent `answer` to each thing `seen`, by what was seen.

    Args:
        part: Columns ``seen`` and ``answer``; ties go to the answer that sorts first.
    """
    counts = part.groupby(["seen", "answer"]).size().rename("times").reset_index()
    best = counts.sort_values("times", ascending=False, kind="stable").drop_duplicates("seen")
    return best.set_index("seen")["answer"]


def memory_moments(items: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Make exercise 04.3's moments from a log with sessions, split by time.

    Returns:
        A row for each moment at which three items have been seen and another follows: `seen`
        (the codes of the last three, as text) and `answer` (the code of the next one), the first
        40,000 moments of the training part and 20,000 of the test part in the log's order; which
        rows train; which rows test.
    """
    codes = items["item_id"].cat.codes.to_numpy(np.int64)
    answers = next_item(items).cat.codes.to_numpy(np.int64)
    sessions = session_ids(items)
    row = np.arange(2, len(codes))
    held = (sessions[row] == sessions[row - 2]) & (answers[row] >= 0)
    held &= (codes[row] >= 0) & (codes[row - 1] >= 0) & (codes[row - 2] >= 0)
    row = row[held]
    part = temporal_split(items).part_of_rows(items).array[row]
    train, test = (np.flatnonzero(np.asarray(part == name)) for name in ("train", "test"))
    kept = np.concatenate([train[:40_000], test[:20_000]])
    row, part = row[kept], part[kept]
    lags = [pd.Series(codes[row - back]).astype(str) for back in (2, 1, 0)]
    moments = pd.DataFrame({"seen": lags[0] + " " + lags[1] + " " + lags[2]})
    moments["answer"] = answers[row]
    return moments, np.asarray(part == "train"), np.asarray(part == "test")


def _right(moments: pd.DataFrame, taught: np.ndarray) -> np.ndarray:
    """Whether a memory of the rows `taught` guesses the answer of each moment, bool [n]."""
    guess = moments["seen"].map(memory_of(moments[taught]))
    return (guess == moments["answer"]).to_numpy()


@exercise(
    "04.4",
    title="Debug: an interval that is too sure",
    objects=("interval_of",),
    hints=(
        "Twenty rows of one shopper are not twenty shoppers. What is drawn anew in each round?",
        "Sum the hits and count the rows of each session once; then a draw of sessions is a draw "
        "of positions, and the mean of a draw is a sum of sums over a sum of counts.",
        "A session that is drawn twice counts twice. `isin` forgets that.",
        'Lesson 04, section "How sure is a score?" draws rows and sessions side by side.',
    ),
    seconds=60,
)
def interval_by_session(answer: Answer, cases: Cases) -> None:
    """Five sessions whose interval is known exactly, unequal ones, many; then the log."""
    interval_of = answer.function("interval_of", returns=(tuple, list, np.ndarray))

    def call(hits: np.ndarray, sessions: np.ndarray, resamples: int) -> np.ndarray:
        ends = _numbers(interval_of(hits, sessions, resamples, 4))
        return ends if ends is not None and ends.shape == (2,) else np.full(2, np.nan)

    sessions = np.repeat(np.arange(5), 20)
    hits = (sessions < 2).astype(float)
    five = call(hits, sessions, 2000)
    if not cases(
        "two numbers come back, low and high",
        np.isfinite(five).all(),
        "something else comes back: `return low, high`.",
    ):
        return
    low, high = five
    unequal = np.repeat(np.arange(40), np.where(np.arange(40) % 2, 19, 1))
    short_hit = (unequal % 2 == 0).astype(float)
    spread = call(short_hit, unequal, 500)
    many = np.repeat(np.arange(100), 3)
    wide = call((many % 2).astype(float), many, 2000)
    ratio = (wide[1] - wide[0]) / (2 * 1.96 * 0.05)
    cases.mistake(
        low > high,
        "Low is above high: give the lower end first.",
    )
    cases.mistake(
        np.isclose(low, 0.4) and np.isclose(high, 0.4),
        "The interval has no width: drawn without replacement, every round holds the same "
        "sessions.",
    )
    cases.mistake(
        0 < high - low < 0.35,
        "Single rows are drawn: twenty rows of one session count as twenty independent shoppers, "
        "and the interval claims to know far more than five sessions can tell.",
    )
    cases.mistake(
        np.isclose(high, 2 / 3, atol=1e-3) and low < 0.05,
        "A session that is drawn twice counts once: two sessions in five hit, and a round that "
        "draws them three times must show 3 in 5 or more. `isin` keeps each row once.",
    )
    cases.mistake(
        spread[0] > 0.2,
        "The score itself has changed: short sessions count as much as long ones, because means of "
        "sessions are averaged. The score is the mean over rows; only the draw is by session.",
    )
    cases.mistake(
        0.78 < ratio < 0.9 and np.isclose(high, 0.8),
        "The ends are the 5th and the 95th percentile, which hold 90 % of the rounds: for 95 %, "
        "cut 2.5 % off either end.",
    )
    cases.equal("five sessions of twenty rows, two of them hit", five, [0.0, 0.8], tolerance=1e-6)
    cases(
        "a hundred sessions: as wide as 95 % of the rounds need",
        0.9 < ratio < 1.1,
        f"it is {ratio:.2f} times as wide as it should be.",
    )
    cases(
        "long sessions weigh more than short ones, in the interval as in the score",
        spread[0] <= 0.05 <= spread[1] < 0.2,
        f"the score is 0.05, and the interval runs from {spread[0]:.2f} to {spread[1]:.2f}.",
    )
    events = answer.given("events")
    events = events[events["session_id"] < 300]
    shown = events[events.attrs["event_column"]]
    hits, sessions = (shown == shown.mode()[0]).to_numpy(float), events["session_id"].to_numpy()
    got, wanted = call(hits, sessions, 500), _interval(hits, sessions, 500)
    width = (got[1] - got[0]) / max(wanted[1] - wanted[0], 1e-9)
    cases(
        "as wide as it should be on 300 sessions of the log",
        0.75 < width < 1.33,
        f"it is {width:.2f} times as wide as it should be.",
    )


def _interval(hits: np.ndarray, sessions: np.ndarray, resamples: int) -> np.ndarray:
    """The 95 % percentile interval of the mean, whole sessions drawn."""
    codes = pd.factorize(sessions)[0]
    sums, rows = np.bincount(codes, hits), np.bincount(codes)
    draws = np.random.default_rng(0).integers(0, len(rows), (resamples, len(rows)))
    return np.quantile(sums[draws].sum(axis=1) / rows[draws].sum(axis=1), [0.025, 0.975])


@exercise(
    "04.5",
    title="A score that the majority cannot win",
    objects=("macro_f1",),
    hints=(
        "Take one outcome at a time. How often was it guessed, how often did it happen, how often "
        "were the two in the same row?",
        "F1 is 2 right / (guessed + happened), which needs no precision and no recall: where "
        "nothing was guessed it is simply 0.",
        "Then the plain mean over all outcomes, the rare ones like the others.",
        'Lesson 04, section "Why accuracy misleads" has the F1 of each outcome.',
    ),
)
def mean_f1_of_all_outcomes(answer: Answer, cases: Cases) -> None:
    """Ten guesses by hand in which every misreading gives another number; then the log."""
    macro_f1 = answer.function("macro_f1", returns=_SCALAR)
    outcomes = ["browse", "click", "purchase"]
    labels, guesses = np.repeat(outcomes, [5, 4, 1]), np.repeat(outcomes, [10, 0, 0])
    guesses[5] = "click"
    got = float(macro_f1(labels, guesses, outcomes))
    f1, precision, recall = _by_outcome(labels, guesses, outcomes)
    means = precision.mean(), recall.mean()
    cases.mistake(
        np.isclose(got, 0.6),
        "This is still accuracy, or micro F1, which is the same here: six of ten guesses are "
        "right. A bet on the most frequent outcome does just as well.",
    )
    cases.mistake(
        not np.isfinite(got),
        "`purchase` is never guessed, so its precision is 0 / 0 and the score is no number. What "
        "was never found has an F1 of 0.",
    )
    cases.mistake(
        np.isclose(got, f1[:2].mean()),
        "`purchase` drops out of the mean because it was never guessed: a model raises this score "
        "by never trying what is hard. It stays in, with an F1 of 0.",
    )
    cases.mistake(
        np.isclose(got, f1 @ [0.5, 0.4, 0.1]),
        "Each F1 is weighted by how often its outcome happens, so the most frequent one decides "
        "again. The plain mean gives each outcome the same say.",
    )
    cases.mistake(
        np.isclose(got, 2 * means[0] * means[1] / sum(means)),
        "This is the F1 of the mean precision and the mean recall. Over outcomes, one that is all "
        "precision and one that is all recall would then look like two good ones: take each "
        "outcome's F1 first, then the mean.",
    )
    cases.mistake(
        np.isclose(got, means[1]),
        "This is the mean recall: it never asks how many of the guesses were wrong.",
    )
    cases.mistake(
        np.isclose(got, means[0]),
        "This is the mean precision: it never asks how much was missed.",
    )
    cases.equal("ten guesses at three outcomes", got, f1.mean())
    cases.equal(
        "a bet on the majority keeps one outcome's F1, shared by three",
        float(macro_f1(labels, np.full(10, "browse"), outcomes)),
        2 * 5 / (10 + 5) / 3,
    )
    cases.equal("all right is 1", float(macro_f1(labels, labels, outcomes)), 1.0)
    taught, held_out = answer.given("taught"), answer.given("held_out")
    labels, guess = held_out["next"].to_numpy(dtype=object), markov_guess(taught, held_out["last"])
    outcomes = sorted(set(labels) | set(guess))
    cases.equal(
        "the Markov guesses on the log",
        float(macro_f1(labels, guess, outcomes)),
        _by_outcome(labels, guess, outcomes)[0].mean(),
    )


def markov_guess(taught: pd.DataFrame, asked: pd.Series) -> np.ndarray:
    """Return the outcome that most often followed each event asked, else the most frequent."""
    best = memory_of(taught.rename(columns={"last": "seen", "next": "answer"}))
    return asked.map(best).fillna(taught["next"].mode()[0]).to_numpy(dtype=object)


def _by_outcome(
    labels: np.ndarray, guesses: np.ndarray, outcomes: list
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F1, precision and recall of each outcome, 0 where undefined."""
    right = np.array([((labels == one) & (guesses == one)).sum() for one in outcomes])
    guessed = np.array([(guesses == one).sum() for one in outcomes])
    happened = np.array([(labels == one).sum() for one in outcomes])
    parts = (2 * right, guessed + happened), (right, guessed), (right, happened)
    return tuple(part / np.maximum(whole, 1) for part, whole in parts)


@exercise(
    "04.6",
    title="Open: beat the chain on a log of your choice",
    objects=("recommend",),
    hints=(
        "Take a few questions of `tuning` that the chain gets wrong. Was the answer in sight "
        "already? Did it ever come after the last item, only not at once?",
        "The chain looks at what came right after one item. You may look further in two ways: at "
        "what came later in the training sessions, and at what was seen before the last item.",
        "Whatever lies further away should count less, in both. How much less, and how much a "
        "return to an item already seen is worth, are numbers to choose on `tuning`.",
        'Lesson 04, section "Sequential rules" counts pairs of items by hand.',
    ),
    seconds=60,
)
def beat_the_chain(answer: Answer, cases: Cases) -> None:
    """The hit rate on the test questions, between that of the chain and of rules."""
    recommend = answer.function("recommend", returns=(np.ndarray, list))
    items = answer.given("items")
    train, (asked, truth) = taught_items(items), questions_of(items, "test")
    got = _table(recommend(train, asked, len(truth), PLACES))
    if not cases(
        f"{PLACES} suggestions for each question",
        got is not None and got.shape == (len(truth), PLACES),
        f"{len(truth)} questions should give codes of shape ({len(truth)}, {PLACES}), and give "
        + ("something that is no table of numbers." if got is None else f"{got.shape}."),
    ):
        return
    ordered = np.sort(got, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    cases.mistake(
        repeated.any(),
        "The same item is suggested twice to one question: every repetition gives a place away.",
    )
    chain = chain_baseline(train, asked, len(truth), PLACES)
    score, baseline = share_answered(got, truth), share_answered(chain, truth)
    rules = share_answered(_followers(train, asked, len(truth), PLACES, steps=10), truth)
    again = share_answered(seen_baseline(train, asked, len(truth), PLACES), truth)
    name = items.attrs.get("dataset", "")
    share = _SHARE_OF_GAP.get(name, _SHARE_ELSEWHERE)
    floor = max(baseline + share * (rules - baseline), max(baseline, again) + 1 / len(truth))
    cases.mistake(
        score < floor and (got == got[0]).all(),
        "Everybody gets the same list, whatever they have seen: this is popularity, the weakest "
        "of the baselines.",
    )
    cases.mistake(
        score < floor and (got[:, :5] == chain[:, :5]).mean() > 0.99,
        "This is the chain itself: only what came right after the last item is counted.",
    )
    cases.mistake(
        score < floor and _visible(got, asked).all(),
        "Only what the shopper has just seen is suggested. That is worth a few places, not all: "
        "what did others look at next?",
    )
    cases(
        f"the answer is among {PLACES} suggestions in {floor:.1%} of the questions or more "
        f"(the chain {baseline:.1%}, rules of the last item {rules:.1%}, what was just seen "
        f"{again:.1%})",
        score >= floor,
        f"yours hold the answer to {score:.1%}.",
    )


def _visible(suggestions: np.ndarray, asked: pd.DataFrame) -> np.ndarray:
    """Of all codes suggested, which ones the question itself shows, bool [codes]."""
    question, place = np.nonzero(suggestions >= 0)
    codes = 1 + int(max(suggestions.max(initial=0), asked["item"].max()))
    pairs = question * codes + suggestions[question, place].astype(np.int64)
    return np.isin(pairs, asked["question"] * codes + asked["item"])


def taught_items(items: pd.DataFrame) -> pd.DataFrame:
    """Make exercise 04.6's training rows: `session` and `item` (a code), sessions in order.

    The items of the training sessions, row by row; of many, the last 100,000 in the order in
    which their sessions began.
    """
    codes = items["item_id"].cat.codes.to_numpy(np.int64)
    sessions = session_ids(items)
    began = items["timestamp"].to_numpy("datetime64[us]")[np.searchsorted(sessions, sessions)]
    row = np.flatnonzero(temporal_split(items).rows(items, "train") & (codes >= 0))
    row = np.sort(row[np.argsort(began[row], kind="stable")[-_TAUGHT:]])
    return pd.DataFrame({"session": sessions[row], "item": codes[row]})


def questions_of(items: pd.DataFrame, part: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Make exercise 04.6's questions from some 2,000 moments of a part, evenly spread.

    Args:
        items: A log with sessions that serves `next_item`.
        part: ``"validation"`` or ``"test"``.

    Returns:
        What each question sees, a row an item: `question` (0, 1, ...), `back` (1 is the latest
        item, up to `BACK`) and `item` (a code); and the answers' codes, int64 [questions].
    """
    codes = items["item_id"].cat.codes.to_numpy(np.int64)
    answers = next_item(items).cat.codes.to_numpy(np.int64)
    sessions = session_ids(items)
    row = np.flatnonzero(temporal_split(items).rows(items, part) & (answers >= 0))
    row = row[:: max(1, len(row) // _QUESTIONS)]
    with_item = np.flatnonzero(codes >= 0)
    last = np.searchsorted(with_item, row, side="right")
    seen = []
    for back in range(1, BACK + 1):
        at = with_item[np.maximum(last - back, 0)]
        inside = np.flatnonzero((last >= back) & (sessions[at] == sessions[row]))
        seen.append(pd.DataFrame({"question": inside, "back": back, "item": codes[at[inside]]}))
    return pd.concat(seen, ignore_index=True), answers[row]


def share_answered(suggestions: np.ndarray, answers: np.ndarray) -> float:
    """Return the share of questions whose answer is among their suggestions."""
    return float((np.asarray(suggestions) == np.asarray(answers)[:, None]).any(axis=1).mean())


def first_places(votes: pd.DataFrame, questions: int, places: int) -> np.ndarray:
    """Return the items with the most votes for each question, int64 [questions, places].

    Args:
        votes: Columns `question`, `answer` (an item's code) and `vote`; votes for the same item
            are summed. Fewer items than places: -1.
        questions: How many questions there are.
        places: How many items each gets.
    """
    total = votes.groupby(["question", "answer"])["vote"].sum().reset_index()
    total = total.sort_values(["question", "vote"], ascending=[True, False], kind="stable")
    total["place"] = total.groupby("question").cumcount()
    best = total[total["place"] < places]
    suggestions = np.full((questions, places), -1, dtype=np.int64)
    suggestions[best["question"], best["place"]] = best["answer"]
    return suggestions


def bestsellers(train: pd.DataFrame, questions: int, places: int) -> pd.DataFrame:
    """Return votes far below any count's for the most frequent items, the same everywhere."""
    best = train["item"].value_counts(normalize=True).head(places)
    return pd.DataFrame(
        {
            "question": np.repeat(np.arange(questions), len(best)),
            "answer": np.tile(best.index, questions),
            "vote": np.tile(best.to_numpy(), questions) * 1e-6,
        }
    )


def chain_baseline(
    train: pd.DataFrame, asked: pd.DataFrame, questions: int, places: int
) -> np.ndarray:
    """Suggest what most often came right after the last item, then bestsellers."""
    return _followers(train, asked, questions, places, steps=1)


def seen_baseline(
    train: pd.DataFrame, asked: pd.DataFrame, questions: int, places: int
) -> np.ndarray:
    """Suggest what the shopper has just seen, the latest first, then bestsellers."""
    votes = asked.assign(answer=asked["item"], vote=1 / asked["back"])
    votes = pd.concat([votes, bestsellers(train, questions, places)])
    return first_places(votes, questions, places)


def _followers(
    train: pd.DataFrame, asked: pd.DataFrame, questions: int, places: int, steps: int
) -> np.ndarray:
    """Suggest what followed the last item within `steps`, pairs d apart counting 1/d."""
    later = train.groupby("session")["item"]
    pairs = [
        pd.DataFrame({"item": train["item"], "answer": later.shift(-d), "vote": 1 / d}).dropna()
        for d in range(1, steps + 1)
    ]
    rules = pd.concat(pairs).astype({"answer": np.int64})
    rules = rules.groupby(["item", "answer"])["vote"].sum().reset_index()
    votes = asked[asked["back"] == 1].merge(rules, on="item")[["question", "answer", "vote"]]
    votes = pd.concat([votes, bestsellers(train, questions, places)])
    return first_places(votes, questions, places)


# --- reading what learners return --------------------------------------------------------------


def _table(value: object) -> np.ndarray | None:
    """The value as a table of numbers, or None."""
    numbers = _numbers(value)
    return numbers if numbers is not None and numbers.ndim == 2 else None


def _numbers(value: object) -> np.ndarray | None:
    """The value as an array of numbers, or None."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
