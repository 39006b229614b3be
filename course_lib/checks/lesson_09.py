"""Checks of lesson 09's exercises: masking, the loss, padding, asking what is next, few labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.metrics import average_precision

PADDING, MASK, UNKNOWN = 0, 1, 2
SHARE_OF_COUNTS = 0.6
"""Of the way from guessing to what counts of the events so far reach: so far must features come."""


@exercise(
    "09.1",
    title="The mask that tells",
    objects=("hide",),
    hints=(
        "The item is hidden. What else does the network read of the same event?",
        "Category and price band together leave only a few items: compare a hidden event with "
        "the true one, field by field.",
        'Lesson 09, section "What both sides are worth, and what a leak pretends".',
    ),
)
def the_mask_that_tells(answer: Answer, cases: Cases) -> None:
    """Events by hand: every field of a chosen one is the mask, the rest stays."""
    hide = answer.function("hide", returns=np.ndarray)
    random = np.random.default_rng(91)
    codes = random.integers(3, 40, (6, 8, 5))
    codes[np.arange(8) >= random.integers(4, 9, 6)[:, None]] = PADDING
    chosen = (random.random((6, 8)) < 0.4) & (codes[..., 0] != PADDING)
    shown = hide(codes, chosen)
    if not cases.equal("as many codes as there were", np.shape(shown), codes.shape):
        return
    hidden = shown[chosen]
    told = (hidden == codes[chosen]).any(axis=0)
    cases.mistake(
        (hidden == PADDING).all(),
        "The chosen events became padding: nobody listens to padding, and no answer is read there. "
        "The mask is another code.",
    )
    cases.mistake(
        (hidden[:, 0] == MASK).all() and told[1:].all(),
        "The item alone is masked: kind, category, price band and gap of the very event still "
        "stand there, and two of them nearly tell the item.",
    )
    cases.mistake(
        (hidden[:, 0] == MASK).all() and told.any(),
        f"A hidden event still tells some of its fields (the first of them: {int(told.argmax())}, "
        "counted from 0).",
    )
    real = codes[..., 0] != PADDING
    cases.mistake(
        (shown[real] == MASK).all(),
        "All events are hidden, chosen or not: nothing is left to tell them from.",
    )
    cases.mistake(
        (shown[~real] == MASK).any(),
        "Padding is masked, too: the network would be asked about events that never happened.",
    )
    cases("every field of a chosen event is the mask", bool((hidden == MASK).all()), "some is not.")
    cases.equal("all other events stay as they are", shown[~chosen], codes[~chosen])


@exercise(
    "09.2",
    title="Eighty, ten, ten",
    objects=("mask_events",),
    hints=(
        "Two throws an event: is it chosen, and if so, what becomes of it?",
        "One uniform number an event can decide its fate: below 0.8, below 0.9, above.",
        'Lesson 09, section "Masking by hand" does it.',
    ),
)
def eighty_ten_ten(answer: Answer, cases: Cases) -> None:
    """Rates on many events; events that are rare numbers, so that draws can be told apart."""
    mask_events = answer.function("mask_events", returns=(tuple, list))
    random = np.random.default_rng(92)
    numbers = 1_000 + 3 * random.permutation(12_000).reshape(600, 20)
    numbers[np.arange(20) >= random.integers(10, 21, 600)[:, None]] = PADDING
    rate = 0.3
    got = mask_events(numbers, rate, np.random.default_rng(1))
    if not cases.equal("two arrays", len(got), 2):
        return
    shown, chosen = (np.asarray(part) for part in got)
    shapes = [np.shape(part) == numbers.shape for part in (shown, chosen)]
    if not cases("both have the shape of `numbers`", all(shapes), f"{shown.shape}, {chosen.shape}"):
        return
    if not cases("the second is bool", chosen.dtype == bool, f"it is {chosen.dtype}."):
        return
    real = numbers != PADDING
    moved = shown != numbers
    cases.mistake(
        bool((moved | chosen)[~real].any()),
        "Padding is chosen or replaced: there is no event that could be told.",
    )
    mask = (shown == MASK) & real
    share = {
        "chosen": chosen[real].mean(),
        "mask": mask[chosen].mean() if chosen.any() else 0.0,
        "same": (~moved)[chosen].mean() if chosen.any() else 0.0,
    }
    share["other"] = 1 - share["mask"] - share["same"]
    cases.mistake(
        bool((moved & ~chosen).any()),
        "Some events are replaced, but not said to be chosen: the network would not be asked "
        "there, and reads wrong events.",
    )
    cases.mistake(
        share["mask"] > 0.99,
        "Every chosen event is shown as the mask: where no mask stands, the network may then trust "
        "what it reads, and learns nothing about it.",
    )
    cases.mistake(
        share["same"] < 0.01 and abs(share["mask"] - 8 / 9) < 0.03,
        "The events that stay as they are, are not said to be chosen: the network is to tell "
        "those, too.",
    )
    cases.mistake(
        share["same"] < 0.01 and abs(share["mask"] - 0.8) < 0.03,
        "Nothing stays as it is: every chosen event that is not masked becomes another one. Half "
        "of these are to be left, or the network learns that what it reads there is always wrong.",
    )
    cases.mistake(
        abs(share["mask"] - 0.72) < 0.025,
        "Two throws decide over the same event, one for the mask and one for another event, and "
        "the second undoes some of the first: let one number an event decide between the three.",
    )
    replaced = chosen & moved & ~mask
    cases.mistake(
        bool(replaced.any()) and not np.isin(shown[replaced], numbers[real]).all(),
        "Other events are drawn from all numbers, padding, mask or numbers of no event among them: "
        "draw from those that occur.",
    )
    cases.mistake(
        abs(share["mask"] - 0.1) < 0.03 and abs(share["same"] - 0.8) < 0.03,
        "Eighty percent stay as they are and ten are masked: that is the rule upside down.",
    )
    again, other = (mask_events(numbers, rate, np.random.default_rng(s)) for s in (1, 2))
    cases.mistake(
        np.array_equal(np.asarray(again[1]), np.asarray(other[1])),
        "Another generator chooses the same events: the chance does not come from `random`.",
    )
    for name, wanted, margin in (
        ("chosen", rate, 0.03),
        ("mask", 0.8, 0.03),
        ("other", 0.1, 0.025),
        ("same", 0.1, 0.025),
    ):
        cases(
            f"the share {'of all events that is chosen' if name == 'chosen' else f'shown: {name}'} "
            f"is about {wanted:g}",
            abs(share[name] - wanted) < margin,
            f"it is {share[name]:.2f}.",
        )
    same_seed = np.array_equal(np.asarray(again[0]), shown)
    cases("the same generator gives the same masks", same_seed, "it gives others.")


def _losses(scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    own = np.take_along_axis(scores, codes[..., None], axis=-1)[..., 0]
    highest = scores.max(axis=-1)
    return highest + np.log(np.exp(scores - highest[..., None]).sum(axis=-1)) - own


@exercise(
    "09.3",
    title="What is scored",
    objects=("masked_loss",),
    hints=(
        "At an event that is in plain sight, what must a network do for a loss of nothing?",
        "A mean over which positions? And divided by how many?",
        'Lesson 09, section "Pretraining": only the hidden positions go through the head.',
    ),
)
def what_is_scored(answer: Answer, cases: Cases) -> None:
    """Scores that are right where events are visible, and poor where they are hidden."""
    masked_loss = answer.function("masked_loss", returns=(float, np.floating))
    random = np.random.default_rng(93)
    codes = random.integers(3, 9, (5, 7))
    codes[np.arange(7) >= random.integers(4, 8, 5)[:, None]] = PADDING
    chosen = (random.random((5, 7)) < 0.4) & (codes != PADDING)
    scores = random.normal(size=(5, 7, 9))
    scores[~chosen, codes[~chosen]] += 6
    losses, got = _losses(scores, codes), float(masked_loss(scores, codes, chosen))
    for value, sentence in (
        (
            losses.mean(),
            "All positions are scored, visible ones and padding, too: to copy what one sees costs "
            "nothing, and that is what is learnt.",
        ),
        (
            losses[codes != PADDING].mean(),
            "All real events are scored, visible ones among them: they can be copied.",
        ),
        (
            losses[~chosen].mean(),
            "The events that were NOT chosen are scored: the loss is upside down.",
        ),
        (
            (losses * chosen).mean(),
            "The losses of the chosen events are added, but divided by all positions: the more "
            "padding, the smaller the loss.",
        ),
        (losses[chosen].sum(), "This is the sum, not the mean: it grows with the batch."),
        (
            np.mean([row[mask].mean() for row, mask in zip(losses, chosen, strict=True)]),
            "The mean of each session is taken first: an event of a session with few chosen ones "
            "weighs more than another.",
        ),
        (-losses[chosen].mean(), "The sign is wrong: a better network would have a higher loss."),
    ):
        cases.mistake(bool(np.isclose(got, value, atol=1e-9)), sentence)
    cases.equal(
        "the mean log-loss of the chosen events", got, losses[chosen].mean(), tolerance=1e-9
    )
    large = float(masked_loss(scores * 1_000, codes, chosen))
    cases("large scores overflow nothing", bool(np.isfinite(large)), f"the loss is {large}.")


@exercise(
    "09.4",
    title="Nobody there",
    objects=("events_there",),
    hints=(
        "Which of the three codes 0, 1 and 2 says that there is no event?",
        "Try a session with a hidden event in its middle: how many events does it have?",
        'Lesson 09, section "An event is a sum" says what the three codes mean.',
    ),
)
def nobody_there(answer: Answer, cases: Cases) -> None:
    """A session with a hidden event, one with unknown codes, one that is full."""
    events_there = answer.function("events_there", returns=np.ndarray)
    codes = np.array(
        [
            [[5, 3], [1, 1], [7, 4], [0, 0]],
            [[2, 2], [6, 2], [0, 0], [0, 0]],
            [[8, 3], [2, 4], [9, 5], [1, 1]],
        ]
    )
    real = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]], bool)
    got = events_there(codes)
    if not cases.equal("one answer a position", np.shape(got), real.shape):
        return
    if not cases("bool", got.dtype == bool, f"they are {got.dtype}."):
        return
    for other, sentence in (
        (~real, "The mask is inverted: it is True where nobody is."),
        (
            (codes > MASK).any(axis=-1),
            "A hidden event counts as padding: nobody may listen at its place, not even it itself, "
            "and there the answer is read.",
        ),
        (
            (codes > UNKNOWN).any(axis=-1),
            "Hidden and unknown events count as padding: an event of an unknown kind has happened "
            "all the same.",
        ),
        (
            (codes > UNKNOWN).all(axis=-1),
            "An event with one unknown field counts as padding: it has happened all the same.",
        ),
        (np.ones_like(real), "Padding counts as events: all would listen to nothing."),
    ):
        cases.mistake(np.array_equal(got, other), sentence)
    cases.equal("events stand where they stand", got, real)


@exercise(
    "09.5",
    title="What comes next?",
    objects=("ask_next",),
    hints=(
        "Where does a sixth event stand in a session of five? There the mask goes.",
        "`session[-(length - 1):]` keeps the last events and leaves room for one more.",
        'Lesson 09, section "What comes next" appends the mask.',
    ),
)
def what_comes_next(answer: Answer, cases: Cases) -> None:
    """Sessions that are shorter than, as long as, and longer than what can be read."""
    ask_next = answer.function("ask_next", returns=(tuple, list))
    sessions = [
        np.array(events) for events in ([5, 6], [7], [8, 9, 10, 11, 12], [2, 3, 4, 5, 6, 7])
    ]
    wanted = np.array([[5, 6, 1, 0, 0], [7, 1, 0, 0, 0], [9, 10, 11, 12, 1], [4, 5, 6, 7, 1]])
    places = np.array([2, 1, 4, 4])
    got = ask_next(sessions, 5)
    if not cases.equal("inputs and positions", len(got), 2):
        return
    inputs, positions = (np.asarray(part) for part in got)
    if not cases.equal("the shape of the inputs", inputs.shape, wanted.shape):
        return
    if not cases.equal("one position a session", positions.shape, places.shape):
        return
    first = inputs[0]
    for holds, sentence in (
        (
            first[-1] == MASK and first[2] == PADDING,
            "The mask stands in the last column, behind the padding: the network sees it at a "
            "place where no next event would stand.",
        ),
        (
            first[1] == MASK,
            "The mask replaces the last event: the network is asked for what is known, and does "
            "not know the latest there is.",
        ),
        (not (inputs == MASK).any(), "No mask is appended: there is no place that is asked."),
        (
            inputs[3, :4].tolist() == [2, 3, 4, 5],
            "Of a long session the first events are kept: what comes next hangs on the last ones.",
        ),
        (
            np.array_equal(inputs, wanted) and np.array_equal(positions, places - 1),
            "The answer is read at the last event instead of at the mask: a bidirectional network "
            "was taught to tell what stands THERE.",
        ),
        (
            np.array_equal(inputs, wanted) and (positions == inputs.shape[1] - 1).all(),
            "The answer is read in the last column: in a short session padding stands there.",
        ),
        (
            first[0] == PADDING and inputs[0, -1] == MASK,
            "The padding stands on the left: positions would mean something else in each session.",
        ),
    ):
        cases.mistake(bool(holds), sentence)
    cases.equal("the events, the mask, the padding", inputs, wanted)
    cases.equal("the answer is read at the mask", positions, places)


@exercise(
    "09.6",
    title="Two hundred labels",
    objects=("features",),
    hints=(
        "What has happened so far, and how often? `groupby(...).cumsum()` adds up to each row.",
        "Few labels want few numbers: each further column can also mislead. `shift` and `cumsum` "
        "within the session never look ahead; `transform` of a whole session does.",
        'Lesson 09, section "Few labels": the rival without a network.',
    ),
    seconds=60,
)
def two_hundred_labels(answer: Answer, cases: Cases) -> None:
    """The future is changed: no feature may move. Then the score, beside plain counts."""
    features = answer.function("features", returns=(np.ndarray, pd.DataFrame))
    log, asked, later = (answer.given(name) for name in ("log", "asked", "later"))
    got = np.asarray(features(log), dtype=np.float64)
    if not cases(
        "one row of numbers for each row of the log",
        got.ndim == 2 and len(got) == len(log) and got.shape[1] > 0,
        f"the shape is {got.shape}, and the log has {len(log)} rows.",
    ):
        return
    if not cases("no gaps", bool(np.isfinite(got).all()), "some numbers are missing or infinite."):
        return
    some = log[log["session_id"].isin(log["session_id"].unique()[:400])]
    cut = (some.groupby("session_id").cumcount() < 8).to_numpy()
    whole = np.asarray(features(some), dtype=np.float64)
    begun = np.asarray(features(some[cut]), dtype=np.float64)
    ahead = whole.shape[0] != len(some) or not np.allclose(whole[cut], begun, atol=1e-6)
    cases.mistake(
        ahead,
        "The features of a row change when the events behind it are taken away: they look ahead, "
        "and what they see there is the answer.",
    )
    cases("no feature looks ahead", not ahead, "some do.")
    labels = later[asked["test"]].astype(bool).to_numpy()
    kinds = pd.get_dummies(log["event"]).astype(float)
    counts = kinds.groupby(log["session_id"].to_numpy()).cumsum().to_numpy()
    guess = labels.mean()
    reached, beside = (_precision(table, asked, later) for table in (got, counts))
    floor = guess + SHARE_OF_COUNTS * max(0.0, beside - guess)
    cases.mistake(
        got.std(axis=0).max() == 0,
        "The features are the same in every row: they say nothing about the session.",
    )
    cases.mistake(
        beside > guess and reached <= guess * 1.02,
        "This is hardly better than guessing: the features do not say what has happened so far.",
    )
    cases(
        f"average precision on the test part is at least {floor:.3f} (guessing {guess:.3f}, counts "
        f"of the events {beside:.3f})",
        reached >= floor,
        f"it is {reached:.3f}.",
    )


def _precision(table: np.ndarray, asked: dict, later: pd.Series) -> float:
    """Average precision of a logistic regression that learns from the labelled rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1_000))
    learner.fit(table[asked["train"]], later[asked["train"]].astype(bool))
    odds = learner.predict_proba(table[asked["test"]])[:, 1]
    return average_precision(odds, later[asked["test"]].astype(bool))
