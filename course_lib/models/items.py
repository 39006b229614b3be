"""What networks share: how they begin (tables of events and items) and how they end."""

from __future__ import annotations

import numpy as np

from course_lib.backend import keras
from course_lib.sequences import PADDING, Catalogue, Fields, Vocabulary
from course_lib.training import set_seed

ops = keras.ops


@keras.saving.register_keras_serializable(package="course_lib")
class ItemTable(keras.layers.Layer):
    """A vector an item, used twice: read for the codes, and compared with hidden states.

    On the way in the vectors are scaled by the square root of their width, so that they start
    as large as what the network adds to them, and padding reads as zeros: it has no vector
    that could be trained. On the way out (`scores`) they are taken as they are; such *tied*
    tables halve the parameters and learn from both uses (Press and Wolf, 2017).

    Args:
        items: Items of the catalogue; code c + 1 stands for item c.
        width: Numbers in a vector.
        bias: Give each item a number that is added to its scores: how popular it is anyway.
    """

    def __init__(self, items: int, width: int, bias: bool = False, **kwargs: object):
        super().__init__(**kwargs)
        self.items, self.width, self.has_bias = items, width, bias
        self.table = self.add_weight(
            shape=(items, width),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="table",
        )
        self.bias = None
        if bias:
            self.bias = self.add_weight(shape=(items,), initializer="zeros", name="bias")

    def call(self, codes: object) -> object:
        """Codes [batch, length] to vectors [batch, length, width]."""
        vectors = ops.take(self._cast(self.table), ops.maximum(codes - 1, 0), axis=0)
        real = ops.cast(ops.not_equal(codes, PADDING), vectors.dtype)
        return vectors * real[..., None] * self.width**0.5

    def scores(self, states: object, items: object = None) -> object:
        """Scores of items [m], by default all, for hidden states [n, width]: [n, m]."""
        table = self._cast(self.table)
        table = table if items is None else ops.take(table, items, axis=0)
        scores = ops.matmul(states, ops.transpose(table))
        if self.bias is None:
            return scores
        bias = self._cast(self.bias)
        return scores + (bias if items is None else ops.take(bias, items))

    def scores_of(self, states: object, items: object) -> object:
        """Score of one item [n] each for hidden states [n, width]: [n]."""
        vectors = ops.take(self._cast(self.table), items, axis=0)
        scores = ops.sum(states * vectors, axis=-1)
        return scores if self.bias is None else scores + ops.take(self._cast(self.bias), items)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the table [items, width] and the biases [items] (0 without) in NumPy."""
        table = np.asarray(ops.convert_to_numpy(self.table), np.float32)
        if self.bias is None:
            return table, np.zeros(self.items, np.float32)
        return table, np.asarray(ops.convert_to_numpy(self.bias), np.float32)

    def get_config(self) -> dict:
        """Return what `__init__` takes."""
        own = {"items": self.items, "width": self.width, "bias": self.has_bias}
        return {**super().get_config(), **own}

    def _cast(self, weight: object) -> object:
        # The product makes TensorFlow add up the gradients of an item that was read twice,
        # before they are cut to norm 1: of a bare variable it keeps them apart.
        return ops.cast(weight, self.compute_dtype) * 1.0


@keras.saving.register_keras_serializable(package="course_lib")
class EventTable(keras.layers.Embedding):
    """Keras's embedding, except that the gradients of one event are added up at once.

    With TensorFlow the plain layer keeps the gradient of each position apart, and the norm to
    which `training.fit` cuts them is then that of the pieces, not of their sum.
    """

    def call(self, inputs: object) -> object:
        """Codes [batch, length] to vectors [batch, length, width]."""
        return ops.take(ops.cast(self.embeddings, self.compute_dtype) * 1.0, inputs, axis=0)


@keras.saving.register_keras_serializable(package="course_lib")
class OneField(keras.layers.Layer):
    """Take one field of codes [batch, length, fields]: [batch, length]."""

    def __init__(self, column: int, **kwargs: object):
        super().__init__(**kwargs)
        self.column = column

    def call(self, codes: object) -> object:
        """Take it."""
        return codes[..., self.column]

    def get_config(self) -> dict:
        """Return what `__init__` takes."""
        return {**super().get_config(), "column": self.column}


@keras.saving.register_keras_serializable(package="course_lib")
class Real(keras.layers.Layer):
    """Say where codes [batch, length] are real, no padding: bool [batch, length]."""

    def call(self, codes: object) -> object:
        """Compare."""
        return ops.not_equal(codes, PADDING)


def read_events(
    vocabulary: Vocabulary | Fields, width: int, seed: int
) -> tuple[object, object, object]:
    """Begin a network of events: what goes in, kinds [batch, length], vectors [.., width].

    Of a `Vocabulary` the codes [batch, length] go in, and they are the kinds; of `Fields` codes
    [batch, length, fields], whose tables are summed, and the first field says what is padding.
    """
    set_seed(seed)
    # Keras's default would start the table 50 times smaller, and the network nearly blind.
    table = keras.initializers.RandomNormal(stddev=1.0)
    if isinstance(vocabulary, Vocabulary):
        codes = keras.Input((None,), dtype="int32", name="codes")
        events = EventTable(vocabulary.size, width, embeddings_initializer=table, name="events")
        return codes, codes, events(codes)
    codes = keras.Input((None, len(vocabulary.names)), dtype="int32", name="codes")
    columns = [OneField(number)(codes) for number in range(len(vocabulary.names))]
    vectors = [
        EventTable(vocabulary.size(name), width, embeddings_initializer=table, name=name)(column)
        for name, column in zip(vocabulary.names, columns, strict=True)
    ]
    return codes, columns[0], sum(vectors[1:], vectors[0])


def event_network(codes: object, states: object, outcomes: tuple, name: str) -> keras.Model:
    """Close a network of events: one logit an outcome at every position, in 32 bits."""
    logits = keras.layers.Dense(len(outcomes), name="logits", dtype="float32")(states)
    return keras.Model(codes, logits, name=name)


def read_items(catalogue: Catalogue, width: int, bias: bool, seed: int) -> tuple[object, object]:
    """Begin a network of items: codes [batch, length], vectors [batch, length, width]."""
    set_seed(seed)
    codes = keras.Input((None,), dtype="int32", name="codes")
    return codes, ItemTable(len(catalogue), width, bias, name="items")(codes)


def item_network(
    codes: object, states: object, width: int, dropout: float, name: str
) -> keras.Model:
    """Close a network of items: from codes to hidden states as wide as the table."""
    if states.shape[-1] != width:
        states = keras.layers.Dense(width, name="to_items")(states)
    states = keras.layers.Dropout(dropout, name="dropout_out")(states) if dropout else states
    return keras.Model(codes, states, name=name)
