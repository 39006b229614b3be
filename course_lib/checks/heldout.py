"""What the exercises of lessons 05 to 07 share whose network has a log-loss to reach."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from course_lib.checks.core import Answer, Cases


def network_logits(
    answer: Answer, cases: Cases, inputs: np.ndarray, outcomes: int, pooled: str
) -> np.ndarray | None:
    """What the learner's `network` puts out for inputs [n, length], if it is what is asked for.

    Args:
        answer: Of an exercise that asks for `network`.
        cases: Where the findings go.
        inputs: Codes of a few sequences.
        outcomes: How many logits there are to be at every position.
        pooled: What to say of one forecast a sequence.

    Returns:
        Logits [n, length, outcomes], or None, with the reason among the cases.
    """
    predict = getattr(answer.value("network"), "predict_on_batch", None)
    if not cases("`network` is a Keras model", predict is not None, "it is something else."):
        return None
    logits = np.asarray(answer.run("network", predict, inputs))
    cases.mistake(
        logits.ndim == 2,
        f"The network gives one forecast a sequence, but one is asked after every event: {pooled}",
    )
    wanted = (*inputs.shape, outcomes)
    if not cases.equal("one number an outcome at every position", logits.shape, wanted):
        return None
    return logits


def reaches(
    answer: Answer, cases: Cases, floor_of: Callable[[float, float], float], advice: str
) -> None:
    """Score `network` anew on the test rows: is `score` that, and is it low enough?

    Args:
        answer: Of an exercise that asks for `network` and `score`, in a notebook with the
            sequences `data` and the masks `rows` of the three parts, `log`, `split`, `labels`.
        cases: Where the findings go.
        floor_of: The log-loss to reach, from those of event frequencies and of the Markov chain.
        advice: What to try next.
    """
    from course_lib.metrics import log_loss
    from course_lib.training import forecast

    network, score = answer.value("network"), answer.value("score", kind=(float, int))
    data, rows, labels = (answer.given(name) for name in ("data", "rows", "labels"))

    def loss(part: str) -> float:
        told = forecast(network, data[part], len(labels))
        return log_loss(told[rows[part]], labels[rows[part]])

    reached = loss("test")
    right = abs(score - reached) < 5e-4
    cases.mistake(
        not right and abs(score - loss("train")) < 5e-4,
        "`score` was computed on the training rows: what a network has learnt by heart says "
        "nothing about the shoppers of next week.",
    )
    cases.mistake(
        not right and abs(score - loss("validation")) < 5e-4,
        "`score` was computed on the validation rows: they decided when to stop, so the network "
        "was chosen to look good on them.",
    )
    cases("`score` is the log-loss on the test part", right, "computed anew it is another.")
    frequencies, markov = _counted(answer.given("log"), labels, answer.given("split"))
    floor = floor_of(frequencies, markov)
    cases.mistake(
        reached > frequencies,
        "This network forecasts worse than event frequencies, which look at nothing at all: was "
        "it fitted?",
    )
    cases(
        f"its log-loss on the test part is at most {floor:.3f} (the Markov chain has {markov:.3f})",
        reached <= floor,
        f"not yet: {advice}",
    )


def beyond_markov(
    answer: Answer, on_shopworld: float, elsewhere: float
) -> Callable[[float, float], float]:
    """Return a `reaches` floor below the Markov chain, by a share of what it gained itself.

    Args:
        answer: Of an exercise in a notebook with a `log`.
        on_shopworld: The share on the simulated shop.
        elsewhere: The share on another log.
    """
    share = on_shopworld if answer.given("log").attrs["dataset"] == "shopworld" else elsewhere
    return lambda frequencies, markov: markov - share * (frequencies - markov)


def _counted(log: pd.DataFrame, labels: pd.Series, split: object) -> tuple[float, float]:
    """Log-loss on the test part of event frequencies and of a Markov chain."""
    from course_lib.baselines import EventFrequencies, MarkovChain
    from course_lib.metrics import log_loss

    train, test = split.rows(log, "train"), split.rows(log, "test")
    frequencies, markov = (
        log_loss(model.fit(log, labels, rows=train).predict_proba(log)[test], labels[test])
        for model in (EventFrequencies(), MarkovChain())
    )
    return frequencies, markov
