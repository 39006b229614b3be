"""The one place that imports Keras, quietly: ``from course_lib.backend import keras``.

TensorFlow writes to the process's standard error while it loads and when it first compiles a
function, below the reach of any log level. Stored in a notebook, those lines are noise for
the reader and differ from machine to machine, so file descriptor 2 points to the null device
for the length of the import.

The backend is TensorFlow unless ``KERAS_BACKEND`` names another one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send what native code writes to standard error nowhere, until the block ends."""
    try:
        saved = os.dup(2)
    except OSError:  # the process has no standard error to begin with
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


def has_gpu() -> bool:
    """Say whether this machine has an NVIDIA GPU and lets this process see it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1":
        return False
    return os.path.exists("/proc/driver/nvidia") or shutil.which("nvidia-smi") is not None


os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if not has_gpu():
    # Without this TensorFlow looks for CUDA's libraries and complains that it finds none.
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# TensorFlow loads JAX where it finds it: a second and 120 MB for a converter not used here.
_without_jax = os.environ["KERAS_BACKEND"] == "tensorflow" and "jax" not in sys.modules
if _without_jax:
    sys.modules["jax"] = None
try:
    with quiet_stderr():
        import keras
finally:
    if _without_jax:
        del sys.modules["jax"]

# Its advice about retraced functions would stand in the notebooks of whoever has two networks.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

__all__ = ["has_gpu", "keras", "quiet_stderr"]
