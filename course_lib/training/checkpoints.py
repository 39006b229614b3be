"""Checkpoints: the whole state of a fit after an epoch, in one file, written at once or not."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.backend import keras
from course_lib.errors import CourseError
from course_lib.sequences import Sequences

PARTS = ("model", "optimizer", "best")


@dataclass(frozen=True)
class State:
    """What a checkpoint holds.

    Attributes:
        arrays: Values of all variables of the model and of the optimizer after the last
            epoch, and of the model after the best one.
        rows: The history.
        best_epoch: From 1.
        seconds: Wall time so far.
    """

    arrays: dict[str, list[np.ndarray]]
    rows: list[dict[str, float]]
    best_epoch: int
    seconds: float


class Checkpoint:
    """The file of one fit, which knows what it belongs to.

    Args:
        path: The file; its folder is made if need be.
        model: The network.
        parts: What it is trained and validated on.
        settings: All that the training depends on besides.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        model: keras.Model,
        parts: tuple[Sequences, ...],
        settings: dict[str, object],
    ):
        self.path = Path(path)
        self._identity = {
            "network": _digest(json.dumps(_describe(model), sort_keys=True).encode()),
            "data": _digest(
                *(
                    np.ascontiguousarray(getattr(part, name)).tobytes()
                    for part in parts
                    for name in ("inputs", "targets", "mask")
                )
            ),
            **{name: str(value) for name, value in settings.items()},
        }

    def save(
        self,
        arrays: dict[str, list[np.ndarray]],
        rows: list[dict[str, float]],
        best_epoch: int,
        seconds: float,
    ) -> None:
        """Write the state beside the old one, then put it in its place in one go."""
        facts = {
            "identity": self._identity,
            "rows": rows,
            "best_epoch": best_epoch,
            "seconds": seconds,
        }
        named = {f"{part}{i}": a for part in PARTS for i, a in enumerate(arrays[part])}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        with open(unfinished, "wb") as file:
            np.savez(file, facts=np.array(json.dumps(facts)), **named)
        os.replace(unfinished, self.path)

    def load(self) -> State | None:
        """Return the state, or None if nothing has been saved yet.

        Raises:
            CourseError: If the file is no checkpoint, or that of another run.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                facts = json.loads(str(file["facts"]))
                arrays = {
                    part: [file[f"{part}{i}"] for i in range(_length(file.files, part))]
                    for part in PARTS
                }
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise CourseError(
                f"{self.path} is no checkpoint of this course: choose another path."
            ) from error
        saved = facts["identity"]
        changed = [
            name if name in ("network", "data") else f"{name} ({saved.get(name)}, now {value})"
            for name, value in self._identity.items()
            if saved.get(name) != value
        ]
        if changed:
            raise CourseError(
                f"The checkpoint {self.path} belongs to another run, for this one differs in "
                f"{', '.join(changed)}: delete the file to begin anew, or choose another path."
            )
        return State(arrays, facts["rows"], facts["best_epoch"], facts["seconds"])


def _length(names: list[str], part: str) -> int:
    return sum(name.startswith(part) for name in names)


def _digest(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def _describe(model: keras.Model) -> list:
    """Classes, settings and shapes of all layers; names are numbered, so they do not count."""
    described = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            described.append(_describe(layer))
            continue
        try:
            config = _without_names(layer.get_config())
        except (NotImplementedError, TypeError):  # a layer made of layers
            config = {}
        shapes = [list(weight.shape) for weight in layer.weights]
        described.append([type(layer).__name__, config, shapes])
    return json.loads(json.dumps(described, default=lambda value: type(value).__name__))


def _without_names(config: object) -> object:
    if isinstance(config, dict):
        left_out = ("name", "seed", "registered_name", "build_config")
        return {key: _without_names(value) for key, value in config.items() if key not in left_out}
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    return config
