"""One page for a folder of runs: what ran, for how long, which claims held on which log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from course_lib.claims import METADATA_KEY
from course_lib.runs.execution import Result, read_results


@dataclass
class ClaimRow:
    """One claim of a lesson and, by log, how often it held.

    Attributes:
        lesson: The lesson's number.
        text: The claim.
        by_log: Log to ``(held, runs)``.
        evidence: Log to the evidence of its last run, as text.
    """

    lesson: str
    text: str
    by_log: dict[str, tuple[int, int]] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)


def claims_in(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the claims that an executed notebook checked, in order.

    Args:
        notebook: Its JSON; a claim is an output whose metadata hold ``course_claim``, a dict
            with ``text``, ``holds`` and perhaps ``evidence``.
    """
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            claim = output.get("metadata", {}).get(METADATA_KEY)
            if claim:
                found.append(dict(claim))
    return found


def read_claims(folder: Path, result: Result) -> list[dict[str, Any]]:
    """Return the claims of one kept run; none if its notebook is not there."""
    path = folder / "notebooks" / f"{result.name}.ipynb"
    if not path.exists():
        return []
    return claims_in(json.loads(path.read_text(encoding="utf-8")))


def claims_table(folder: Path, results: Iterable[Result]) -> list[ClaimRow]:
    """Gather the claims of many runs, one row a claim, in the order of the lessons.

    A claim counts for the log that it is about: where another log stood in for a section, that
    one.
    """
    rows: dict[tuple[str, str], ClaimRow] = {}
    for result in sorted(results, key=lambda result: (result.lesson, result.name)):
        of_the_run = str(result.values.get("dataset", "shopworld"))
        for claim in read_claims(folder, result):
            log = str(claim.get("dataset") or of_the_run)
            row = rows.setdefault(
                (result.lesson, claim["text"]), ClaimRow(result.lesson, claim["text"])
            )
            held, runs = row.by_log.get(log, (0, 0))
            row.by_log[log] = (held + bool(claim["holds"]), runs + 1)
            row.evidence[log] = str(claim.get("evidence") or "")
    return list(rows.values())


def write_index(folder: Path) -> Path:
    """Write ``index.html`` over every result in a folder of runs and return its path."""
    from jinja2 import Environment

    results = sorted(read_results(folder), key=lambda result: (result.lesson, result.name))
    claims = claims_table(folder, results)
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["address"] = quote
    template = resources.files("course_lib.runs").joinpath("index.html.j2")
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        results=results,
        failed=sum(result.error is not None for result in results),
        seconds=sum(result.seconds for result in results),
        pages={path.stem for path in (folder / "pages").glob("*.html")},
        notebooks={path.stem for path in (folder / "notebooks").glob("*.ipynb")},
        claims=claims,
        logs=sorted({log for row in claims for log in row.by_log}, key=_shopworld_first),
    )
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _shopworld_first(log: str) -> tuple[bool, str]:
    return (log != "shopworld", log)
