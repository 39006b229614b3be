"""Causal dilated convolutions over a session's events or items (lesson 07)."""

from __future__ import annotations

from collections.abc import Sequence

from course_lib.backend import keras
from course_lib.models.items import Real, event_network, item_network, read_events, read_items
from course_lib.sequences import Catalogue, Fields, Vocabulary

ops = keras.ops

DILATIONS = (1, 2, 4, 8, 16)
"""Steps between the positions that a kernel looks at, layer by layer."""


def receptive_field(kernel: int = 3, dilations: Sequence[int] = DILATIONS) -> int:
    """Positions that an output can see, itself included: 1 + (kernel - 1) * sum of dilations."""
    return 1 + (kernel - 1) * sum(dilations)


@keras.saving.register_keras_serializable(package="course_lib")
class GatedConvolution(keras.layers.Layer):
    """One causal, dilated, gated layer with a shortcut (WaveNet: van den Oord and others, 2016).

        z = tanh(F * x) sigmoid(G * x),   out = x + z W + b

    where ``*`` looks at this position and at `kernel` - 1 earlier ones, `dilation` apart.
    Padding is set to zero first, so it reads like the nothing before a session.

    Args:
        width: Numbers at a position, in and out.
        kernel: Positions looked at.
        dilation: Steps between them.
        dropout: Share of ``z`` set to zero in training.
    """

    gains_from_xla = False  # on a CPU its dilated convolutions are half as fast as TensorFlow's

    def __init__(
        self,
        width: int,
        kernel: int = 3,
        dilation: int = 1,
        dropout: float = 0.0,
        **kwargs: object,
    ):
        super().__init__(**kwargs)
        self.width, self.kernel, self.dilation, self.rate = width, kernel, dilation, dropout
        self.look = keras.layers.Conv1D(
            2 * width, kernel, padding="causal", dilation_rate=dilation, name="look"
        )
        self.mix = keras.layers.Dense(width, name="mix")
        self.dropout = keras.layers.Dropout(dropout)

    def build(self, x_shape: tuple, real_shape: tuple | None = None) -> None:
        """Make the weights for inputs [batch, length, width]."""
        self.look.build(x_shape)
        self.mix.build((*x_shape[:-1], self.width))
        self.built = True

    def call(self, x: object, real: object, training: bool | None = None) -> object:
        """Map [batch, length, width] to the same shape; `real` is bool [batch, length]."""
        looked = self.look(x * ops.cast(real, x.dtype)[..., None])
        what, gate = ops.split(looked, 2, axis=-1)
        z = ops.tanh(what) * ops.sigmoid(gate)
        return x + self.mix(self.dropout(z, training=training))

    def get_config(self) -> dict:
        """Return what `__init__` takes."""
        own = {
            "width": self.width,
            "kernel": self.kernel,
            "dilation": self.dilation,
            "dropout": self.rate,
        }
        return {**super().get_config(), **own}


def event_cnn(
    vocabulary: Vocabulary | Fields,
    outcomes: tuple,
    *,
    width: int = 64,
    kernel: int = 3,
    dilations: Sequence[int] = DILATIONS,
    dropout: float = 0.0,
    seed: int = 1,
) -> keras.Model:
    """Build a stack of gated convolutions over events.

    Args:
        vocabulary: Codes of the events; code 0 is padding. With `Fields` the network reads whole
            events, `field_sequences`.
        outcomes: What may follow.
        width: Numbers at a position.
        kernel: Positions that each layer looks at.
        dilations: Steps between them, one number a layer; `receptive_field` says how far back
            the network sees.
        dropout: In each layer.
        seed: Of the initial weights.

    Returns:
        Model from int codes ``[batch, length]``, of fields ``[batch, length, fields]``, to
        logits ``[batch, length, outcomes]``.
    """
    codes, kinds, x = read_events(vocabulary, width, seed)
    x = _convolve(kinds, x, width, kernel, dilations, dropout)
    return event_network(codes, x, outcomes, "event_cnn")


def item_cnn(
    catalogue: Catalogue,
    *,
    width: int = 64,
    kernel: int = 3,
    dilations: Sequence[int] = (1, 2, 4, 8),
    dropout: float = 0.1,
    bias: bool = False,
    seed: int = 1,
) -> keras.Model:
    """Build a stack of gated convolutions over items, tied tables (NextItNet: Yuan, 2019).

    Args:
        catalogue: The items.
        width: Numbers in an item's vector and at a position.
        kernel: Positions that each layer looks at.
        dilations: Steps between them, one number a layer.
        dropout: In each layer, and of the items' vectors.
        bias: Give each item a number that is added to its scores.
        seed: Of the initial weights.

    Returns:
        Model from int codes ``[batch, length]`` to hidden states ``[batch, length, width]``.
    """
    codes, x = read_items(catalogue, width, bias, seed)
    if dropout:
        x = keras.layers.Dropout(dropout, name="dropout_in")(x)
    x = _convolve(codes, x, width, kernel, dilations, dropout)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="last_norm")(x)
    return item_network(codes, x, width, 0.0, "item_cnn")


def _convolve(
    codes: object,
    x: object,
    width: int,
    kernel: int,
    dilations: Sequence[int],
    dropout: float,
) -> object:
    real = Real(name="real")(codes)
    for number, dilation in enumerate(dilations, start=1):
        x = GatedConvolution(width, kernel, dilation, dropout, name=f"look_{number}")(x, real)
    return x
