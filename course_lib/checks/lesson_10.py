"""Checks of lesson 10's exercises: texts of sessions, a BERT's arrays, pooling, rates, a reader."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.checks.core import Answer, Cases, exercise

MARGIN = 0.01
"""Nats by which a reader must beat the plain one on the simulated shop, where order has a say."""
SLACK = 0.01
"""Nats by which it may miss it on another log, where order may have none."""


@exercise(
    "10.1",
    title="A text that knows too much",
    objects=("tell",),
    hints=(
        "Print the text of a short session at `now=0`. How many events does it tell?",
        "A slice ends BEFORE its stop. Which event is the last that may be told?",
        'Lesson 10, section "A session as a sentence" says with which event a text ends.',
    ),
)
def a_text_that_knows_too_much(answer: Answer, cases: Cases) -> None:
    """A session of five events, asked everywhere, with more and less room."""
    tell = answer.function("tell", returns=str)
    session = [("viewed", "a"), ("searched", "b"), ("added", "c"), ("viewed", "d"), ("bought", "e")]
    phrases = [f"{verb} {item}" for verb, item in session]

    def reads(begin: Callable[[int, int], int], end: Callable[[int, int], int]) -> bool:
        return all(
            tell(session, now, last) == ", ".join(phrases[begin(now, last) : end(now, last)])
            for now, last in ((1, 9), (2, 2), (3, 1))
        )

    cases.mistake(
        reads(lambda now, last: max(0, now + 2 - last), lambda now, last: now + 2),
        "The text tells one event too many: the one that comes NEXT, which is the answer that "
        "the classifier is asked for.",
    )
    cases.mistake(
        all(tell(session, now, 9) == ", ".join(phrases) for now in (0, 2)),
        "The text tells the whole session, whenever it is asked: all of the future stands in it.",
    )
    cases.mistake(
        reads(lambda now, last: max(0, now - last), lambda now, last: now),
        "The text stops before event `now`: nothing leaks, but the newest visible event, which "
        "says most, is left out.",
    )
    cases.mistake(
        reads(lambda now, last: 0, lambda now, last: min(last, now + 1)),
        "Where there is no room for all, the text keeps the OLDEST events, not the newest.",
    )
    cases.mistake(
        reads(lambda now, last: 0, lambda now, last: now + 1),
        "`last` is forgotten: the text tells everything up to now, however long that is.",
    )
    for now, last in ((0, 3), (1, 5), (3, 2), (4, 5), (2, 1)):
        wanted = ", ".join(phrases[max(0, now + 1 - last) : now + 1])
        cases.equal(f"at event {now}, at most {last} events", tell(session, now, last), wanted)


@exercise(
    "10.2",
    title="Three arrays of one shape",
    objects=("lay_out",),
    hints=(
        "Lay out one text of two tokens in four positions, and print the three arrays.",
        "Which of the three is 0 everywhere, and which one says where each text ends?",
        'Lesson 10, section "Tokens" shows the three arrays of one text.',
    ),
)
def three_arrays(answer: Answer, cases: Cases) -> None:
    """Two texts of unlike length, one that fills its row."""
    lay_out = answer.function("lay_out", returns=dict)
    tokens, length = [[101, 7, 102], [101, 5, 6, 8, 102]], 5
    got = lay_out(tokens, length)
    names = ["padding_mask", "segment_ids", "token_ids"]
    if not cases.equal("the arrays", sorted(map(str, got)), names):
        return
    shapes = [np.shape(got[name]) for name in names]
    if not cases.equal("the shape of each", shapes, [(2, 5)] * 3):
        return
    ids, segments, mask = (np.asarray(got[n]) for n in ("token_ids", "segment_ids", "padding_mask"))
    real = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    cases.mistake(
        np.array_equal(segments, real) and bool((mask == 1).all()),
        "The mask stands in the place of the segments: the network reads padding as words, and "
        "real tokens as those of a second sentence.",
    )
    cases.mistake(
        np.array_equal(mask, 1 - real),
        "The mask is upside down: it is 1 at padding, so the network reads nothing else.",
    )
    cases.mistake(
        bool((mask == 1).all()), "The mask is 1 everywhere: padding is read as if it were words."
    )
    cases.mistake(bool((mask == 0).all()), "The mask is 0 everywhere: no token is real.")
    cases.mistake(
        np.array_equal(segments, real),
        "The segments are 1 at real tokens: all belong to a second sentence, without a first.",
    )
    cases.mistake(
        bool((segments == 1).all()), "The segments are 1 everywhere: that is the second sentence."
    )
    cases.equal("the token ids", ids, [[101, 7, 102, 0, 0], tokens[1]])
    cases.equal("the padding mask", mask, real)
    cases.equal("the segments", segments, np.zeros((2, 5), int))


@exercise(
    "10.3",
    title="An average without padding",
    objects=("pool",),
    hints=(
        "Padding must be left out of two things: the sum, and the number that it is divided by.",
        "0 times nan is nan; `np.where(real, states, 0.0)` takes one or the other. `real` needs an "
        "axis more than the mask: [texts, length, 1] stands beside [texts, length, width].",
        'Lesson 10, section "What a pretrained BERT gives" has the mean over real tokens.',
    ),
)
def an_average_without_padding(answer: Answer, cases: Cases) -> None:
    """Random states, a text that fills its row, a short one, an empty one; then nan in padding."""
    pool = answer.function("pool", returns=np.ndarray)
    random = np.random.default_rng(103)
    states = random.normal(size=(3, 4, 2)) + 1
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    got = pool(states.copy(), mask.copy())
    if not cases.equal("one vector a text", np.shape(got), (3, 2)):
        return
    got, real = np.asarray(got, float), mask[:, :, None]

    def is_near(wanted: np.ndarray) -> bool:
        return bool(np.allclose(got, wanted, atol=1e-6))

    total = (states * real).sum(axis=1)
    cases.mistake(
        is_near(states.mean(axis=1)),
        "All positions are averaged, padding among them: short texts all look like padding.",
    )
    cases.mistake(
        is_near(total / mask.shape[1]),
        "The sum leaves padding out, but it is divided by ALL positions: short texts get short "
        "vectors.",
    )
    cases.mistake(is_near(total), "This is the sum, not the mean: long texts get long vectors.")
    cases.mistake(
        is_near(states[:, 0]), "This is the first token's state alone, not the mean of all."
    )
    cases.mistake(
        is_near(np.where(real == 1, states, -np.inf).max(axis=1)),
        "This is the largest number of the real tokens, not their mean.",
    )
    wanted = total / real.sum(axis=1)
    cases.equal("the mean of the real tokens", got, wanted, tolerance=1e-6)
    example = np.array([[[2.0], [4.0], [9.0]]]), np.array([[1, 1, 0]])
    cases.equal("the example of the task", np.ravel(pool(*example)), [3.0], tolerance=1e-6)
    dirty = states.copy()
    dirty[1, 2:], dirty[2, 1:] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        again = np.asarray(pool(dirty, mask.copy()), float)
    cases.mistake(
        is_near(wanted) and not np.isfinite(again).all(),
        "A product with 0 does not take `nan` away: 0 times nan is nan. Choose, do not multiply.",
    )
    cases("what stands in the padding does not matter", bool(np.allclose(again, wanted)))
    with np.errstate(divide="ignore", invalid="ignore"):
        empty = np.asarray(pool(np.ones((1, 3, 2)), np.zeros((1, 3), int)), float)
    cases.mistake(
        bool(np.isnan(empty).any()),
        "A text without a real token has its sum divided by 0 tokens, which is `nan`: divide by "
        "at least 1.",
    )
    cases.equal("a text without a real token", np.ravel(empty), [0.0, 0.0])


@exercise(
    "10.4",
    title="The newest events are gone",
    objects=("fit_in",),
    hints=(
        "Which end of the text does a slice like `[:length]` throw away, and what stands there?",
        "Two positions are taken before the first token is laid: how much room is left?",
        'Lesson 10, section "Tokens" says which end of a session\'s text goes.',
    ),
)
def the_newest_events(answer: Answer, cases: Cases) -> None:
    """Texts that are too long, that fit to the token, and that are short or empty."""
    fit_in = answer.function("fit_in", returns=(list, np.ndarray))

    def got(tokens: list[int], length: int) -> list[int]:
        return [int(token) for token in fit_in(list(tokens), length)]

    long = got([1, 2, 3, 4, 5, 6], 5)
    cases.mistake(
        long == [101, 1, 2, 3, 4],
        "The newest tokens are cut off, and [SEP] with them: the BERT reads how the session "
        "began, and no end.",
    )
    cases.mistake(
        long == [101, 1, 2, 3, 102],
        "[SEP] is there, but the OLDEST tokens are kept: in a session what counts stands last.",
    )
    cases.mistake(
        long[-1:] == [102] and long[:1] != [101],
        "The beginning is cut off with [CLS] in it: special tokens come after the cut.",
    )
    cases.mistake(
        long == [101, 2, 3, 4, 5, 6, 102],
        "The special tokens are not counted: this is longer than the BERT was said to read.",
    )
    cases.mistake(
        got([1, 2], 2) == [101, 1, 2, 102],
        "Where no room is left, everything stays: `tokens[-0:]` is the whole list, not nothing.",
    )
    cases.mistake(len(long) > 5, "It is longer than `length`: the special tokens count, too.")
    cases.equal("six tokens in five positions", long, [101, 4, 5, 6, 102])
    cases.equal("a text that just fits", got([1, 2, 3], 5), [101, 1, 2, 3, 102])
    cases.equal("a short text", got([1], 6), [101, 1, 102])
    cases.equal("an empty text", got([], 4), [101, 102])
    cases.equal("room for the special tokens alone", got([1, 2], 2), [101, 102])


@exercise(
    "10.5",
    title="A rate that destroys what was learnt",
    objects=("rates", "choose"),
    hints=(
        "Two stretches: before step `warm`, and from it on. What is the rate at step 0?",
        "`np.where(step < warm, rising, falling)`; the fall begins at step `warm`, not at 0.",
        "A history begins with the loss before anything was trained. What if that is the lowest?",
        'Lesson 10, section "Fine-tuned: the last blocks learn, too" has the formula.',
    ),
)
def a_rate_that_destroys(answer: Answer, cases: Cases) -> None:
    """Compare with the formula; judge histories, those of a small network tuned by it, too."""
    rates = answer.function("rates", returns=np.ndarray)
    highest, warm, steps = 2e-4, 5, 20
    got = rates(highest, warm, steps)
    if not cases.equal("one rate a step", np.shape(got), (steps,)):
        return
    got, step = np.asarray(got, float), np.arange(steps)

    def cosine(begin: int) -> np.ndarray:
        return (1 + np.cos(np.pi * (step - begin) / (steps - begin))) / 2

    def is_near(shares: np.ndarray) -> bool:
        return bool(np.allclose(got, highest * shares, atol=1e-9))

    rising = step / warm
    cases.mistake(
        is_near(np.ones(steps)),
        "The rate stands at its full height from the first step to the last: nothing protects "
        "the pretrained weights at the beginning, nothing lets them come to rest at the end.",
    )
    cases.mistake(
        is_near(cosine(0)),
        "It falls, but there is no warm-up: the first step, the worst informed, is the largest.",
    )
    cases.mistake(
        is_near(np.minimum(rising, 1)),
        "It rises, but it never falls: at the end the weights still jump about.",
    )
    cases.mistake(
        is_near(np.where(step < warm, rising, cosine(0))),
        "The fall is counted from step 0, so at the end of the warm-up the rate jumps down.",
    )
    cases.mistake(
        is_near(np.where(step < warm, rising, 1 - (step - warm) / (steps - warm))),
        "It falls along a straight line, not along half a cosine.",
    )
    cases.mistake(
        is_near(np.where(step < warm, (step + 1) / warm, cosine(warm))),
        "The warm-up is one step ahead: step 0 should have the rate 0.",
    )
    cases.mistake(
        is_near(np.where(step < warm, rising, 0.02 + 0.98 * cosine(warm))),
        "The fall stops at a floor, as the lesson's and Keras's does; this task asks for one that "
        "goes on towards 0: leave the `a` of the lesson's formula out.",
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        early = (1 + np.cos(np.pi * (step - warm) / (steps - warm - 1))) / 2
    cases.mistake(
        is_near(np.where(step < warm, rising, early)),
        "The fall is over one step too early: its length is `steps - warm`, not one less, so the "
        "last step has no rate at all.",
    )
    wanted = highest * np.where(step < warm, rising, cosine(warm))
    cases.equal("the rates of 20 steps, 5 of them warm-up", got, wanted, tolerance=1e-10)
    with np.errstate(divide="ignore", invalid="ignore"):
        cold = np.asarray(rates(1.0, 0, 4), float)
    cases.mistake(
        bool(np.isnan(cold).any()),
        "With `warm` = 0 the rise is divided by 0, and step 0 has the rate `nan`, which would make "
        "every weight `nan`.",
    )
    cases.equal("without warm-up", cold, (1 + np.cos(np.pi * np.arange(4) / 4)) / 2, tolerance=1e-9)
    if not cases.failed:
        _judge(answer, cases, rates)


def _judge(answer: Answer, cases: Cases, rates: Callable[..., np.ndarray]) -> None:
    """Histories by hand, then those of a small network at four heights of the learner's rates."""
    choose = answer.function("choose", returns=float)
    peak = {1e-5: [1.2, 1.19, 1.18], 1e-4: [1.2, 1.1, 1.19], 1e-2: [1.2, 2.0, 1.6]}
    late = {1e-5: [1.2, 1.15, 1.02], 1e-4: [1.2, 1.1, 1.08]}
    lost = {1e-4: [1.2, 1.25, 1.22], 1e-2: [1.2, 2.0, 1.6]}
    got = [float(choose(histories)) for histories in (peak, late, lost)]
    cases.mistake(
        got[0] == 1e-5,
        "`choose` judges by the LAST pass; what is kept of a fine-tuning is its best one.",
    )
    cases.mistake(
        got[1] == 1e-4, "`choose` judges by the FIRST pass alone; a later one was better."
    )
    cases.mistake(
        got[:2] == [1e-4, 1e-5] and got[2] in lost,
        "`choose` never leaves the network as it was: where every pass is worse than the start, "
        "the pretraining was lost, and 0.0 is the answer.",
    )
    if not cases.equal("which rate three sets of histories speak for", got, [1e-4, 1e-5, 0.0]):
        return
    tuned = {height: _tune(rates(height, 4, 40)) for height in (1e-4, 1e-2, 1e-1, 3.0)}
    best = {height: min(losses) for height, losses in tuned.items()}
    cases.equal(
        "which height of your rates serves a small pretrained network",
        float(choose(tuned)),
        min(best, key=best.get),
    )
    cases(
        "at the largest height your rates destroy it: every pass is worse than the start",
        float(choose({3.0: tuned[3.0]})) == 0.0,
        "`choose` would keep what is worse than the start.",
    )


def _tune(rates: np.ndarray) -> list[float]:
    """Validation log-loss of a network with one hidden layer, before and after each ten steps.

    It begins near the truth, as pretrained weights do, and learns by Adam from 60 examples.
    """
    random = np.random.default_rng(105)
    truth = [random.normal(size=(8, 6)) / 2, random.normal(size=6) * 2]
    x = random.normal(size=(1060, 8))
    y = random.random(1060) < 1 / (1 + np.exp(-np.tanh(x @ truth[0]) @ truth[1]))
    weights = [truth[0] + random.normal(0, 0.1, (8, 6)), truth[1] * 0.5]
    moments = [[np.zeros_like(weight) for weight in weights] for _ in range(2)]

    def loss() -> float:
        score = np.tanh(x[60:] @ weights[0]) @ weights[1]
        return float(np.logaddexp(0, np.where(y[60:], -score, score)).mean())

    losses = [loss()]
    for step, rate in enumerate(rates, start=1):
        hidden = np.tanh(x[:60] @ weights[0])
        error = (1 / (1 + np.exp(-np.clip(hidden @ weights[1], -50, 50))) - y[:60]) / 60
        below = x[:60].T @ (error[:, None] * weights[1] * (1 - hidden**2))
        for place, slope in enumerate((below, hidden.T @ error)):
            moments[0][place] = 0.9 * moments[0][place] + 0.1 * slope
            moments[1][place] = 0.999 * moments[1][place] + 0.001 * slope**2
            first, second = moments[0][place] / (1 - 0.9**step), moments[1][place]
            second = np.sqrt(second / (1 - 0.999**step)) + 1e-8
            weights[place] = weights[place] - rate * first / second
        if step % 10 == 0:
            losses.append(loss())
    return losses


@exercise(
    "10.6",
    title="A reader that costs nothing",
    objects=("reader",),
    hints=(
        "`TfidfVectorizer` and `LogisticRegression` are imported, and `make_pipeline` joins them.",
        "A column of the odds belongs to an outcome: `model.classes_` says which ones the model "
        "knows. The others need a little, too, or their log-loss is infinite.",
        "Give the model fewer words to read, the verbs alone, or make new ones from a text: the "
        "verbs of the last events joined, how many events are told. "
        "`TfidfVectorizer(analyzer=...)` takes a function of yours from a text to its words; its "
        "own pattern drops signs like `+`.",
        'Lesson 10, section "Frozen: features once, a linear model on top" does it for TF-IDF.',
    ),
    seconds=60,
)
def a_reader(answer: Answer, cases: Cases) -> None:
    """The learner's reader learns and reads, beside frequencies and a plain reader by words."""
    from course_lib.features.texts import session_texts

    reader = answer.function("reader")
    texts, answers, outcomes, log, rows, known = (
        answer.given(name)
        for name in ("train_texts", "train_answers", "outcomes", "log", "rows", "answer")
    )
    asked = np.sort(rows["test"])[:1500]
    test = session_texts(log, asked, last=4, details=["words"]).tolist()
    truth = np.array([known[row] for row in asked.tolist()])
    read = reader(list(texts), np.array(answers), outcomes)
    cases.mistake(
        isinstance(read, np.ndarray | list),
        "`reader` returns odds, not a function: it cannot read texts that come tomorrow.",
    )
    if not cases("`reader` returns a function", callable(read), "it returns something else."):
        return
    odds = answer.run("reader", read, list(test))
    if not cases.equal("one row of odds a text", np.shape(odds), (len(test), outcomes)):
        return
    odds = np.asarray(odds, float)
    proper = bool(np.isfinite(odds).all() and (odds >= 0).all())
    proper = proper and bool(np.allclose(odds.sum(axis=1), 1, atol=1e-6))
    if not cases("the odds of a text add up to 1", proper, "they do not: are they scores?"):
        return
    with np.errstate(divide="ignore"):
        loss = -np.log(odds[np.arange(len(truth)), truth]).mean()
    cases.mistake(
        bool(np.isinf(loss)),
        "An outcome that did occur got odds of exactly 0: its log-loss is infinite. Leave a "
        "little to everything.",
    )
    often = (np.bincount(answers, minlength=outcomes) + 1) / (len(answers) + outcomes)
    frequencies = -np.log(often[truth]).mean()
    cases.mistake(
        bool(np.ptp(odds, axis=0).max() < 1e-9),
        "Every text gets the same odds: the reader has not read.",
    )
    floor = plain_reader(texts, answers, outcomes, test, truth)
    floor += -MARGIN if log.attrs["dataset"] == "shopworld" else SLACK
    cases.mistake(
        bool(loss > frequencies + 0.05),
        "It forecasts worse than how often each thing happens, which reads nothing: it has learnt "
        "its training texts by heart, or its columns are in another order than the outcomes.",
    )
    cases.mistake(
        bool(floor < loss <= floor + 2 * MARGIN),
        "It reads as well as a plain reader of single words, which is not enough here: names "
        "of items outnumber what the visitor did.",
    )
    cases(
        f"its log-loss on test texts is at most {floor:.3f} (frequencies {frequencies:.3f})",
        bool(loss <= floor),
        f"it is {loss:.3f}.",
    )


def plain_reader(
    texts: list[str], answers: np.ndarray, outcomes: int, test: list[str], truth: np.ndarray
) -> float:
    """Log-loss on test texts of a logistic regression on single words, learnt from other texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(min_df=3, token_pattern=r"\S+")
    try:
        counted = words.fit_transform(texts)
    except ValueError:  # no word occurs three times
        return np.inf
    model = LogisticRegression(C=0.3, max_iter=300).fit(counted, answers)
    odds = np.full((len(test), outcomes), 1e-4)
    odds[:, model.classes_] += model.predict_proba(words.transform(test))
    odds /= odds.sum(axis=1, keepdims=True)
    return float(-np.log(odds[np.arange(len(truth)), truth]).mean())
