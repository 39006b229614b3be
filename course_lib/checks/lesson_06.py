"""Checks of lesson 06's exercises: gates, half-lives, padding, memory, a network."""

from __future__ import annotations

import math

import numpy as np

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.checks.heldout import network_logits, reaches

GAP_ON_SHOPWORLD = 0.75
"""Share of the gap between the Markov chain and the best possible."""
LOSS_ELSEWHERE = 0.40
"""Above the Markov chain, as a share of what it gains over event frequencies."""


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(a, np.float64)))


def _close(got: object, wanted: object, tolerance: float = 1e-6) -> bool:
    return np.shape(got) == np.shape(wanted) and bool(np.allclose(got, wanted, atol=tolerance))


@exercise(
    "06.1",
    title="A cell with one gate less",
    objects=("coupled_step",),
    hints=(
        "One product gives the three blocks side by side: `np.split(..., 3, axis=1)`.",
        "Two of the blocks are gates, between 0 and 1; one is what is new, between -1 and 1.",
        'Lesson 06, section "The LSTM" has the whole cell; here `1 - f` takes the place of `i`.',
    ),
)
def one_gate_less(answer: Answer, cases: Cases) -> None:
    """Random numbers, against the formula and against its usual misreadings."""
    coupled_step = answer.function("coupled_step", returns=(tuple, list))
    random = np.random.default_rng(61)
    shapes = [(3, 4), (3, 5), (3, 5), (4, 15), (5, 15)]
    x, h, c, W, U = (random.normal(0, 0.8, shape) for shape in shapes)
    b = random.normal(0, 0.8, 15)
    pair = coupled_step(x, h, c, W, U, b)
    if not cases.equal("a pair, state and cell", len(pair), 2):
        return
    state, cell = pair
    a_f, a_g, a_o = np.split(x @ W + h @ U + b, 3, axis=1)
    f, g, o = _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)
    new = f * c + (1 - f) * g
    right = o * np.tanh(new), new
    cases.mistake(
        _close(state, right[1]) and _close(cell, right[0]),
        "State and cell have changed places: `h` is what is shown, `c` what is kept.",
    )
    cases.mistake(
        _close(cell, (1 - f) * c + f * g),
        "The gate works the wrong way round: f is the share that is KEPT, 1 - f the share of "
        "what is new.",
    )
    cases.mistake(
        _close(cell, f * c + g),
        "Everything new is let in: without 1 - f the cell takes in g at every event, and what "
        "it keeps is drowned.",
    )
    cases.mistake(
        _close(cell, f * c + (1 - f) * _sigmoid(a_g)),
        "What is new went through a sigmoid: it is no gate. With tanh it may be negative, so a "
        "cell can also be lowered.",
    )
    cases.mistake(
        _close(cell, right[1]) and _close(state, o * new),
        "The tanh of the output is missing: the state shows `o * tanh(c)`, which stays between "
        "-1 and 1 however large the cell grows.",
    )
    cases.mistake(
        _close(cell, right[1]) and _close(state, o * np.tanh(c)),
        "The state shows the cell from BEFORE the event: the forecast would not know what just "
        "happened.",
    )
    same = cases.equal("one state a sequence", np.shape(state), (3, 5))
    same &= cases.equal("one cell a sequence", np.shape(cell), (3, 5))
    if same:
        cases("the cell is f c + (1 - f) g", _close(cell, right[1]), "it is another.")
        cases("the state is o tanh(c)", _close(state, right[0]), "it is another.")
    zero = np.zeros
    tiny = coupled_step(
        zero((1, 1)), zero((1, 1)), np.array([[0.8]]), zero((1, 3)), zero((1, 3)), zero(3)
    )
    found = np.ravel(np.concatenate([np.ravel(part) for part in tiny]))
    cases.equal("the example of the task", found, [0.5 * math.tanh(0.4), 0.4], tolerance=1e-9)


@exercise(
    "06.2",
    title="How long a gate remembers",
    objects=("half_life", "bias_for"),
    hints=(
        "The bias is not the gate: what comes between them?",
        "After n events the cell is multiplied by f n times. For which n is that one half?",
        'Lesson 06, section "Why: a road without matrices" has the half-life of a gate.',
    ),
)
def half_lives(answer: Answer, cases: Cases) -> None:
    """Both functions on known values, and one undoing the other."""
    half_life = answer.function("half_life", returns=(float, int, np.floating))
    bias_for = answer.function("bias_for", returns=(float, int, np.floating))
    biases = [0.0, 1.0, 3.0]
    got = np.array([float(half_life(bias)) for bias in biases])
    f = _sigmoid(biases)
    wanted = np.log(0.5) / np.log(f)
    cases.mistake(
        _close(got[2], np.log(0.5) / np.log(_sigmoid(-3.0))),
        "This is the half-life of 1 - f: f is the share that is kept, not the share that goes.",
    )
    cases.mistake(
        _close(got, 0.5 / (1 - f)),
        "This subtracts the same amount at every event. A gate takes a share of what is left, so "
        "the memory fades as f * f * f ..., and never quite ends.",
    )
    cases.mistake(
        _close(got, 1 / (1 - f)) or _close(got, -1 / np.log(f)),
        "This is a mean lifetime, not a half-life: after that many events about 1/e is left.",
    )
    cases.mistake(
        _close(got, np.ceil(wanted)) or _close(got, np.round(wanted)),
        "The number of events is rounded: keep the fraction, so that two gates can be compared.",
    )
    cases.equal("with a bias of 0, half is gone after 1 event", got[0], 1.0, tolerance=1e-6)
    cases.equal("the half-life of Keras's bias of 1", got[1], float(wanted[1]), tolerance=1e-6)
    cases.equal("the half-life of a bias of 3", got[2], float(wanted[2]), tolerance=1e-6)
    events = np.array([1.0, 15.0, 40.0])
    back = np.array([float(bias_for(n)) for n in events])
    kept = 0.5 ** (1 / events)
    cases.mistake(
        _close(back, kept),
        "`bias_for` returns the gate itself: the bias is what the sigmoid turns into that gate.",
    )
    cases.mistake(
        _close(back, np.log((1 - kept) / kept)),
        "`bias_for` has its sign the wrong way round: a gate that keeps for long has a large "
        "positive bias.",
    )
    expected = np.log(kept / (1 - kept))
    cases.equal("the biases that keep half for 1, 15 and 40 events", back, expected, tolerance=1e-6)


@exercise(
    "06.3",
    title="The forecast that knew the end",
    objects=("build",),
    hints=(
        "Change the last event of a session. Which of the model's forecasts change, and which may?",
        "What does a recurrent layer return: one state a session, or one an event?",
        'Lesson 06, section "Padding, left or right" reads states at single positions; lesson 05 '
        "names the switch that returns them all.",
    ),
    seconds=60,
)
def no_look_ahead(answer: Answer, cases: Cases) -> None:
    """Change one event, and see which forecasts move."""
    build = answer.function("build")
    network = build(6, 3, 7)
    predict = getattr(network, "predict_on_batch", None)
    if not cases("`build` returns a Keras model", predict is not None, "it is something else."):
        return
    codes = np.array([[1, 2, 3, 4, 5, 1, 2]], dtype=np.int32)
    before = np.asarray(answer.run("build", predict, codes))
    cases.mistake(
        before.ndim == 2,
        "One forecast a session: the layer returns its last state alone, but a forecast is "
        "wanted after every event.",
    )
    if not cases.equal("one number an outcome at every position", before.shape, (1, 7, 3)):
        return
    cases.mistake(
        _close(before.sum(axis=-1), np.ones((1, 7)), 1e-4) and bool((before >= 0).all()),
        "These are probabilities: they sum to 1. The task asks for logits, and a loss that "
        "expects logits would take the softmax a second time.",
    )
    moved = np.zeros((7, 7), dtype=bool)
    for at in range(7):
        other = codes.copy()
        other[0, at] = 1 + codes[0, at] % 5
        after = np.asarray(answer.run("build", predict, other))
        moved[at] = np.abs(after - before).max(axis=-1)[0] > 1e-7
    cases.mistake(
        bool(moved[6].all()) and _close(before[0], np.tile(before[0, :1], (7, 1))),
        "Every position gets the same forecast, made from the state after the LAST event: the "
        "end of the session is repeated into its beginning, and the answers are read, not "
        "forecast.",
    )
    cases.mistake(
        bool(np.tril(moved, -1).any()),
        "Forecasts change with events that come later: something here reads the session "
        "backwards as well, which no shop can do while the visitor is still there.",
    )
    cases.mistake(
        not np.triu(moved, 1).any(),
        "Each forecast depends on its own event alone: there is no recurrence left, and so no "
        "memory.",
    )
    cases.mistake(
        bool(moved[0, 1]) and not moved[0, 6],
        "The first event of the session matters to the second forecast and no longer to the "
        "last one: this layer looks through a window, and what has left it is gone.",
    )
    cases("no forecast changes with a later event", not np.tril(moved, -1).any())
    cases(
        "each forecast changes with its own event",
        np.diag(moved).all(),
        "some do not: the layer was moved by a position.",
    )
    cases("the first event still matters to the second forecast", moved[0, 1])
    cases("and to the last one", moved[0, 6])


@exercise(
    "06.4",
    title="An LSTM without a memory",
    objects=("lay_out",),
    hints=(
        "What is the length of each of the sequences that this network reads?",
        "A recurrent layer starts each row with a state of zeros: what should one row be?",
        'Lesson 06, section "Side by side" prints how many sequences and positions it reads.',
    ),
)
def sequences_not_rows(answer: Answer, cases: Cases) -> None:
    """Sessions of three, two and one events, and a longer one."""
    lay_out = answer.function("lay_out", returns=np.ndarray)
    codes, session = np.array([3, 1, 2, 2, 1, 4]), np.array([7, 7, 7, 9, 9, 2])
    right = np.array([[3, 1, 2], [2, 1, 0], [4, 0, 0]])
    got = lay_out(codes, session)
    cases.mistake(
        np.shape(got) == (6, 1),
        "Each event is a sequence of its own, of length 1: the state starts at zero before every "
        "event and is thrown away after it, so the network knows the last event and no other.",
    )
    cases.mistake(
        np.size(got) == 6 and np.shape(got)[:1] == (1,),
        "All sessions stand in one row: the state of one visitor runs on into the next one's "
        "session.",
    )
    cases.mistake(
        _close(got, np.array([[3, 1, 2], [2, 1, 4]])),
        "The log is cut every three events: pieces of different sessions stand in one row.",
    )
    cases.mistake(
        _close(got, right[[2, 0, 1]]),
        "The sessions are sorted by their number: keep the order in which they begin, or the "
        "rows no longer fit the labels.",
    )
    cases.mistake(
        _close(got, np.array([[3, 1, 2], [0, 2, 1], [0, 0, 4]])),
        "The padding stands on the left: here the events begin at the left.",
    )
    if cases.equal("a row a session, as long as the longest", np.shape(got), (3, 3)):
        cases.equal("sessions of three, two and one events", got, right)
    pair = lay_out(np.array([3, 1, 2, 2, 1]), np.array([7, 7, 7, 9, 9]))
    cases.equal("the example of the task", pair, [[3, 1, 2], [2, 1, 0]])
    longer = lay_out(np.array([1, 2, 3, 1, 2]), np.array([5, 5, 5, 5, 8]))
    cases.mistake(
        np.shape(longer) == (2, 3),
        "The table is three events wide here, too, though the longest session has four: its end "
        "is cut off.",
    )
    cases.equal("sessions of four and one events", longer, [[1, 2, 3, 1], [2, 0, 0, 0]])


def _step(codes: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Some cell: never leaves a state as it is, padding included."""
    mix = np.array([[0.6, -0.3], [0.4, 0.5]])
    return np.tanh(h @ mix + np.asarray(codes)[:, None] * np.array([0.3, -0.2]) + 0.1)


@exercise(
    "06.5",
    title="Padding that stirs the state",
    objects=("last_states",),
    hints=(
        "What should happen to the state of a sequence at a position that holds no event?",
        "Sequences of one batch are padded differently: decide for each of them, at each position.",
        'Lesson 06, section "Padding, left or right" says what a mask does.',
    ),
)
def padding_carries_over(answer: Answer, cases: Cases) -> None:
    """The same session padded right, left, on both sides, and not at all."""
    last_states = answer.function("last_states", returns=np.ndarray)
    h = np.array([[0.5, -0.5]])
    alone = h
    for code in (2, 1, 3):
        alone = _step(np.array([code]), alone)
    padded = np.array([[2, 1, 3, 0, 0], [0, 0, 2, 1, 3], [0, 2, 1, 3, 0]])
    start = np.repeat(h, 3, axis=0)
    got = last_states(_step, padded, start)
    same_shape = np.shape(got) == (3, 2)
    rows = got if same_shape else np.full((3, 2), np.nan)
    fits = [_close(row, alone[0]) for row in rows]
    stirred = start
    for t in range(5):
        stirred = _step(padded[:, t], stirred)
    cases.mistake(
        _close(rows, stirred),
        "Padding is fed to the cell like an event: it stirs the state, before the session or "
        "behind it.",
    )
    wiped = _close(rows[0], np.zeros(2)) and not fits[1]
    cases.mistake(
        wiped,
        "Padding sets the state to zero: padded on the right, the whole session is forgotten.",
    )
    cases.mistake(
        fits[0] and not fits[1] and not fits[2],
        "Right padding works, left padding does not: you stop at the first padding, or take "
        "the state by counting events from the left.",
    )
    together = start
    for t in range(5):
        together = _step(padded[:, t], together) if padded[:, t].all() else together
    cases.mistake(
        _close(rows, together),
        "One padded sequence keeps the whole batch from its step: each sequence has its own "
        "padding.",
    )
    if cases.equal("one state a sequence", np.shape(got), (3, 2)):
        for name, row in zip(("on the right", "on the left", "on both sides"), rows, strict=True):
            cases.equal(
                f"padded {name}: the state of the session alone",
                row,
                alone[0],
                tolerance=1e-6,
            )
    without = last_states(_step, np.array([[2, 1, 3]]), h)
    cases.equal("without padding nothing changes", without, alone, tolerance=1e-6)
    empty = last_states(_step, np.array([[0, 0]]), h)
    cases.equal("nothing but padding leaves the state as it was", empty, h, tolerance=1e-6)


@exercise(
    "06.6",
    title="Close the gap",
    objects=("network", "score"),
    hints=(
        "`event_rnn(vocabulary, outcomes, cell=...)` builds each of the three networks.",
        "With few sessions an epoch has few steps: more epochs, or larger ones. The lesson's "
        "`learning_rate` is larger than what `fit` takes by itself.",
        'Lesson 06, section "Side by side" trains them; which part scores them there?',
    ),
    seconds=120,
)
def close_the_gap(answer: Answer, cases: Cases) -> None:
    """The network is scored anew on the test rows, between the chain and the best possible."""
    data = answer.given("data")
    inputs = data["test"].inputs
    few = inputs[np.flatnonzero((inputs > 0).sum(axis=1) >= 2)[:8]]
    logits = network_logits(
        answer,
        cases,
        few,
        len(data["test"].outcomes),
        "ask its recurrent layer for the state after every event.",
    )
    if logits is None:
        return
    last = (few > 0).sum(axis=1, keepdims=True) - 1
    place = np.arange(few.shape[1])
    other = np.where(place == last, 1 + few % 2, few)
    predict = answer.value("network").predict_on_batch
    moved = np.abs(np.asarray(answer.run("network", predict, other)) - logits)
    cases.mistake(
        moved[place < last].max() > 1e-4,
        "An earlier forecast changes when the last event does: this network reads the future of "
        "the session, so its score is not a forecast's.",
    )

    def floor(frequencies: float, markov: float) -> float:
        if answer.given("dataset") != "shopworld":
            return markov + LOSS_ELSEWHERE * (frequencies - markov)
        return markov - GAP_ON_SHOPWORLD * (markov - _best_loss(answer))

    advice = "a cell with gates, more epochs, or a larger learning rate?"
    reaches(answer, cases, floor, advice)


def _best_loss(answer: Answer) -> float:
    from course_lib.datasets import shopworld
    from course_lib.metrics import log_loss

    log, labels, test = answer.given("log"), answer.given("labels"), answer.given("rows")["test"]
    world = shopworld.simulate(answer.given("profile"), answer.given("seed")).world
    odds = shopworld.oracle(log, world, given="events")
    return log_loss(odds[test][list(labels.cat.categories)], labels[test])
