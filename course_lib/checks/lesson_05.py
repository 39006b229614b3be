"""Checks of lesson 05's exercises: the recurrence, its gradient, padding, labels, a network."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.checks.heldout import beyond_markov, network_logits, reaches

GAIN_ON_SHOPWORLD = 0.30
"""Beyond the Markov chain, as a share of what it gains over event frequencies."""
GAIN_ELSEWHERE = -0.40


def _example(seed: int, sequences: int = 3, embedding: int = 4, width: int = 5):
    random = np.random.default_rng(seed)
    shapes = [(sequences, embedding), (sequences, width), (embedding, width), (width, width)]
    return *(random.normal(0, 0.7, shape) for shape in shapes), random.normal(0, 0.7, width)


def _close(got: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-6) -> bool:
    return np.shape(got) == np.shape(wanted) and bool(np.allclose(got, wanted, atol=tolerance))


@exercise(
    "05.1",
    title="One step of the recurrence",
    objects=("step",),
    hints=(
        "Two things enter the new state: the event and the state before it. Each has its matrix.",
        "Rows are sequences, so the matrix stands on the right: `x @ W` has shape "
        "`[sequences, width]`.",
        'Lesson 05, section "The recurrence" has the formula and the table of symbols.',
    ),
)
def one_step(answer: Answer, cases: Cases) -> None:
    """Random numbers, against the formula and against its usual misreadings."""
    step = answer.function("step", returns=np.ndarray)
    x, h, W, U, b = _example(seed=5)
    got = step(x, h, W, U, b)
    inside = x @ W + h @ U + b
    cases.mistake(
        _close(got, inside),
        "The tanh is missing: without it the state is a sum that can grow without bound, and "
        "the whole network is one linear map.",
    )
    cases.mistake(
        _close(got, np.tanh(x @ W + b)),
        "The state before the event is not used: this network has no memory at all.",
    )
    cases.mistake(
        _close(got, np.tanh(x @ W + h @ U.T + b)),
        "U is transposed: the states are rows here, so the state before enters as `h @ U`.",
    )
    cases.mistake(_close(got, np.tanh(x @ W + h @ U)), "The bias `b` is forgotten.")
    cases.mistake(
        _close(got, np.tanh(x @ W + b) + h @ U) or _close(got, np.tanh(x @ W + b + h)),
        "The state before is added without its matrix inside the tanh: what carries over goes "
        "through U, and through the tanh together with the event.",
    )
    if cases.equal("one state a sequence", np.shape(got), (3, 5)):
        cases("the states equal tanh(x W + h U + b)", _close(got, np.tanh(inside)))
    tiny = step(*(np.array(value) for value in ([[1.0]], [[0.5]], [[2.0]], [[1.0]], [0.0])))
    cases.equal("the example of the task", np.ravel(tiny), [math.tanh(2.5)], tolerance=1e-9)


def _carry_back(dh: np.ndarray, states: np.ndarray, U: np.ndarray) -> np.ndarray:
    for state in states[:0:-1]:
        dh = (dh * (1 - state**2)) @ U.T
    return dh


def _wrong_ways_back(dh: np.ndarray, states: np.ndarray, U: np.ndarray) -> dict[str, np.ndarray]:
    """What the usual mistakes give, by name."""
    slopes = 1 - states**2
    ways = {"no slope": dh, "not transposed": dh, "earlier slope": dh, "one step more": dh}
    ways |= {"forwards": dh, "one step less": dh}
    for back in range(len(states) - 1, 0, -1):
        ways["no slope"] = ways["no slope"] @ U.T
        ways["not transposed"] = (ways["not transposed"] * slopes[back]) @ U
        ways["earlier slope"] = (ways["earlier slope"] * slopes[back - 1]) @ U.T
        ways["forwards"] = (ways["forwards"] * slopes[len(states) - back]) @ U.T
        if back > 1:
            ways["one step less"] = (ways["one step less"] * slopes[back]) @ U.T
    ways["one step more"] = (_carry_back(dh, states, U) * slopes[0]) @ U.T
    return ways


@exercise(
    "05.2",
    title="A gradient travels back in time",
    objects=("carry_back",),
    hints=(
        "One step back at a time: from the gradient by the last state to the one before it.",
        "Going forward, h U was added inside a tanh. Going back, first comes the slope of that "
        "tanh, then U the other way round.",
        "k + 1 states have k steps between them; the slope of a step is the later state's.",
        'Lesson 05, section "Backward through time" walks back like this.',
    ),
)
def gradient_through_time(answer: Answer, cases: Cases) -> None:
    """A recurrence without events, differentiated numerically."""
    carry_back = answer.function("carry_back", returns=np.ndarray)
    random = np.random.default_rng(52)
    width, steps = 4, 3
    U, drive = random.normal(0, 0.6, (width, width)), random.normal(0, 0.5, (steps, width))

    def run(first: np.ndarray) -> np.ndarray:
        states = [first]
        for push in drive:
            states.append(np.tanh(states[-1] @ U + push))
        return np.array(states)

    first, dh = random.normal(0, 0.5, width), random.normal(0, 1, width)
    states = run(first)
    nudge = 1e-6 * np.eye(width)
    slopes = [(run(first + d)[-1] - run(first - d)[-1]) @ dh / 2e-6 for d in nudge]
    got = carry_back(dh, states, U)
    wrong = _wrong_ways_back(dh, states, U)
    sentences = {
        "no slope": "The slope of the tanh is missing: each step back also multiplies by "
        "1 - h². That factor, below 1, is why gradients fade.",
        "not transposed": "U is not transposed: forward it takes the earlier state to the later "
        "one, backward `U.T` takes the gradient the other way.",
        "earlier slope": "The slope is taken at the wrong state: the tanh of a step put out the "
        "LATER state, so its slope is 1 - h² of the later one.",
        "one step more": "One step too many: k + 1 states have k steps between them.",
        "one step less": "One step too few: k + 1 states have k steps between them.",
        "forwards": "The states are walked in the order of time: a gradient starts at the last "
        "one and goes backward.",
    }
    for name, sentence in sentences.items():
        cases.mistake(_close(got, wrong[name]), sentence)
    if cases.equal("one number for each number of the state", np.shape(got), (width,)):
        cases(
            "a small change of the first state changes the loss as the gradient says",
            _close(got, np.array(slopes)),
            "numerically the gradient is another.",
        )
    still = carry_back(dh, states[-1:], U)
    cases("with a single state the gradient stays as it is", _close(still, dh))


@exercise(
    "05.3",
    title="A loss that falls for the wrong reason",
    objects=("batch_loss",),
    hints=(
        "How many events are in a batch of three sessions with two events each, padded to ten?",
        "`codes > 0` says which positions hold an event.",
        'Lesson 05, section "A loss that sees only real positions" has the formula.',
    ),
)
def padding_is_not_data(answer: Answer, cases: Cases) -> None:
    """Two sessions of two and four events, by hand."""
    batch_loss = answer.function("batch_loss", returns=(float, int))
    codes = np.array([[1, 2, 0, 0, 0], [3, 1, 1, 2, 0]])
    losses = np.array([[2.0, 4.0, 0.5, 0.5, 0.5], [1.0, 2.0, 3.0, 0.0, 0.5]])
    got = float(batch_loss(losses, codes))
    cases.mistake(
        _close(got, losses.mean()),
        "Padding is read as data: the mean is over all positions. After nothing comes nothing, "
        "so padding is easy to foresee and the loss looks better than it is.",
    )
    cases.mistake(
        _close(got, (losses * (codes > 0)).sum() / losses.size),
        "The losses at padding are set to 0 but still counted: divide by the number of real "
        "events, not by the number of positions.",
    )
    cases.mistake(
        _close(got, losses.sum() / (codes > 0).sum()),
        "The number of events is right, but the losses at padding are still in the sum: both the "
        "sum and the count belong to real events only.",
    )
    cases.mistake(
        _close(got, (3.0 + 1.5) / 2),
        "This is the mean of the sessions' means: an event of a short session counts more than "
        "one of a long session.",
    )
    cases.mistake(
        _close(got, losses[codes > 1].mean()),
        "Code 1 is a real event too: only code 0 is padding.",
    )
    cases.equal("six real events lose 12 nats together, 2 each", got, 2.0, tolerance=1e-9)
    wider = [np.pad(array, ((0, 0), (0, 7))) for array in (losses, codes)]
    cases.equal(
        "seven more columns of padding change nothing",
        float(batch_loss(*wider)),
        got,
        tolerance=1e-9,
    )
    full = batch_loss(losses[1:, :4], codes[1:, :4])
    cases.equal("a batch without padding is a plain mean", float(full), 1.5, tolerance=1e-9)


@exercise(
    "05.4",
    title="Labels mapped backwards",
    objects=("encode",),
    hints=(
        "Feed it `pd.Series([True, False])` and outcomes `[False, True]`: which output would a "
        "purchase train?",
        "`pd.factorize` numbers values as they come; what is the order that the network has?",
        'Lesson 05, section "Will this session buy?" says which column is which.',
    ),
)
def labels_in_their_order(answer: Answer, cases: Cases) -> None:
    """Labels whose order of appearance, of the alphabet and of the outcomes all differ."""
    encode = answer.function("encode", returns=(np.ndarray, pd.Series, list))
    buys = np.asarray(encode(pd.Series([True, False, True]), [False, True]))
    events = pd.Series(["view", "leave", "cart", "view"])
    order = ["view", "cart", "leave"]
    got = np.asarray(encode(events, order))
    cases.mistake(
        list(buys) == [0, 1, 0] and list(got) == [0, 1, 2, 0],
        "The labels are mapped backwards: they are numbered in the order in which they happen "
        "to appear, so wherever the first session bought, a purchase is output 0, 'will not buy'.",
    )
    cases.mistake(
        list(got) == [2, 1, 0, 2],
        "The labels are numbered by the alphabet: the network's outputs have the order of "
        "`outcomes`, which need not be sorted.",
    )
    cases.mistake(
        list(got) == [2, 0, 1, 2],
        "The outcomes are counted from the end: output 0 is `outcomes[0]`.",
    )
    cases.mistake(
        list(got) == [1, 3, 2, 1],
        "The outcomes are counted from 1: the first output is number 0.",
    )
    cases.equal("a purchase is output 1 of [False, True]", buys, [1, 0, 1])
    cases.equal("view, leave, cart, view among view, cart, leave", got, [0, 2, 1, 0])
    absent = np.asarray(encode(pd.Series(["leave", "leave"]), order))
    cases.equal(
        "the number of an outcome does not depend on which labels are there", absent, [2, 2]
    )
    missing = pd.Series([True, pd.NA, False], dtype="boolean")
    cases.equal("a missing label is -1", np.asarray(encode(missing, [False, True])), [1, -1, 0])


@exercise(
    "05.5",
    title="Which state may the forecast use",
    objects=("states_after",),
    hints=(
        "Position 0 holds the state after the FIRST event.",
        "Count the real events of each sequence first: who has no `seen` events is not asked.",
        'Lesson 05, section "The network in Keras" says what `return_sequences` returns.',
    ),
)
def the_right_state(answer: Answer, cases: Cases) -> None:
    """Three sequences of 2, 4 and 3 events; each state says where it stands."""
    states_after = answer.function("states_after", returns=np.ndarray)
    codes = np.array([[1, 1, 0, 0, 0], [2, 1, 3, 1, 0], [1, 2, 1, 0, 0]])
    number, place = np.meshgrid(np.arange(3), np.arange(5), indexing="ij")
    hidden = np.stack([number, place + 1], axis=-1).astype(np.float64)
    got = states_after(hidden, codes, 3)
    shape = np.shape(got)
    plain = got if shape in ((2, 2), (3, 2)) else np.full((1, 2), np.nan)
    cases.mistake(
        len(shape) == 3,
        "This returns whole sequences of states: with `return_sequences=True` there is one state "
        "an event, and a forecast uses one of them.",
    )
    cases.mistake(
        bool((plain[:, 1] == 4).all()),
        "One event too far: `hidden[:, seen]` has read the very event that the forecast is asked "
        "for. That is leakage; counting starts at 0.",
    )
    cases.mistake(
        bool((plain[:, 1] == 5).all()),
        "This is the last position of the rectangle, not of what is visible: it lies in the "
        "padding, behind the end of the session.",
    )
    lengths = (codes > 0).sum(axis=1)
    cases.mistake(
        list(plain[:, 1]) in (list(lengths), list(lengths[1:])),
        "This is the state after the whole session: it has read events that come after the first "
        "`seen` ones.",
    )
    cases.mistake(
        shape == (3, 2),
        "Too many sequences: the first one has only 2 events, so its state at that position "
        "stands in the padding.",
    )
    if cases.equal("one state for each sequence with 3 events or more", shape, (2, 2)):
        cases.equal("sequences 1 and 2, each after its third event", got, [[1.0, 3.0], [2.0, 3.0]])
    first = states_after(hidden, codes, 1)
    cases.equal(
        "after one event every sequence has its first state",
        first,
        [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]],
    )
    cases.equal("nobody has 5 events", np.shape(states_after(hidden, codes, 5)), (0, 2))


@exercise(
    "05.6",
    title="Earn a place on the ladder",
    objects=("network", "score"),
    hints=(
        "Start from the network of the lesson; with so little data it trains in seconds.",
        "`score_of(network, part)`: which part has the network never seen, not even to decide "
        "when to stop?",
        'Lesson 05, section "Training, properly" shows the call of `fit`.',
    ),
    seconds=60,
)
def a_place_on_the_ladder(answer: Answer, cases: Cases) -> None:
    """The network is scored anew on the test rows, beside two baselines."""
    data = answer.given("data")
    logits = network_logits(
        answer,
        cases,
        data["test"].inputs[:4],
        len(data["test"].outcomes),
        "without `return_sequences=True` the recurrent layer keeps its last state only.",
    )
    if logits is None:
        return
    cases.mistake(
        bool(np.allclose(logits.sum(axis=-1), 1, atol=1e-3) and (logits >= 0).all()),
        "The outputs are probabilities already (a softmax in the last layer), but the loss and "
        "`forecast` expect logits and apply a softmax themselves: taken twice, no forecast can "
        "be sure of anything.",
    )
    floor = beyond_markov(answer, GAIN_ON_SHOPWORLD, GAIN_ELSEWHERE)
    reaches(answer, cases, floor, "more epochs, more width, or a larger learning rate?")
