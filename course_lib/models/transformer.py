"""Causal Transformers over a session's events or items (lesson 08)."""

from __future__ import annotations

from course_lib.backend import keras
from course_lib.errors import CourseError
from course_lib.models.items import Real, event_network, item_network, read_events, read_items
from course_lib.sequences import PADDING, Catalogue, Fields, Vocabulary

ops = keras.ops


@keras.saving.register_keras_serializable(package="course_lib")
class Positions(keras.layers.Layer):
    """A vector for "the first real position", "the second" and so on, for codes [batch, length].

    Padding does not count, so a sequence reads the same with padding on either side.

    Args:
        length: Positions that have a vector of their own; later ones share the last.
        width: Numbers in a vector.
        stddev: Of the initial vectors.
    """

    def __init__(self, length: int, width: int, stddev: float = 0.02, **kwargs: object):
        super().__init__(**kwargs)
        self.length, self.width, self.stddev = length, width, stddev
        self.table = self.add_weight(
            shape=(length, width),
            initializer=keras.initializers.RandomNormal(stddev=stddev),
            name="table",
        )

    def call(self, codes: object) -> object:
        """Return [batch, length, width]."""
        number = ops.cumsum(ops.cast(ops.not_equal(codes, PADDING), "int32"), axis=1) - 1
        # As in `ItemTable`: the product adds up the gradients of a position read in many rows.
        table = ops.cast(self.table, self.compute_dtype) * 1.0
        return ops.take(table, ops.clip(number, 0, self.length - 1), axis=0)

    def get_config(self) -> dict:
        """Return what `__init__` takes."""
        own = {"length": self.length, "width": self.width, "stddev": self.stddev}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="course_lib")
class CausalBlock(keras.layers.Layer):
    """Attention to earlier real positions, then a small network at each position.

        x = x + attention(norm(x)),   x = x + relu(norm(x) A + a) B + b

    (Vaswani and others, 2017; norms first, after Xiong and others, 2020.) Position t may look
    at position s if s <= t and s is real: the two masks are joined here and given to Keras's
    `MultiHeadAttention`, which looks where the mask is True.

    Args:
        width: Numbers at a position, in and out.
        heads: Attention heads; each one has width / heads numbers.
        inner: Numbers in the middle of the small network.
        dropout: Share of the attention weights, and of what is added, set to zero in training.
    """

    def __init__(
        self, width: int, heads: int = 1, inner: int = 64, dropout: float = 0.1, **kwargs: object
    ):
        super().__init__(**kwargs)
        if width % heads:
            raise CourseError(f"A width of {width} cannot be shared by {heads} attention heads.")
        self.width, self.heads, self.inner, self.rate = width, heads, inner, dropout
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads, dropout=dropout)
        self.norm_inner = keras.layers.LayerNormalization(epsilon=1e-6)
        self.wide = keras.layers.Dense(inner, activation="relu")
        self.narrow = keras.layers.Dense(width)
        self.dropout = keras.layers.Dropout(dropout)
        self.dropout_inner = keras.layers.Dropout(dropout)

    def build(self, x_shape: tuple, real_shape: tuple | None = None) -> None:
        """Make the weights for inputs [batch, length, width]."""
        self.norm.build(x_shape)
        self.attention.build(x_shape, x_shape)
        self.norm_inner.build(x_shape)
        self.wide.build(x_shape)
        self.narrow.build((*x_shape[:-1], self.inner))
        self.built = True

    def call(
        self,
        x: object,
        real: object,
        training: bool | None = None,
        return_weights: bool = False,
    ) -> object:
        """Map [batch, length, width] to the same shape; `real` is bool [batch, length].

        With `return_weights` it also returns the attention weights, [batch, heads, t, s].
        """
        position = ops.arange(ops.shape(x)[1])
        may_look = real[:, None, :] & (position[None, :] <= position[:, None])[None]
        seen = self.norm(x)
        attended = self.attention(
            seen,
            seen,
            attention_mask=may_look,
            training=training,
            return_attention_scores=return_weights,
        )
        attended, weights = attended if return_weights else (attended, None)
        x = x + self.dropout(attended, training=training)
        inner = self.narrow(self.wide(self.norm_inner(x)))
        x = x + self.dropout_inner(inner, training=training)
        return (x, weights) if return_weights else x

    def get_config(self) -> dict:
        """Return what `__init__` takes."""
        own = {
            "width": self.width,
            "heads": self.heads,
            "inner": self.inner,
            "dropout": self.rate,
        }
        return {**super().get_config(), **own}


def event_transformer(
    vocabulary: Vocabulary | Fields,
    outcomes: tuple,
    *,
    width: int = 64,
    blocks: int = 2,
    heads: int = 2,
    inner: int = 128,
    dropout: float = 0.1,
    length: int = 512,
    seed: int = 1,
) -> keras.Model:
    """Build a causal Transformer over events.

    Args:
        vocabulary: Codes of the events; code 0 is padding. With `Fields` the network reads whole
            events, `field_sequences`.
        outcomes: What may follow.
        width: Numbers at a position.
        blocks: `CausalBlock` layers.
        heads: Attention heads of each.
        inner: Numbers in the middle of each block's small network.
        dropout: In the blocks and of what enters them.
        length: Positions that have a vector of their own.
        seed: Of the initial weights.

    Returns:
        Model from int codes ``[batch, length]``, of fields ``[batch, length, fields]``, to
        logits ``[batch, length, outcomes]``.
    """
    codes, kinds, x = read_events(vocabulary, width, seed)
    x = x + Positions(length, width, stddev=0.1, name="positions")(kinds)
    x = _attend(kinds, x, width, blocks, heads, inner, dropout)
    return event_network(codes, x, outcomes, "event_transformer")


def item_transformer(
    catalogue: Catalogue,
    *,
    width: int = 64,
    blocks: int = 2,
    heads: int = 1,
    inner: int | None = None,
    dropout: float = 0.1,
    length: int = 50,
    bias: bool = False,
    seed: int = 1,
) -> keras.Model:
    """Build a causal Transformer over items with tied tables (SASRec: Kang and McAuley, 2018).

    Args:
        catalogue: The items.
        width: Numbers in an item's vector and at a position.
        blocks: `CausalBlock` layers.
        heads: Attention heads of each.
        inner: Numbers in the middle of each block's small network; None: `width`, as SASRec.
        dropout: In the blocks and of what enters them.
        length: Positions that have a vector of their own.
        bias: Give each item a number that is added to its scores.
        seed: Of the initial weights.

    Returns:
        Model from int codes ``[batch, length]`` to hidden states ``[batch, length, width]``.
    """
    codes, x = read_items(catalogue, width, bias, seed)
    # As large as the items' vectors, which are scaled by the root of their width.
    spread = 0.02 * width**0.5
    x = x + Positions(length, width, stddev=spread, name="positions")(codes)
    x = _attend(codes, x, width, blocks, heads, inner or width, dropout)
    return item_network(codes, x, width, 0.0, "item_transformer")


def _attend(
    codes: object, x: object, width: int, blocks: int, heads: int, inner: int, dropout: float
) -> object:
    real = Real(name="real")(codes)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout_in")(x)
    for number in range(1, blocks + 1):
        x = CausalBlock(width, heads, inner, dropout, name=f"block_{number}")(x, real)
    return keras.layers.LayerNormalization(epsilon=1e-6, name="last_norm")(x)
