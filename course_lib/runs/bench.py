"""``course bench``: run one module of tests/benchmarks and hand back its figures."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from course_lib.errors import CourseError, unknown_name

FOLDER = Path("tests/benchmarks")


def benchmark_names(root: Path) -> list[str]:
    """Return the benchmarks there are."""
    return sorted(
        path.stem.replace("_", "-")
        for path in (root / FOLDER).glob("*.py")
        if not path.stem.startswith("_")
    )


def load_benchmark(root: Path, name: str) -> ModuleType:
    """Import a benchmark, without running it.

    Raises:
        CourseError: If there is no such benchmark.
    """
    names = benchmark_names(root)
    if name.replace("_", "-") not in names:
        raise unknown_name("benchmark", name, names)
    stem = name.replace("-", "_")
    specification = importlib.util.spec_from_file_location(
        f"course_benchmark_{stem}", root / FOLDER / f"{stem}.py"
    )
    module = importlib.util.module_from_spec(specification)
    if str(root / FOLDER) not in sys.path:  # benchmarks share modules
        sys.path.insert(0, str(root / FOLDER))
    sys.modules[specification.name] = module  # dataclasses look up the module they are made in
    specification.loader.exec_module(module)
    return module


def run_benchmark(root: Path, name: str) -> dict[str, Any]:
    """Run ``main()`` of a benchmark and return its figures by key.

    Raises:
        CourseError: If there is no such benchmark, or it returns no flat dict.
    """
    figures = load_benchmark(root, name).main()
    flat = isinstance(figures, Mapping) and not any(
        isinstance(value, (Mapping, list, tuple, set)) for value in figures.values()
    )
    if not flat:
        raise CourseError(f"Benchmark {name!r} must return a flat dict of figures; mend its main.")
    return {key: _plain(value) for key, value in figures.items()}


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as the Python number it stands for."""
    return value.item() if hasattr(value, "item") else value
