"""Checks of lesson 07's exercises: fields, causal convolutions, leaks, no peeking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_lib.checks.core import Answer, Cases, exercise
from course_lib.checks.heldout import beyond_markov, network_logits, reaches

GAIN_ON_SHOPWORLD = 0.50
"""Beyond the Markov chain, as a share of what it gains over event frequencies."""
GAIN_ELSEWHERE = -0.40
SEEN_AT_LEAST = 16
"""Events that the network of the last exercise must see, the latest ones."""
SESSIONS_CHANGED = 4
"""Random sessions in which one event after the other is changed."""


def _close(got: np.ndarray, wanted: np.ndarray, tolerance: float = 1e-6) -> bool:
    return np.shape(got) == np.shape(wanted) and bool(np.allclose(got, wanted, atol=tolerance))


# --- 07.1 ------------------------------------------------------------------------------------


def _powers(kernel: int, events: int, seen: Callable[[int, list], int], factor: int = 0) -> list:
    """Dilations until `seen(kernel, dilations)` reaches `events`; `factor` 0: the kernel."""
    dilations: list[int] = []
    while seen(kernel, dilations) < events:
        dilations.append((factor or kernel) ** len(dilations))
    return dilations


def _field(kernel: int, dilations: list) -> int:
    return 1 + (kernel - 1) * sum(dilations)


@exercise(
    "07.1",
    title="Choose the dilations",
    objects=("dilations_for",),
    hints=(
        "Begin with no layer, and add one as long as too little is seen.",
        "A layer of kernel 3 and dilation 1 adds two events to the one that is seen anyway.",
        'Lesson 07, section "Seeing farther" has the formula and draws two examples.',
    ),
)
def choose_the_dilations(answer: Answer, cases: Cases) -> None:
    """Several kernels, on both sides of where another layer is needed."""
    dilations_for = answer.function("dilations_for", returns=(list, tuple, np.ndarray))
    asked = [(3, 9), (3, 10), (2, 8), (4, 64), (4, 65), (5, 20), (2, 2), (5, 125)]
    got = {pair: [int(value) for value in np.ravel(dilations_for(*pair))] for pair in asked}

    def answered(seen: Callable[[int, list], int], factor: int = 0) -> bool:
        return all(got[pair] == _powers(*pair, seen, factor) for pair in asked)

    cases.mistake(
        answered(lambda kernel, dilations: (kernel - 1) * sum(dilations)),
        "Where the field is exactly `events`, there is a layer too many. Either the event at the "
        "position itself is forgotten (an output sees it without any layer, so the field is 1 + "
        "(kernel - 1) times the sum), or the loop goes on at `<=` where `<` would do.",
    )
    cases.mistake(
        answered(lambda kernel, dilations: kernel * sum(dilations)),
        "A layer is taken to add `kernel` times its dilation, but one of its events was in sight "
        "already: it adds kernel - 1 times the dilation, and your network sees too little.",
    )
    cases.mistake(
        answered(_field, factor=2),
        "The dilations double whatever the kernel is: with a kernel above 2 that takes more layers "
        "than are needed.",
    )
    cases.mistake(
        all(got[pair] == [1] * len(got[pair]) for pair in asked),
        "All dilations are 1: without growing dilations each layer adds only kernel - 1 events.",
    )
    exact = all(got[pair] == _powers(*pair, _field) for pair in asked[:-1])
    cases.mistake(
        exact and len(got[5, 125]) == 4,
        "For a kernel of 5 and 125 events there is a layer too many: a logarithm in floating point "
        "is a little more than 3 there, and rounded up it is 4. Count in whole numbers.",
    )
    for pair in asked:
        what = f"kernel {pair[0]}, {pair[1]} events"
        cases.equal(what, got[pair], _powers(*pair, _field))
    alone = np.ravel(dilations_for(3, 1))
    cases("one event needs no layer", len(alone) == 0, f"{len(alone)} layers were chosen.")


# --- 07.2 ------------------------------------------------------------------------------------


def _causal(x: np.ndarray, F: np.ndarray, b: np.ndarray, dilation: int) -> np.ndarray:
    y = np.tile(b, (len(x), 1))
    for t in range(len(x)):
        for j in range(len(F)):
            if t - j * dilation >= 0:
                y[t] += x[t - j * dilation] @ F[-1 - j]
    return y


def _wrong_convolutions(
    x: np.ndarray, F: np.ndarray, b: np.ndarray, dilation: int
) -> dict[str, np.ndarray]:
    """What the usual mistakes give, by name."""
    steps = range(len(F))
    half = dilation * (len(F) // 2)
    ahead = np.vstack([x, np.zeros((half, x.shape[1]))])
    return {
        "reversed": _causal(x, F[::-1], b, dilation),
        "future": _causal(x[::-1], F, b, dilation)[::-1],
        "centred": _causal(ahead, F, b, dilation)[half:],
        "no dilation": _causal(x, F, b, 1),
        "no bias": _causal(x, F, np.zeros_like(b), dilation),
        "wrapped": b + sum(np.roll(x, j * dilation, axis=0) @ F[-1 - j] for j in steps),
    }


def _raises(function: Callable[..., object], *arguments: np.ndarray | int) -> bool:
    """Whether NumPy refuses the shapes that the function makes of the arguments."""
    try:
        function(*(np.copy(value) if np.ndim(value) else value for value in arguments))
    except (ValueError, IndexError):
        return True
    return False


@exercise(
    "07.2",
    title="A causal convolution",
    objects=("causal",),
    hints=(
        "Write the output at one position first: which events does it take, and which matrix "
        "belongs to each?",
        "`x[: len(x) - back]` are the events that stand `back` steps before the positions "
        "`back`, `back` + 1, ...",
        'Lesson 07, section "A window that slides" has the formula and which matrix is which.',
    ),
)
def a_causal_convolution(answer: Answer, cases: Cases) -> None:
    """Random numbers against the formula, and against its usual misreadings."""
    causal, unguarded = answer.function("causal", returns=np.ndarray), answer.value("causal")
    random = np.random.default_rng(72)
    x, F, b = random.normal(size=(9, 4)), random.normal(size=(3, 4, 5)), random.normal(size=5)
    got = causal(x, F, b, 2)
    wrong = _wrong_convolutions(x, F, b, 2)
    sentences = {
        "reversed": "The kernel is the wrong way round: `F[-1]` belongs to the event at the "
        "position itself and `F[0]` to the oldest one.",
        "future": "This convolution looks forward: the output at a position uses the events after "
        "it, which are what is to be forecast.",
        "centred": 'The window is centred on the position, as with padding="same": it takes one '
        "event from the future.",
        "no dilation": "The dilation is ignored: neighbours are taken, whatever it is.",
        "no bias": "The bias `b` is forgotten.",
        "wrapped": "The session is bent into a ring: before its first event stand its last ones "
        "(`np.roll` does that). There should be zeros.",
    }
    for name, sentence in sentences.items():
        cases.mistake(_close(got, wrong[name]), sentence)
    cases.mistake(
        np.shape(got) == (5, 5),
        "The first positions are missing: there, too, an output is asked for, with zeros for what "
        "lies before the session.",
    )
    if cases.equal("one row of numbers a position", np.shape(got), (9, 5)):
        cases("the outputs equal the formula's", _close(got, _causal(x, F, b, 2)))
    one = [np.array(value, dtype=float) for value in ([[1], [2], [3]], [[[10]], [[1]]], [0])]
    cases.equal("the example of the task", np.ravel(causal(*one, 1)), [1, 12, 23], tolerance=1e-9)
    for n in (2, 3, 5, 7):
        cases.mistake(
            _raises(unguarded, x[:n], F, b, 4),
            "A session shorter than the window stops it: where the window reaches back farther "
            "than the session is long, `len(x) - back` is below 0, and a slice counts that from "
            "the end. Such an event does not exist and adds nothing.",
        )
        what = f"a session of {n} events, shorter than the window, is no problem"
        if not cases.failed:
            cases(what, _close(causal(x[:n], F, b, 4), _causal(x[:n], F, b, 4)))


# --- 07.3 and 07.6: what moves ---------------------------------------------------------------


def _what_moves(predict: Callable[[np.ndarray], np.ndarray], codes: int, length: int) -> np.ndarray:
    """Bool [changed event, output position]: does an output there notice the change?

    Asked in a few random sessions: an output that notices in one of them can see the event.
    Where a network puts out fewer positions than it reads, the table has fewer columns.
    """
    random, each, moved = np.random.default_rng(7), np.arange(length), False
    for _ in range(SESSIONS_CHANGED):
        first = random.integers(1, codes, length)
        batch = np.tile(first, (length + 1, 1)).astype(np.int32)
        batch[each + 1, each] = 1 + first % (codes - 1)
        outputs = np.asarray(predict(batch), dtype=np.float64)
        moved = moved | (np.abs(outputs[1:] - outputs[0]).max(axis=-1) > 1e-5)
    return moved


def _peeks(moved: np.ndarray) -> int:
    """How many events ahead the farthest is that moves an output; 0: none."""
    event, position = np.nonzero(moved)
    return int(max(0, (event - position).max(initial=0)))


@exercise(
    "07.3",
    title="A network that knows too much",
    objects=("build",),
    hints=(
        "Change one event and look which outputs move: the lesson has a function for it.",
        "Where on its position does the window of each padding lie?",
        'Lesson 07, section "Change one event, and see what moves" shows two paddings.',
    ),
)
def a_network_that_knows_too_much(answer: Answer, cases: Cases) -> None:
    """One event is changed at a time; which outputs move?"""
    build = answer.function("build")
    network = build(8, 5)
    is_model = hasattr(network, "predict_on_batch")
    if not cases("`build` returns a Keras model", is_model, "it is something else."):
        return
    length = 20
    few = np.asarray(answer.run("network", network, np.ones((2, length), np.int32)))
    cases.mistake(
        few.ndim == 3 and few.shape[1] < length,
        "Positions are missing: a window that is only laid where it fits whole gives fewer "
        "outputs than events, and each then stands beside another event than its own.",
    )
    if not cases.equal("five numbers at each of 20 positions", few.shape, (2, length, 5)):
        return
    moved = _what_moves(lambda codes: answer.run("network", network, codes), 8, length)
    ahead = _peeks(moved)
    past = bool(np.triu(moved, 1).any())
    cases.mistake(
        ahead > 0 and not past,
        "The window now begins at its position and reaches forward: the network sees the future "
        "and nothing of the past.",
    )
    cases.mistake(
        ahead in (1, 3),
        "One of the two layers is mended, the other one still looks ahead: one leak is enough.",
    )
    cases.mistake(
        ahead > 0,
        f"The network sees the future: an output moves when an event {ahead} positions later is "
        "changed. The next event is the answer, so every score is too good.",
    )
    cases.mistake(
        not moved.diagonal().any(),
        "An output does not see the event at its own position: moved one step too far, the "
        "network forecasts without the latest event, the most telling one.",
    )
    if not cases("no output moves when a later event is changed", ahead == 0):
        return
    seen = int(moved[:, -1].sum())
    cases.mistake(
        seen == 1,
        "Each output sees its own event alone: the leak is gone, and so is all memory.",
    )
    cases.mistake(
        seen == 9 and not moved[-9:, -1].all(),
        "Nine events are seen, but with holes: of the last nine some move nothing, and older ones "
        "do. Let each dilation be the kernel times the one before.",
    )
    cases.equal("the last output sees nine events", seen, 9)
    cases("they are the last nine", moved[-9:, -1].all(), "there are holes among them.")


# --- 07.4 ------------------------------------------------------------------------------------


@exercise(
    "07.4",
    title="Always right",
    objects=("accuracy_of",),
    hints=(
        "Follow `targets` through the function: where is it last used?",
        "What stands in the column `event` when the comparison is made?",
        'Lesson 07, section "What a look into the future is worth" has another score that is too '
        "good to be true.",
    ),
)
def always_right(answer: Answer, cases: Cases) -> None:
    """Two sequences of four and two scored positions, by hand."""
    accuracy_of = answer.function("accuracy_of", returns=(float, int, np.floating))
    said = np.array([[0, 1, 2, 0], [1, 2, 1, 0]])
    odds = 0.2 + 0.4 * np.eye(3)[said]
    targets = np.array([[0, 2, 2, 1], [1, 2, 0, 0]])
    mask = np.array([[True, True, True, True], [True, False, False, False]])
    got = float(accuracy_of(odds, targets, mask))
    right = said == targets
    cases.mistake(
        abs(got - 1) < 1e-9,
        "The predictions are scored against themselves: the column with what happened is "
        "overwritten by what was forecast, and then the two agree, whatever the network says.",
    )
    cases.mistake(
        abs(got - right.mean()) < 1e-9,
        "Padding is scored as well: only positions where `mask` is True count.",
    )
    cases.mistake(
        abs(got - (right & mask).mean()) < 1e-9,
        "Positions that are not scored count as wrong: divide by the number of scored positions.",
    )
    cases.mistake(
        abs(got - np.mean([right[0].mean(), 1.0])) < 1e-9,
        "This is the mean of the sequences' accuracies: a position of a short sequence counts for "
        "more than one of a long one.",
    )
    own = np.take_along_axis(odds, targets[..., None], axis=-1)[..., 0]
    cases.mistake(
        abs(got - own[mask].mean()) < 1e-9,
        "This is the mean probability of what happened: accuracy asks only whether it was the "
        "likeliest outcome.",
    )
    cases.equal("three of five scored positions are right", got, 0.6, tolerance=1e-9)
    none = float(accuracy_of(odds, (said + 1) % 3, mask))
    cases.equal("a network that is always wrong has 0", none, 0.0, tolerance=1e-9)
    cases.equal(
        "one that is always right has 1", float(accuracy_of(odds, said, mask)), 1.0, tolerance=1e-9
    )


# --- 07.5 ------------------------------------------------------------------------------------


@exercise(
    "07.5",
    title="The network that learnt to copy",
    objects=("targets_of",),
    hints=(
        "At the first position the network has read one event. What should it be asked for?",
        "`codes[:, 1:]` are all events but the first; where do they have to stand?",
        "The last event of a session is followed by padding: is there anything to ask?",
        'Lesson 07, section "A window that slides" says what an output has seen.',
    ),
)
def the_network_that_learnt_to_copy(answer: Answer, cases: Cases) -> None:
    """Three sessions: shorter than the rectangle, as long as it, and of one event."""
    targets_of = answer.function("targets_of", returns=tuple)
    codes = np.array([[3, 1, 2, 0, 0], [2, 4, 1, 1, 3], [5, 0, 0, 0, 0]])
    returned = targets_of(codes)
    if not cases.equal("two arrays are returned", len(returned), 2):
        return
    targets, mask = (np.asarray(array) for array in returned)
    fits = cases.equal("targets for every position", targets.shape, codes.shape)
    if not (cases.equal("a mask of the same shape", mask.shape, codes.shape) and fits):
        return
    mask = mask.astype(bool)
    wanted = np.array([[1, 2, 0, 0, 0], [4, 1, 1, 3, 0], [0, 0, 0, 0, 0]])
    kept = np.where(mask, targets, 0)
    cases.mistake(
        np.array_equal(kept, codes),
        "The target stands at its own position: the network is asked for the event that it has "
        "just read, and copies it.",
    )
    before, later = np.zeros_like(codes), np.zeros_like(codes)
    before[:, 1:], later[:, :-2] = codes[:, :-1], codes[:, 2:]
    cases.mistake(
        bool(kept.any()) and np.array_equal(kept, np.where(mask, before, 0)),
        "The targets are moved the wrong way: each position is asked for the event before it, "
        "which the network has read already.",
    )
    cases.mistake(
        bool(kept.any()) and np.array_equal(kept, np.where(mask, later, 0)),
        "Two steps ahead: one event between the last one that is read and the target is skipped.",
    )
    cases.mistake(
        bool(mask[1, -1]) and int(targets[1, -1]) == 2,
        "The first event comes round again: behind the last event of a full sequence stands the "
        "session's first one (`np.roll` does that), which no shopper ever clicked next.",
    )
    cases.mistake(
        bool((mask & (wanted == 0)).any()),
        "Padding is asked for: behind the last event of a session there is nothing to forecast, "
        "but the mask is True there.",
    )
    cases.equal("the next event is asked for at each position", kept, wanted)
    cases.equal("the mask is True where there is a next event", mask, wanted > 0)
    cases.equal("targets are 0 where nothing is asked", targets * ~mask, np.zeros_like(codes))


# --- 07.6 ------------------------------------------------------------------------------------


@exercise(
    "07.6",
    title="A place on the ladder, without peeking",
    objects=("network", "score"),
    hints=(
        "`event_cnn` of `course_lib.models.cnn` builds a causal stack; its dilations decide how "
        "far it sees.",
        "`score_of(network, part)`: which part has the network never seen, not even to decide "
        "when to stop?",
        'Lesson 07, section "Two fields, one budget" shows the call of `fit`, with a learning '
        "rate that suits.",
    ),
    seconds=60,
)
def a_place_without_peeking(answer: Answer, cases: Cases) -> None:
    """What the network sees is measured, and it is scored anew beside two baselines."""
    data, vocabulary = answer.given("data"), answer.given("vocabulary")
    few = data["test"].inputs[:4]
    outcomes = len(data["test"].outcomes)
    pooled = "keep the positions apart, without pooling over them."
    if network_logits(answer, cases, few, outcomes, pooled) is None:
        return
    network, length = answer.value("network"), few.shape[1]

    def outputs(codes: np.ndarray) -> np.ndarray:
        return np.asarray(answer.run("network", network, codes))

    moved = _what_moves(outputs, vocabulary.size, length)
    ahead = _peeks(moved)
    cases.mistake(
        ahead > 0,
        f"The network peeks: an output moves when an event {ahead} positions later is changed. "
        "No score of it counts.",
    )
    if not cases("it does not see the future", ahead == 0):
        return
    at_least = min(SEEN_AT_LEAST, length)
    seen = moved[-at_least:, -1]
    reach = length - int(moved[:, -1].argmax()) if moved[:, -1].any() else 0
    cases.mistake(
        reach >= at_least and not seen.all(),
        f"The view has holes: it reaches {reach - 1} events back, but of the last {at_least} "
        f"events only {int(seen.sum())} move the last output. Let each dilation be at most the "
        "kernel times the one before.",
    )
    cases(
        f"its last output sees each of the last {at_least} events",
        seen.all(),
        f"the oldest event that moves it stands {max(reach - 1, 0)} events back.",
    )
    floor = beyond_markov(answer, GAIN_ON_SHOPWORLD, GAIN_ELSEWHERE)
    reaches(answer, cases, floor, "more epochs, more width, or a larger learning rate?")
