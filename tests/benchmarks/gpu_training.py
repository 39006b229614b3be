"""A GPU: steps a second and minutes to Beauty's figure on JAX, beside compiled PyTorch.

Runs on Keras's JAX backend in a process of its own and refuses where JAX sees no GPU. Keys:
``{lstm,transformer,encoder}_steps_per_second`` in float32 and ``*_half`` in bfloat16 (the
networks and the batch of ``training_step``); the same of PyTorch's ``torch.compile`` as
``*_torch`` where torch is installed; ``beauty_minutes``, ``beauty_hr10`` and ``beauty_ndcg10``:
the training of ``beauty_transformer`` in bfloat16, and ``bert_*`` that of ``beauty_bert``. The
hardware's name is printed first.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from course_lib.errors import CourseError

WARM, ROUNDS, STEPS = 2, 5, 20


def main() -> dict[str, float]:
    """Measure in a process whose backend is JAX, and return the figures."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"PYTHONPATH": str(root), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise CourseError(lines[-1].removeprefix("course_lib.errors.CourseError: "))
    *told, figures = done.stdout.splitlines()
    print("\n".join(told))
    return json.loads(figures)


def _figures() -> dict[str, float]:
    import jax
    from training_step import (
        ITEMS,
        LENGTH,
        MASKED,
        WIDTH,
        all_positions,
        encoder_step,
        our_step,
        torch_encoder_step,
        torch_step,
    )

    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    if not gpus:
        raise CourseError(
            "JAX sees no GPU here: run this on a machine with one, with the CUDA build of JAX "
            "(pip install 'jax[cuda12]'), and PyTorch for the comparison."
        )
    from course_lib.backend import keras
    from course_lib.models.rnn import item_rnn
    from course_lib.models.transformer import item_transformer
    from course_lib.sequences import Catalogue

    print(f"hardware: {gpus[0].device_kind}, JAX {jax.__version__}, Keras {keras.__version__}")
    catalogue = Catalogue(pd.RangeIndex(ITEMS), np.ones(ITEMS, np.int64))
    batch, size = all_positions(), {"width": WIDTH, "dropout": 0}
    steps = {
        "lstm": lambda: our_step(item_rnn(catalogue, cell="lstm", **size), *batch),
        "transformer": lambda: our_step(item_transformer(catalogue, length=LENGTH, **size), *batch),
        "encoder": lambda: encoder_step(MASKED),
    }
    theirs = {name: partial(torch_step, name) for name in ("lstm", "transformer")}
    theirs["encoder"] = torch_encoder_step
    torch = importlib.util.find_spec("torch") is not None
    figures = {}
    for suffix, policy in (("", "float32"), ("_half", "mixed_bfloat16")):
        keras.config.set_dtype_policy(policy)
        for name, step in steps.items():
            figures[f"{name}_steps_per_second{suffix}"] = _rate(step())
            if torch:
                other = theirs[name]("cuda", compiled=True, half=bool(suffix))
                figures[f"{name}_steps_per_second{suffix}_torch"] = _rate(other)
    import beauty_bert
    import beauty_transformer

    for name, benchmark in (("beauty", beauty_transformer), ("bert", beauty_bert)):
        found = benchmark.main()
        figures |= {f"{name}_{key}": found[key] for key in ("hr10", "ndcg10")}
        figures[f"{name}_minutes"] = found["train_minutes"]
    return figures


def _rate(step) -> float:
    """Steps a second, the median of some rounds."""
    rates = []
    for round_ in range(-WARM, ROUNDS):
        begin = perf_counter()
        for _ in range(STEPS):
            step()
        if round_ >= 0:
            rates.append(STEPS / (perf_counter() - begin))
    return median(rates)


if __name__ == "__main__":
    print(json.dumps(_figures()))
