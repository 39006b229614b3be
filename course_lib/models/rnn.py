"""Recurrent networks over a session's events or items (lessons 05 and 06)."""

from __future__ import annotations

from course_lib.backend import keras
from course_lib.errors import unknown_name
from course_lib.models.items import Real, event_network, item_network, read_events, read_items
from course_lib.sequences import Catalogue, Fields, Vocabulary

CELLS = {
    "simple": keras.layers.SimpleRNN,
    "lstm": keras.layers.LSTM,
    "gru": keras.layers.GRU,
}
"""Elman 1990; Hochreiter and Schmidhuber 1997; Cho and others 2014."""


def event_rnn(
    vocabulary: Vocabulary | Fields,
    outcomes: tuple,
    *,
    width: int = 64,
    embedding: int = 16,
    seed: int = 1,
    cell: str = "simple",
    dropout: float = 0.0,
) -> keras.Model:
    """Build the SimpleRNN of lesson 05 (Elman, "Finding structure in time", 1990), or another.

    At each position the network has read the events up to and including this one, and puts
    out one logit an outcome: ``h = tanh(E[code] W + h_before U + b)``, logits ``h V + c``.

    Args:
        vocabulary: Codes of the events; code 0 is padding and masked. With `Fields` the network
            reads whole events, `field_sequences`.
        outcomes: What may follow.
        width: Numbers in the hidden state ``h``.
        embedding: Numbers that stand for one event.
        seed: Of the initial weights.
        cell: One of `CELLS`; lesson 06 derives ``lstm`` and ``gru``.
        dropout: Share of the numbers set to zero in training, of the events' vectors and of the
            hidden state that the logits are made of.

    Returns:
        Model from int codes ``[batch, length]``, of fields ``[batch, length, fields]``, to
        logits ``[batch, length, outcomes]``.

    Raises:
        CourseError: If there is no such cell.
    """
    layer = _layer(cell)
    codes, kinds, vectors = read_events(vocabulary, embedding, seed)
    if dropout:
        vectors = keras.layers.Dropout(dropout, name="dropout_in")(vectors)
    hidden = layer(width, return_sequences=True)(vectors, mask=Real(name="real")(kinds))
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout_out")(hidden)
    return event_network(codes, hidden, outcomes, f"event_{cell}")


def item_rnn(
    catalogue: Catalogue,
    *,
    cell: str = "gru",
    width: int = 64,
    layers: int = 1,
    dropout: float = 0.1,
    bias: bool = False,
    seed: int = 1,
) -> keras.Model:
    """Build a recurrent network of the next item, with tied tables (Hidasi and others, 2016).

    Args:
        catalogue: The items.
        cell: One of `CELLS`.
        width: Numbers in an item's vector and in the hidden state.
        layers: Recurrent layers, one above the other.
        dropout: Share of the numbers set to zero in training, of the items' vectors and of
            the last hidden state.
        bias: Give each item a number that is added to its scores.
        seed: Of the initial weights.

    Returns:
        Model from int codes ``[batch, length]`` to hidden states ``[batch, length, width]``.
        Padding is passed over, wherever it stands.

    Raises:
        CourseError: If there is no such cell.
    """
    layer = _layer(cell)
    codes, hidden = read_items(catalogue, width, bias, seed)
    real = Real(name="real")(codes)
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout_in")(hidden)
    for _ in range(layers):
        hidden = layer(width, return_sequences=True)(hidden, mask=real)
    return item_network(codes, hidden, width, dropout, f"item_{cell}")


def _layer(cell: str) -> type[keras.layers.Layer]:
    if cell not in CELLS:
        raise unknown_name("cell", cell, CELLS)
    return CELLS[cell]
