"""Recurrent networks over a session's events (lesson 05)."""

from __future__ import annotations

from course_lib.backend import keras
from course_lib.sequences import Vocabulary
from course_lib.training import set_seed


def event_rnn(
    vocabulary: Vocabulary,
    outcomes: tuple,
    *,
    width: int = 64,
    embedding: int = 16,
    seed: int = 1,
) -> keras.Model:
    """Build the SimpleRNN of lesson 05 (Elman, "Finding structure in time", 1990).

    At each position the network has read the events up to and including this one, and puts
    out one logit an outcome: ``h = tanh(E[code] W + h_before U + b)``, logits ``h V + c``.

    Args:
        vocabulary: Codes of the events; code 0 is padding and masked.
        outcomes: What may follow.
        width: Numbers in the hidden state ``h``.
        embedding: Numbers that stand for one event.
        seed: Of the initial weights.

    Returns:
        Model from int codes ``[batch, length]`` to logits ``[batch, length, outcomes]``.
    """
    set_seed(seed)
    codes = keras.Input((None,), dtype="int32", name="codes")
    # Keras's default would start the table 50 times smaller, and the network nearly blind.
    table = keras.initializers.RandomNormal(stddev=1.0)
    hidden = keras.layers.Embedding(
        vocabulary.size, embedding, mask_zero=True, embeddings_initializer=table
    )(codes)
    hidden = keras.layers.SimpleRNN(width, return_sequences=True)(hidden)
    logits = keras.layers.Dense(len(outcomes), name="logits")(hidden)
    return keras.Model(codes, logits, name="event_rnn")
