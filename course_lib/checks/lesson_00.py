"""The check of lesson 00's exercise: the first one that a learner meets."""

from __future__ import annotations

import pandas as pd

from course_lib.checks.core import Answer, Cases, exercise


@exercise(
    "00.1",
    title="A bet on the commonest event",
    objects=("majority_accuracy",),
    hints=(
        "Two steps: first choose the bet, then see how often it is right. Which labels may each "
        "step look at?",
        "`labels.value_counts()` puts the commonest label first; its index holds the labels.",
        'Lesson 00, section "What counting already knows" says what each part is for.',
    ),
)
def bet_on_the_commonest(answer: Answer, cases: Cases) -> None:
    """Bets chosen by hand, where training and test disagree, then the lesson's own labels."""
    accuracy = answer.function("majority_accuracy", returns=(float, int))
    train = pd.Series(["view"] * 3 + ["leave"] * 2)
    test = pd.Series(["leave"] * 3 + ["view"])
    got = float(accuracy(train, test))
    cases.mistake(
        got == 0.75,
        "The bet was chosen by looking at the test labels: whoever chooses on what is scored "
        "always looks better than they are. Choose it from the training labels.",
    )
    cases.mistake(
        got == 0.6,
        "This is the score on the training labels themselves. The question is how often the bet "
        "is right on the test labels.",
    )
    cases.mistake(
        got == 1,
        "This is how many test labels are right; accuracy is their share, a number from 0 to 1.",
    )
    cases.mistake(got == 25, "This is a percentage; accuracy is a share, from 0 to 1.")
    cases.mistake(
        got == 0,
        "No bet came true. Is the bet a label? value_counts() counts: the labels are in its index, "
        "and max() of it is how often the commonest one occurs.",
    )
    cases.equal("views are commonest in training, and a quarter of the test", got, 0.25)
    never = accuracy(pd.Series(["cart", "cart", "view"]), pd.Series(["view", "leave"]))
    cases.equal("a bet that never comes true in the test scores 0", float(never), 0.0)
    labels = answer.given("labels")
    half = len(labels) // 2
    first, second = labels.iloc[:half], labels.iloc[half:]
    truth = float((second == first.mode().iloc[0]).mean())
    cases.equal("the same on the lesson's log", float(accuracy(first, second)), truth)
