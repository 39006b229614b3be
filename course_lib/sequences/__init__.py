"""Sessions to padded arrays and back (derived in lesson 05).

A network reads a rectangle: one row a sequence, one column a position. Sessions have any
length, so they are *right-padded*: the real events stand first, code 0 fills the rest. Each
real position carries the row of the log that it came from; a forecast made at that position
goes back to that row, beside the baselines' and the oracle's.

`event_sequences` are made of kinds of events, `item_sequences` of the items of a `Catalogue`,
`field_sequences`, `whole_sequences` and `question_sequences` of events with all their `Fields`.
`Batches` cuts any of them into steps of like lengths, so that little padding is computed.
"""

from course_lib.sequences.batches import Batches
from course_lib.sequences.events import PADDING, Sequences, Vocabulary, event_sequences
from course_lib.sequences.fields import (
    MASK,
    UNKNOWN,
    Fields,
    FieldSequences,
    field_sequences,
    question_sequences,
    whole_sequences,
)
from course_lib.sequences.items import Catalogue, ItemSequences, item_sequences

__all__ = [
    "MASK",
    "PADDING",
    "UNKNOWN",
    "Batches",
    "Catalogue",
    "FieldSequences",
    "Fields",
    "ItemSequences",
    "Sequences",
    "Vocabulary",
    "event_sequences",
    "field_sequences",
    "item_sequences",
    "question_sequences",
    "whole_sequences",
]
