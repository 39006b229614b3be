"""The one place that imports Keras, quietly: ``from course_lib.backend import keras, keras_hub``.

TensorFlow writes to the process's standard error while it loads and when it first compiles a
function, below the reach of any log level. Stored in a notebook, those lines are noise for
the reader and differ from machine to machine, so file descriptor 2 points to the null device
for the length of the import.

The backend is TensorFlow unless ``KERAS_BACKEND`` names another one. keras-hub, which lessons 09
and 10 need, is imported when it is first asked for: it takes some seconds more.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import warnings
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


@contextlib.contextmanager
def _without_jax() -> Iterator[None]:
    """Hide JAX: TensorFlow loads it where it finds it, for a converter that is not used here."""
    hidden = os.environ["KERAS_BACKEND"] == "tensorflow" and "jax" not in sys.modules
    if hidden:
        sys.modules["jax"] = None
    try:
        yield
    finally:
        if hidden:
            del sys.modules["jax"]


with _without_jax(), quiet_stderr():
    import keras

# Its advice about retraced functions would stand in the notebooks of whoever has two networks.
logging.getLogger("tensorflow").setLevel(logging.ERROR)


def __getattr__(name: str) -> object:
    if name != "keras_hub":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _without_jax(), quiet_stderr(), warnings.catch_warnings():
        # In a notebook its downloader misses the widgets of a progress bar.
        warnings.filterwarnings("ignore", message="IProgress not found")
        return importlib.import_module("keras_hub")


__all__ = ["has_gpu", "keras", "keras_hub", "quiet_stderr"]  # noqa: F822 (`__getattr__`)
