"""Train three networks for three steps each on the backend of KERAS_BACKEND and print the losses.

`test_training_items` runs this once on each backend: initial weights and data are NumPy's, and
nothing is drawn by the backend, so the losses must agree.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from both_backends import report

from course_lib.backend import keras
from course_lib.models.cnn import event_cnn
from course_lib.models.rnn import item_rnn
from course_lib.models.transformer import item_transformer
from course_lib.sequences import (
    Batches,
    Catalogue,
    Vocabulary,
    event_sequences,
    item_sequences,
)
from course_lib.sessions import assign_sessions, next_event
from course_lib.training import fit, fit_items


def small_log(sessions: int = 60, items: int = 30, seed: int = 0) -> pd.DataFrame:
    """Sessions of 1 to 9 visits in which item i is mostly followed by item i + 1."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, sessions)
    session = np.repeat(np.arange(sessions), sizes)
    first = np.repeat(rng.integers(0, items, sessions), sizes)
    place = np.arange(len(session)) - np.repeat(sizes.cumsum() - sizes, sizes)
    codes = np.where(rng.random(len(session)) < 0.9, first + place, first) % items
    log = pd.DataFrame(
        {
            "user_id": pd.Categorical(session.astype(str)),
            "session_id": session,
            "timestamp": pd.Timestamp("2026-01-01", tz="UTC")
            + pd.to_timedelta(np.arange(len(session)), unit="s"),
            "event": pd.Categorical(np.where(codes % 3 == 0, "cart", "view")),
            "item_id": pd.Categorical.from_codes(codes, [f"item {i}" for i in range(items)]),
        }
    )
    return assign_sessions(log, source="shop")


def set_weights(model: keras.Model, seed: int = 0) -> None:
    """Give a model weights that no backend had a part in."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.2, w.shape).astype(w.dtype) for w in model.weights])


def losses() -> dict[str, list[float]]:
    """Training loss and validation score of one short epoch of each network."""
    log = small_log()
    train = (log["session_id"] < 40).to_numpy()
    catalogue, vocabulary = Catalogue.fit(log, train), Vocabulary.fit(log["event"])
    items = [item_sequences(log, catalogue, rows=rows, length=8) for rows in (train, ~train)]
    labels = next_event(log)
    events = [
        event_sequences(log, vocabulary, labels, rows=rows, length=8) for rows in (train, ~train)
    ]
    outcomes = events[0].outcomes
    batch = -(-int(items[0].mask.any(axis=1).sum()) // 3)
    assert len(Batches(items[0], batch, shapes=1)) == 3
    networks = {
        "gru": item_rnn(catalogue, cell="gru", width=8, dropout=0, bias=True),
        "transformer": item_transformer(catalogue, width=8, blocks=1, dropout=0),
        "event cnn": event_cnn(vocabulary, outcomes, width=8, dilations=(1, 2)),
    }
    found = {}
    for name, model in networks.items():
        set_weights(model)
        common = {"epochs": 1, "batch_size": batch, "learning_rate": 0.01, "progress": False}
        if name.startswith("event"):
            training = fit(model, *events, by_length=True, **common)
        else:
            training = fit_items(
                model,
                *items,
                loss="sampled" if name == "transformer" else "full",
                negatives=10,
                score="log-loss",
                shapes=1,
                **common,
            )
        found[name] = training.history.loc[1].tolist()
    return found


if __name__ == "__main__":
    report(losses())
