"""Run a script that trains once on TensorFlow and once on JAX, and compare what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def report(losses: dict[str, list[float]]) -> None:
    """Print, from such a script, the losses and what they were computed with."""
    from course_lib.backend import keras

    shown = {"backend": keras.backend.backend(), "losses": losses}
    print(json.dumps(shown | {"jax_loaded": "jax" in sys.modules}))


def assert_alike(script: str, names: set[str]) -> None:
    """Run ``tests/SCRIPT`` on both backends at once: equal losses to 1e-4 under these names."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    runs = {
        backend: subprocess.Popen(
            [sys.executable, ROOT / "tests" / script],
            env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in ("tensorflow", "jax")
    }
    shown = {}
    for backend, run in runs.items():
        out, errors = run.communicate()
        assert run.returncode == 0, errors[-3000:]
        shown[backend] = json.loads(out.splitlines()[-1])
        assert shown[backend]["backend"] == backend
    # The course never loads JAX beside TensorFlow, though TensorFlow would.
    assert [shown[name]["jax_loaded"] for name in ("tensorflow", "jax")] == [False, True]
    first, second = (shown[name]["losses"] for name in ("tensorflow", "jax"))
    assert set(first) == names
    for name, values in first.items():
        assert values == pytest.approx(second[name], abs=1e-4), name
