"""The plan of the house: who may import whom, and what must open fast."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_TENSORFLOW = (
    "course_lib",
    "course_lib.errors",
    "course_lib.events",
    "course_lib.datasets",
    "course_lib.datasets.shopworld",
    "course_lib.cleaning",
    "course_lib.sessions",
    "course_lib.splits",
    "course_lib.baselines",
    "course_lib.metrics",
    "course_lib.ladder",
    "course_lib.plots",
    "course_lib.claims",
    "course_lib.checks",
    "course_lib.runs",
    "course_lib.cli",
)
# Each takes a second or more to import; whoever needs one imports it where it is used.
HEAVY = ("tensorflow", "keras", "torch", "jax", "sklearn", "matplotlib", "papermill", "duckdb")


def _loaded_by(statement: str) -> set[str]:
    """Return the top-level packages in memory after a statement in a fresh interpreter."""
    code = f"import sys; {statement}; print(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


def test_rooms_import_only_what_stands_above_them():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_style(command):
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, *command, "--quiet", "--no-cache", "."], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_itself_imports_nothing():
    assert _loaded_by("import course_lib") - _loaded_by("pass") == {"course_lib"}


def test_half_the_course_opens_without_anything_heavy():
    loaded = _loaded_by(f"import {', '.join(WITHOUT_TENSORFLOW)}")
    assert loaded & set(HEAVY) == set()


def test_the_command_line_opens_without_pandas():
    assert _loaded_by("import course_lib.cli") & {"pandas", "numpy", "nbformat"} == set()


@pytest.mark.parametrize("room", sorted(path.name for path in (ROOT / "course_lib").iterdir()))
def test_every_room_is_in_the_contract(room):
    if room.startswith("__") or not (room.endswith(".py") or "." not in room):
        return
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"{room.removesuffix(".py")}"' in contract
