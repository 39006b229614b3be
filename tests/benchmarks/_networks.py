"""The networks of lessons 05 to 08 with the settings that the benchmarks train them with.

One recipe for all logs, found on the validation part of ShopWorld (quick, seed 1): gates and
attention like a high learning rate that falls to 0, SimpleRNN does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from course_lib.backend import keras
from course_lib.models.cnn import event_cnn, item_cnn
from course_lib.models.rnn import event_rnn, item_rnn
from course_lib.models.transformer import event_transformer, item_transformer
from course_lib.sequences import (
    Catalogue,
    Fields,
    ItemSequences,
    Sequences,
    Vocabulary,
    event_sequences,
    field_sequences,
    item_sequences,
)
from course_lib.sequences.fields import served
from course_lib.splits import Split
from course_lib.training import Training, fit, fit_items

PARTS = ("train", "validation", "test")
WHOLE_EVENTS = ("event", "price", "gap")
"""What a network of purchase intent reads, as far as the log has it: the classical models that
stand beside it know prices and times, too."""
UNCUT = 512
"""Events in a sequence that cuts hardly any session short."""
SMALL = 5_000
"""Below so many training sequences of items, steps of 128 are too few to learn from."""


@dataclass(frozen=True)
class Recipe:
    """How a network is built and trained.

    Attributes:
        build: Takes a vocabulary and outcomes, or a catalogue, and a seed.
        training: Settings of `fit` or `fit_items`.
        length: Events, or items, in a training sequence.
    """

    build: Callable[..., keras.Model]
    training: dict[str, object] = field(default_factory=dict)
    length: int = 128


EVENTS = {
    "SimpleRNN": Recipe(event_rnn, {"epochs": 8}, length=48),
    "LSTM": Recipe(partial(event_rnn, cell="lstm"), {"epochs": 10, "learning_rate": 1e-2}),
    "GRU": Recipe(partial(event_rnn, cell="gru"), {"epochs": 10, "learning_rate": 1e-2}),
    "convolutions": Recipe(event_cnn, {"epochs": 8, "learning_rate": 3e-3}),
    "Transformer": Recipe(event_transformer, {"epochs": 10, "learning_rate": 2e-3}),
}
INTENT = {
    "SimpleRNN": Recipe(partial(event_rnn, dropout=0.3), {"epochs": 10}),
    "LSTM": Recipe(partial(event_rnn, cell="lstm", dropout=0.3), {"epochs": 10}),
    "GRU": Recipe(partial(event_rnn, cell="gru", dropout=0.3), {"epochs": 10}),
    "convolutions": Recipe(
        partial(event_cnn, dropout=0.3, width=32), {"epochs": 10, "learning_rate": 2e-3}
    ),
    "Transformer": Recipe(
        partial(event_transformer, dropout=0.3), {"epochs": 10, "learning_rate": 1e-3}
    ),
}
ITEMS = {
    "GRU": Recipe(partial(item_rnn, cell="gru", dropout=0.3), {"learning_rate": 3e-3}, 50),
    "LSTM": Recipe(partial(item_rnn, cell="lstm", dropout=0.3), {"learning_rate": 3e-3}, 50),
    "convolutions": Recipe(partial(item_cnn, dropout=0.3), {"learning_rate": 2e-3}, 50),
    "Transformer": Recipe(partial(item_transformer, dropout=0.3), {"learning_rate": 1e-3}, 50),
}


def event_parts(
    log: pd.DataFrame,
    split: Split,
    labels: pd.Series,
    length: int,
    rows: np.ndarray | None = None,
    whole: bool = False,
) -> tuple[Vocabulary | Fields, dict[str, Sequences]]:
    """Sequences of the three parts, at most among the given rows; uncut in the test part.

    They are made of kinds of events, or, if `whole`, of the fields in `WHOLE_EVENTS`.
    """
    rows = np.ones(len(log), bool) if rows is None else rows
    train = split.rows(log, "train")
    if whole:
        names = [name for name in WHOLE_EVENTS if name in served(log)]
        vocabulary, made = Fields.fit(log, train, names), field_sequences
    else:
        events = log[log.attrs.get("event_column", "event")]
        vocabulary, made = Vocabulary.fit(events, rows=train), event_sequences
    parts = {
        part: made(
            log,
            vocabulary,
            labels,
            rows=split.rows(log, part) & rows,
            length=UNCUT if part == "test" else length,
        )
        for part in PARTS
    }
    return vocabulary, parts


def fit_events(
    name: str,
    vocabulary: Vocabulary | Fields,
    parts: dict[str, Sequences],
    seed: int,
    recipes: dict[str, Recipe] = EVENTS,
    **changes: object,
) -> tuple[keras.Model, Training]:
    """Train the network of that name among the recipes; `changes` go to `fit`."""
    recipe = recipes[name]
    model = recipe.build(vocabulary, parts["train"].outcomes, seed=seed)
    settings = {"by_length": name != "SimpleRNN", "seed": seed, "progress": False}
    settings |= recipe.training | changes
    return model, fit(model, parts["train"], parts["validation"], **settings)


def item_parts(
    log: pd.DataFrame, catalogue: Catalogue, rows: dict[str, np.ndarray], length: int
) -> dict[str, ItemSequences]:
    """Sequences of the three parts."""
    return {
        part: item_sequences(log, catalogue, rows=mask, length=length)
        for part, mask in rows.items()
    }


def fit_network_of_items(
    name: str,
    catalogue: Catalogue,
    parts: dict[str, ItemSequences],
    seed: int,
    **changes: object,
) -> tuple[keras.Model, Training]:
    """Train the item network of that name; `changes` go to `fit_items`."""
    recipe = ITEMS[name]
    model = recipe.build(catalogue, seed=seed)
    settings = {"seed": seed, "progress": False, "score": "mrr@20"} | recipe.training
    if len(parts["train"]) < SMALL:
        settings |= {"batch_size": 32, "epochs": 25, "patience": 8}
    settings |= changes
    return model, fit_items(model, parts["train"], parts["validation"], **settings)
