"""Checks of lesson 08's exercises: attention, masks, codes, logQ, a blend, a recommender."""

from __future__ import annotations

import numpy as np

from course_lib.checks.core import Answer, Cases, exercise

SHARE_ON_SHOPWORLD = 0.9
"""Of the hit rate of a Markov chain over items."""
SHARE_ELSEWHERE = 0.5
"""Of the hit rate of popularity."""
SEEN_BEFORE = 1.25
"""So many times what it finds in other test sessions no network finds in these by luck."""


def _close(got: object, wanted: np.ndarray, tolerance: float = 1e-6) -> bool:
    return np.shape(got) == np.shape(wanted) and bool(np.allclose(got, wanted, atol=tolerance))


def _softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    odds = np.exp(x - x.max(axis=axis, keepdims=True))
    return odds / odds.sum(axis=axis, keepdims=True)


def _ways_to_attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, real: np.ndarray
) -> dict[str, np.ndarray]:
    """The right answer, and what the usual mistakes give, by name."""
    length, d = q.shape
    likeness = q @ k.T / np.sqrt(d)
    causal = np.tri(length, dtype=bool)
    both = causal & real

    def mixed(likeness: np.ndarray, mask: np.ndarray, low: float = -1e9, axis: int = 1):
        return _softmax(np.where(mask, likeness, low), axis) @ v

    return {
        "right": mixed(likeness, both),
        "not divided": mixed(q @ k.T, both),
        "divided by d": mixed(q @ k.T / d, both),
        "future": mixed(likeness, np.ones_like(causal) & real),
        "upside down": mixed(likeness, causal.T & real),
        "padding": mixed(likeness, causal),
        "set to zero": mixed(likeness, both, low=0.0),
        "after": (_softmax(likeness) * both) @ v,
        "wrong axis": mixed(likeness, both, axis=0),
    }


@exercise(
    "08.1",
    title="Attention with both masks",
    objects=("attend",),
    hints=(
        "Four steps: likenesses `[length, length]`, the mask, a softmax along each row, a mixture.",
        "`np.tri(length, dtype=bool)` is the causal mask; the padding mask is a row that holds "
        "for every t. What is masked must have no weight AFTER the softmax.",
        'Lesson 08, section "Two masks" joins the two; the section before it has `attend`.',
    ),
)
def attention_with_masks(answer: Answer, cases: Cases) -> None:
    """Random numbers with padding inside and at the end; only real positions are compared."""
    attend = answer.function("attend", returns=np.ndarray)
    random = np.random.default_rng(8)
    q, k, v = random.normal(0, 1.5, (3, 6, 4))
    real = np.array([True, True, False, True, True, False])
    got, ways = attend(q, k, v, real), _ways_to_attend(q, k, v, real)
    if not cases.equal("one answer a position", np.shape(got), (6, 4)):
        return
    sentences = {
        "not divided": "The likenesses are not divided by the square root of d: with wide queries "
        "one event would get all the weight.",
        "divided by d": "The likenesses are divided by d, not by its square root.",
        "future": "Every position looks at all events, later ones too: the causal mask is "
        "missing, and the model sees the answer.",
        "upside down": "The causal mask is upside down: each position looks at itself and at what "
        "comes AFTER it.",
        "padding": "Padding is listened to: its keys and values are no events.",
        "set to zero": "What is masked got a likeness of 0, and e to the 0 is 1: it still has "
        "weight. It needs a number so low that nothing is left of it.",
        "after": "The mask came after the softmax: the weights of a position no longer add up "
        "to 1.",
        "wrong axis": "The softmax runs over those who ask (axis 0), not over those who are "
        "asked: the weights of a position must add up to 1 along its row.",
    }
    for name, sentence in sentences.items():
        cases.mistake(_close(got[real], ways[name][real]), sentence)
    right = _close(got[real], ways["right"][real])
    cases("the answers of the real positions are mixed with masked softmax weights", right)
    tiny = np.zeros((2, 1)), np.zeros((2, 1)), np.array([[2.0], [4.0]]), np.ones(2, bool)
    cases.equal("the example of the task", np.ravel(attend(*tiny)), [2.0, 3.0], tolerance=1e-6)
    large = attend(1000 * q, 1000 * k, v, real)
    finite = bool(np.isfinite(large[real]).all())
    cases.mistake(
        right and not finite,
        "Large likenesses overflow: e to the 1,000 is no number any more. Subtract the largest of "
        "each row before `np.exp`; the weights stay the same.",
    )
    cases("large likenesses give numbers, too", finite)


@exercise(
    "08.2",
    title="The mask that looks away",
    objects=("who_may_look",),
    hints=(
        "Print the mask of one session, `[[3, 1, 4, 0, 0]]`. At which positions may the third "
        "event look?",
        "Two conventions are about: True for `look at it`, and True for `ignore it`. Which one "
        "does Keras have, which one is built here?",
        'Lesson 08, section "Something is wrong" meets the same confusion in another place.',
    ),
)
def the_inverted_mask(answer: Answer, cases: Cases) -> None:
    """Three sessions padded on the right, one on the left; only real events' rows count."""
    who_may_look = answer.function("who_may_look", returns=np.ndarray)
    codes = np.array([[3, 1, 4, 0, 0], [2, 7, 1, 8, 2], [9, 0, 0, 0, 0], [0, 0, 5, 6, 5]])
    real, causal = codes != 0, np.tri(5, dtype=bool)
    got = who_may_look(codes)
    if not cases.equal("one square a session", np.shape(got), (4, 5, 5)):
        return
    whole = np.asarray(got).astype(bool)
    got = whole[real]
    full, to_real = np.ones((4, 5, 5), bool), np.broadcast_to(real[:, None, :], (4, 5, 5))
    wanted, earlier = (causal & to_real)[real], (full & causal)[real]

    def reads_as(mask: np.ndarray) -> bool:
        return np.array_equal(got, np.broadcast_to(mask, full.shape)[real])

    cases.mistake(
        reads_as(causal & ~to_real),
        "The padding mask is inverted: it is True at padding. With padding on the right, real "
        "events may look nowhere at all; with padding on the left, at nothing but padding.",
    )
    cases.mistake(
        reads_as(to_real), "The causal mask is lost: every event looks at those after it."
    )
    cases.mistake(
        reads_as(causal | to_real),
        "The masks are joined by `or`: it is enough to be earlier OR to be real, so events look "
        "at the future and at padding.",
    )
    cases.mistake(
        np.array_equal(whole, causal & real[:, :, None]),
        "The padding mask stands on the axis of those who look (the second): padding no longer "
        "looks, but it is still looked at. With padding on the left that shows.",
    )
    cases.mistake(
        reads_as(causal),
        "The padding mask is gone. With padding on the right the causal mask hides that; with "
        "padding on the left every event looks at padding.",
    )
    cases.mistake(
        reads_as(~(causal & to_real)),
        "Now everything is inverted: Keras looks where the mask is True, and this one is True "
        "wherever one may not look.",
    )
    cases.equal("the third event of [3, 1, 4, 0, 0] looks at", got[2], wanted[2])
    cases.equal("the last event of a full session looks at", got[7], wanted[7])
    cases("no event looks at padding", not got[~to_real[real]].any())
    cases("no event looks at what comes later", not got[~earlier].any())
    cases("every event looks at all events up to itself", bool((got | ~wanted).all()))


@exercise(
    "08.3",
    title="The right list in the wrong shop window",
    objects=("encode", "decode"),
    hints=(
        "There must be ONE table for all sessions. Which one does `encode` make, and from what?",
        "Inputs count from 1, because 0 is padding; outputs count from 0. Which of the two does "
        "`decode` get?",
        'Lesson 08, section "Which item comes next?" has the sentence on codes and places.',
    ),
)
def codes_and_places(answer: Answer, cases: Cases) -> None:
    """A catalogue that is in no alphabetical order, and a session that shows a part of it."""
    encode = answer.function("encode", returns=(np.ndarray, list))
    decode = answer.function("decode", returns=(list, np.ndarray))
    items, names = ["pan", "knife", "bowl", "spoon", "cup"], ["spoon", "knife", "spoon"]
    codes, shown = list(encode(names, items)), list(decode(np.array([0, 3, 4]), items))
    every = list(encode(items, items))
    own_table = codes in ([2, 1, 2], [1, 2, 1], [1, 0, 1], [0, 1, 0])
    cases.mistake(
        own_table and shown == ["cup", "bowl", "spoon"],
        "Two bugs: `encode` numbers the names of each session anew, so code 1 is another item in "
        "every session; and `decode` reads a place as if it were a code, one item off.",
    )
    cases.mistake(
        own_table,
        "Codes come from the session's own names, not from the catalogue: code 1 is another item "
        "in every session.",
    )
    cases.mistake(
        every == [4, 3, 1, 5, 2],
        "The table is sorted by the alphabet; the network's is in the order of the catalogue.",
    )
    cases.mistake(
        every == [0, 1, 2, 3, 4],
        "The codes begin at 0, but 0 is padding: the first item of the catalogue would be read "
        "as nothing.",
    )
    cases.mistake(
        shown == ["cup", "bowl", "spoon"],
        "`decode` takes a place for a code and subtracts 1: place 0 is the FIRST item, and "
        "`items[-1]` is the last one, without a complaint.",
    )
    cases.equal("a session of spoon, knife, spoon has the codes", codes, [4, 2, 4])
    cases.equal("the places 0, 3 and 4 are", shown, ["pan", "spoon", "cup"])
    back = list(decode(np.asarray(every, dtype=int) - 1, items)) if min(every) > 0 else []
    cases.equal("what is encoded, and read as places one lower, comes back", back, items)


def _sampled(own: np.ndarray, others: np.ndarray, same: np.ndarray, shift: object) -> np.ndarray:
    others = np.where(same, -np.inf, others + shift)
    return np.log(np.exp(own) + np.exp(others).sum(axis=1)) - own


@exercise(
    "08.4",
    title="A sample that stands for the whole",
    objects=("sampled_loss",),
    hints=(
        "An item that is drawn twice as often must count half as much each time it is drawn.",
        "Dividing by m q in front of the exponential is something with its logarithm inside it.",
        'Lesson 08, section "The loss matters more" has the formula of Z.',
    ),
)
def log_q(answer: Answer, cases: Cases) -> None:
    """Against the formula and its misreadings, then whether the sum is right on average."""
    sampled_loss = answer.function("sampled_loss", returns=np.ndarray)
    random = np.random.default_rng(84)
    own, others = random.normal(size=3), random.normal(size=(3, 5))
    chance = np.array([0.4, 0.3, 0.05, 0.15, 0.1])
    same = np.zeros((3, 5), bool)
    same[0, 1] = same[2, 4] = True
    got = sampled_loss(own, others, chance, same)
    if not cases.equal("one loss a target", np.shape(got), (3,)):
        return
    expected = np.log(5 * chance)
    right = _sampled(own, others, same, -expected)
    cases.mistake(
        _close(got, _sampled(own, others, same, expected)),
        "The correction has the wrong sign: items that are drawn often now count even more, and "
        "bestsellers are pushed down twice.",
    )
    cases.mistake(
        _close(got, _sampled(own, others, same, 0)),
        "The correction is missing: an item that is drawn often is pushed down often, just for "
        "being popular.",
    )
    cases.mistake(
        _close(got, _sampled(own, others, same, -np.log(chance))),
        "The number of draws is forgotten: an item is expected m q times among m draws, not q.",
    )
    cases.mistake(
        _close(got, _sampled(own, others, same, -5 * chance)),
        "The chance itself is subtracted: in the exponent, dividing by m q is subtracting its "
        "LOGARITHM.",
    )
    cases.mistake(
        _close(got, _sampled(own, others, np.zeros_like(same), -expected)),
        "A draw of the target still counts: the target is there already, and would have to beat "
        "itself.",
    )
    cases("the losses equal log Z less the target's score", _close(got, right))
    scores, often = np.array([1.0, 0.0, -0.5, 0.3]), np.array([0.55, 0.25, 0.15, 0.05])
    drawn = random.choice(4, (4000, 8), p=often)
    sums = [
        float(np.exp(sampled_loss(scores[3:], scores[row][None], often[row], row[None] == 3)[0]))
        for row in drawn[:1000]
    ]
    share = np.mean(sums) * np.exp(scores[3]) / np.exp(scores).sum()
    cases(
        "over many draws the sampled sum is the full one on average",
        abs(share - 1) < 0.05,
        f"on average it is {share:.2f} times the full sum.",
    )


@exercise(
    "08.5",
    title="A blend too good to be true",
    objects=("blend",),
    hints=(
        "Which rows decide about the weight, and which rows are then scored?",
        "Two questions, two parts: choose on one, report on the other.",
        'Lesson 08, section "Two opinions are better: a blend" says where weights come from.',
    ),
)
def the_leaking_blend(answer: Answer, cases: Cases) -> None:
    """Rows where the validation part wants counting, and the test part by luck the network."""
    blend = answer.function("blend", returns=(tuple, list))
    network, counting, targets, part = _two_models()
    got = blend(network, counting, targets, part)
    if not cases.equal("a weight and a hit rate", len(got), 2):
        return
    found = np.array([_hits(w * network + (1 - w) * counting, targets) for w in _WEIGHTS])
    validation, test = (found[:, part == name] for name in ("validation", "test"))
    rates, best = validation.mean(axis=1), int(validation.mean(axis=1).argmax())
    weight, rate = (float(value) for value in got)
    leak = int(test.mean(axis=1).argmax())
    cases.mistake(
        _close(weight, _WEIGHTS[leak]) and _close(rate, test[leak].mean()),
        "The weight was chosen on the very test rows that are then reported: of eleven blends the "
        "luckiest was taken, and its luck is in the score.",
    )
    cases.mistake(
        _close(weight, _WEIGHTS[best]) and _close(rate, rates[best]),
        "The weight is right, but the reported rate is that of the validation part, which chose "
        "it: it is flattered by that choice.",
    )
    everywhere = int(found.mean(axis=1).argmax())
    cases.mistake(
        _close(weight, _WEIGHTS[everywhere]),
        "All rows chose the weight, those of the test part among them: that is half a leak, and "
        "a leak.",
    )
    cases.mistake(
        _close(weight, _WEIGHTS[int(rates.argmin())]),
        "This is the weight with which the validation part finds LEAST.",
    )
    cases.equal("the weight is the validation part's", weight, float(_WEIGHTS[best]))
    reported = float(test[best].mean())
    cases.equal(
        "the reported rate is that blend's on the test part", rate, reported, tolerance=1e-9
    )


_WEIGHTS = np.linspace(0, 1, 11)


def _hits(credit: np.ndarray, targets: np.ndarray, k: int = 3) -> np.ndarray:
    own = credit[np.arange(len(targets)), targets][:, None]
    return (credit > own).sum(axis=1) < k


def _two_models() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Credits of two models: counting is better in validation rows, the network in test rows."""
    random = np.random.default_rng(85)
    rows, items = 240, 12
    targets = random.integers(0, items, rows)
    network, counting = random.random((2, rows, items))
    part = np.where(np.arange(rows) % 4 == 0, "validation", "test")
    knows = np.where(part == "validation", 0.15, 0.9), np.where(part == "validation", 0.6, 0.35)
    for credit, gain in zip((network, counting), knows, strict=True):
        credit[np.arange(rows), targets] += gain
    return network, counting, targets, part


@exercise(
    "08.6",
    title="Earn a place on the ladder",
    objects=("network", "score"),
    hints=(
        "`item_transformer` and `fit_items` are imported; with so few sessions a larger learning "
        "rate and `decay=True` help.",
        "`score_of(network, part)`: which part has the network never seen, not even to decide "
        "when to stop?",
        'Lesson 08, section "Training: gather, then softmax" shows the recipe of the lesson.',
    ),
    seconds=90,
)
def a_place_on_the_ladder(answer: Answer, cases: Cases) -> None:
    """The network is scored anew on the test rows, beside two rankers that count."""
    network, score = answer.value("network"), answer.value("score", kind=(float, int))
    data, log, split, catalogue = (
        answer.given(name) for name in ("data", "log", "split", "catalogue")
    )
    predict = getattr(network, "predict_on_batch", None)
    if not cases("`network` is a Keras model", predict is not None, "it is something else."):
        return
    few = data["test"].inputs[:4]
    states = np.asarray(answer.run("network", network, few))
    cases.mistake(
        states.ndim == 3 and states.shape[-1] == len(catalogue),
        "The network scores the whole catalogue at every position itself. A network of items "
        "puts out states as wide as its table; `fit_items` gathers the real ones first.",
    )
    cases.mistake(states.ndim == 2, "One state a session: a state is wanted after EVERY item.")
    if not cases.equal("a state at every position", states.shape[:2], few.shape):
        return
    names = [layer.name for layer in network.layers]
    if not cases("it has a layer `items`", "items" in names, f"its layers are {names}."):
        return
    rate = _rate(network, data["test"])
    right = abs(score - rate) < 5e-4
    if not right:  # of which part is it, then?
        cases.mistake(
            abs(score - _rate(network, data["train"])) < 5e-4,
            "`score` was computed on the training rows: what a network has learnt by heart says "
            "nothing about the shoppers of next week.",
        )
        cases.mistake(
            abs(score - _rate(network, data["validation"])) < 5e-4,
            "`score` was computed on the validation rows: they decided which epoch's weights to "
            "keep, so the network was chosen to look good on them.",
        )
    cases("`score` is the hit rate on the test part", right, "computed anew it is another.")
    popular, markov = _counted(log, split, data["test"])
    on_shopworld = log.attrs.get("dataset") == "shopworld"
    floor = SHARE_ON_SHOPWORLD * markov if on_shopworld else SHARE_ELSEWHERE * popular
    beside = _beside(log, split, catalogue, len(data["test"]))
    if beside is not None:
        yard = markov if on_shopworld else popular
        other = _counted(log, split, beside)[1 if on_shopworld else 0]
        cases.mistake(
            rate * other > SEEN_BEFORE * yard * max(_rate(network, beside), 1e-9),
            "The network finds much more in the test sessions that you were given than in others "
            "of the same days: it was fitted on them, and has learnt the answers by heart.",
        )
    cases.mistake(
        rate < 0.5 * popular,
        "This network finds far less than a list of bestsellers that knows nobody: was it fitted?",
    )
    cases(
        f"its hit rate on the test part is at least {floor:.3f} (Markov chain {markov:.3f}, "
        f"popularity {popular:.3f})",
        rate >= floor,
        "not yet: the full softmax, a larger learning rate, more epochs?",
    )


def _beside(log: object, split: object, catalogue: object, given: int) -> object | None:
    """Test sequences beside those that the learner was given; None where there are few."""
    from course_lib.sequences import item_sequences

    every = item_sequences(log, catalogue, rows=split.rows(log, "test"))
    if len(every) < given + 100:
        return None
    return every.take(np.arange(given, min(2 * given, len(every))))


def _rate(network: object, sequences: object) -> float:
    from course_lib.metrics import hit_rate
    from course_lib.training import rank_items

    return hit_rate(rank_items(network, sequences)[_asked(sequences)], 20)


def _asked(sequences: object) -> np.ndarray:
    mask = np.zeros(len(sequences.visits.last), bool)
    mask[sequences.rows[sequences.mask]] = True
    return mask


def _counted(log: object, split: object, sequences: object) -> tuple[float, float]:
    from course_lib.baselines.ranking import ItemMarkov, Popularity
    from course_lib.metrics import hit_rate
    from course_lib.sessions import next_item

    asked, target = _asked(sequences), next_item(log)
    popular, markov = (
        hit_rate(
            ranker.fit(log, rows=split.rows(log, "train")).rank(log, target, rows=asked)[asked], 20
        )
        for ranker in (Popularity(), ItemMarkov())
    )
    return popular, markov
