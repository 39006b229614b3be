"""A bidirectional encoder over whole events, pretrained by masking some of them (lesson 09).

Made of keras-hub's parts: `TransformerEncoder`, `PositionEmbedding` and `MaskedLMHead`, whose
output layer is tied to the table that the encoder reads (Devlin and others, "BERT", 2019; Sun
and others, "BERT4Rec", CIKM 2019).
"""

from __future__ import annotations

from course_lib.backend import keras, keras_hub
from course_lib.errors import CourseError, unknown_name
from course_lib.models.items import OneField, Real
from course_lib.sequences import PADDING, Fields
from course_lib.training import set_seed

ops = keras.ops


@keras.saving.register_keras_serializable(package="course_lib")
class GatheredHead(keras.layers.Layer):
    """keras-hub's `MaskedLMHead` at positions [n] of the flattened batch: scores [n, size].

    The head itself takes as many positions of every sequence. Of a batch that is laid end to
    end it takes those that are masked, however many stand in one sequence.
    """

    def __init__(self, table: keras.layers.Layer, **kwargs: object):
        super().__init__(**kwargs)
        self.head = keras_hub.layers.MaskedLMHead(
            token_embedding=table,
            intermediate_activation="gelu",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        )

    def build(self, states_shape: tuple, positions_shape: tuple | None = None) -> None:
        """Make the weights for hidden states [batch, length, width]."""
        self.head.build((1, None, states_shape[-1]))
        self.built = True

    def call(self, states: object, positions: object) -> object:
        """Score all codes of the field."""
        flat = ops.reshape(states, (1, -1, ops.shape(states)[-1]))
        return self.head(flat, positions[None])[0]


@keras.saving.register_keras_serializable(package="course_lib")
class PlaceFromTheEnd(keras.layers.Layer):
    """How many real events stand after each, from codes [batch, length] to int32 of that shape."""

    def call(self, codes: object) -> object:
        """Count 0 for the last real event, and 0 for padding."""
        real = ops.sum(ops.cast(ops.not_equal(codes, PADDING), "int32"), axis=1, keepdims=True)
        return ops.maximum(real - 1 - ops.arange(ops.shape(codes)[1], dtype="int32"), 0)


def behaviour_encoder(
    fields: Fields,
    *,
    width: int = 64,
    blocks: int = 2,
    heads: int = 2,
    inner: int | None = None,
    dropout: float = 0.1,
    length: int = 50,
    from_the_end: bool = False,
    seed: int = 1,
) -> keras.Model:
    """Build the encoder: the tables of all fields summed, positions, blocks that look both ways.

    Args:
        fields: What the codes of an event mean.
        width: Numbers at a position.
        blocks: `TransformerEncoder` layers of keras-hub.
        heads: Attention heads of each.
        inner: Numbers in the middle of each block's small network; None: four times `width`.
        dropout: In the blocks and of what enters them.
        length: The most positions that it will read.
        from_the_end: Count positions from the last event back, so that what is asked next always
            stands at the same one; else from the first.
        seed: Of the initial weights.

    Returns:
        Model ``encoder`` from int codes ``[batch, length, fields]`` to hidden states ``[batch,
        length, width]``; its layers ``item``, ``event``, ... are the tables.

    Raises:
        CourseError: If the width cannot be shared by the heads.
    """
    if width % heads:
        raise CourseError(f"A width of {width} cannot be shared by {heads} attention heads.")
    set_seed(seed)
    small = keras.initializers.TruncatedNormal(stddev=0.02)
    codes = keras.Input((None, len(fields.names)), dtype="int32", name="codes")
    vectors = [
        keras.layers.ReversibleEmbedding(
            fields.size(name), width, embeddings_initializer=small, name=name
        )(OneField(column, name=f"{name}_codes")(codes))
        for column, name in enumerate(fields.names)
    ]
    x = vectors[0] if len(vectors) == 1 else keras.layers.Add(name="event_vector")(vectors)
    position = keras_hub.layers.PositionEmbedding(length, initializer=small, name="position")
    first = OneField(0, name="first_codes")(codes)
    places = PlaceFromTheEnd(name="from_the_end")(first) if from_the_end else None
    x = keras.layers.Add(name="with_position")([x, position(x, positions=places)])
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm_in")(x)
    x = keras.layers.Dropout(dropout, name="dropout_in")(x)
    real = Real(name="real")(first)
    for number in range(1, blocks + 1):
        x = keras_hub.layers.TransformerEncoder(
            intermediate_dim=inner or 4 * width,
            num_heads=heads,
            dropout=dropout,
            activation="gelu",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name=f"block_{number}",
        )(x, padding_mask=real)
    return keras.Model(codes, x, name="encoder")


def masked_network(encoder: keras.Model, predicted: tuple[str, ...] = ("item",)) -> keras.Model:
    """Put masked-event heads on an encoder: what was the item, the kind, ... at a position?

    Args:
        encoder: A `behaviour_encoder`.
        predicted: Fields that are told; the tables of the encoder serve as output layers.

    Returns:
        Model that shares the encoder's weights, from a dict of ``codes`` [batch, length,
        fields] and ``positions`` [n], places in the flattened batch, to a dict of scores [n,
        size of the field], one a predicted field. Its layer ``encoder`` is the encoder.

    Raises:
        CourseError: If the encoder does not read a predicted field.
    """
    names = [layer.name for layer in encoder.layers]
    for name in predicted:
        if name not in names:
            raise CourseError(f"The encoder reads no field {name!r}, so it cannot tell it.")
    codes = keras.Input(encoder.input_shape[1:], dtype="int32", name="codes")
    positions = keras.Input((), dtype="int32", name="positions")
    states = encoder(codes)
    scores = {
        name: GatheredHead(encoder.get_layer(name), name=f"{name}_head")(states, positions)
        for name in predicted
    }
    return keras.Model({"codes": codes, "positions": positions}, scores, name="masked_events")


def answer_network(encoder: keras.Model, outcomes: tuple, seed: int = 1) -> keras.Model:
    """Put an output layer on an encoder: logits of the outcomes at every position.

    They are meant to be read at the masked event that ends a question (`question_sequences`).

    Args:
        encoder: A `behaviour_encoder`, pretrained or not.
        outcomes: What may be answered.
        seed: Of the output layer's initial weights.

    Returns:
        Model that shares the encoder's weights, from codes ``[batch, length, fields]`` to logits
        ``[batch, length, outcomes]``.
    """
    codes = keras.Input(encoder.input_shape[1:], dtype="int32", name="codes")
    start = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
    logits = keras.layers.Dense(
        len(outcomes), kernel_initializer=start, dtype="float32", name="logits"
    )
    return keras.Model(codes, logits(encoder(codes)), name="answers")


def take_along(source: keras.Model, target: keras.Model, shared: tuple[str, ...]) -> list[str]:
    """Copy an encoder's weights to that of another shop: all but the tables of its own words.

    Args:
        source: The pretrained encoder.
        target: An encoder built alike for the other shop; it gets the weights.
        shared: Fields whose codes mean the same in both shops.

    Returns:
        Names of the layers that were copied.

    Raises:
        CourseError: If there is no such field, or a layer to be copied is missing or has another
            shape.
    """
    tables = {layer.name for layer in target.layers if _is_table(layer)}
    for name in shared:
        if name not in tables:
            raise unknown_name("field of the encoder", name, tables)
    own = tables - set(shared)
    copied = []
    for layer in target.layers:
        if layer.name in own or not layer.weights:
            continue
        there = [one for one in source.layers if one.name == layer.name]
        shapes = [[tuple(w.shape) for w in one.weights] for one in (layer, *there)]
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            raise CourseError(
                f"Layer {layer.name!r} is not the same in both encoders: build them alike, with "
                "fields that share their codes."
            )
        layer.set_weights(there[0].get_weights())
        copied.append(layer.name)
    return copied


def _is_table(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.ReversibleEmbedding)
