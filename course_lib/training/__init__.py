"""Fit a sequence model properly (lessons 05 to 10): seeds, masks, early stopping, one quiet line.

`fit` trains a network that puts out one number an outcome at every position (kinds of events,
purchase or none), `fit_items` one whose hidden states are compared with a table of items. Both
go through one loop (`loop`): it keeps the weights of the best epoch, survives Ctrl-C, writes
checkpoints and resumes from them, on every backend of Keras.
"""

from course_lib.training.events import XLA_PAYS_FROM_STEPS, fit, forecast
from course_lib.training.items import (
    LOSSES,
    fit_items,
    item_scores,
    rank_items,
    recommend_items,
)
from course_lib.training.loop import Training, device, set_precision, set_seed

__all__ = [
    "LOSSES",
    "XLA_PAYS_FROM_STEPS",
    "Training",
    "device",
    "fit",
    "fit_items",
    "forecast",
    "item_scores",
    "rank_items",
    "recommend_items",
    "set_precision",
    "set_seed",
]
