"""A GPU: steps a second and minutes to Beauty's figure on JAX, beside compiled PyTorch.

Runs on Keras's JAX backend in a process of its own and refuses where JAX sees no GPU. Keys:
``{lstm,transformer}_steps_per_second`` in float32 and ``*_half`` in bfloat16 (the networks and
the batch of ``training_step``); the same of PyTorch's ``torch.compile`` as ``*_torch`` where
torch is installed; ``beauty_minutes``, ``beauty_hr10`` and ``beauty_ndcg10``: the training of
``beauty_transformer`` in bfloat16. The hardware's name is printed first.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
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
    from training_step import ITEMS, LENGTH, WIDTH, all_positions, our_step, torch_step

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
    builders = {
        "lstm": lambda: item_rnn(catalogue, cell="lstm", width=WIDTH, dropout=0),
        "transformer": lambda: item_transformer(catalogue, width=WIDTH, dropout=0, length=LENGTH),
    }
    torch = importlib.util.find_spec("torch") is not None
    figures = {}
    for suffix, policy in (("", "float32"), ("_half", "mixed_bfloat16")):
        keras.config.set_dtype_policy(policy)
        for name, build in builders.items():
            step = our_step(build(), *all_positions())
            figures[f"{name}_steps_per_second{suffix}"] = _rate(step)
            if torch:
                other = torch_step(name, "cuda", compiled=True, half=bool(suffix))
                figures[f"{name}_steps_per_second{suffix}_torch"] = _rate(other)
    import beauty_transformer

    beauty = beauty_transformer.main()
    figures |= {f"beauty_{key}": beauty[key] for key in ("hr10", "ndcg10")}
    return figures | {"beauty_minutes": beauty["train_minutes"]}


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
