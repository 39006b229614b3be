"""The claims of lesson 03 on ShopWorld, seeds 1 to 5, and on every log that is here.

``course bench feature_claims`` runs the lesson itself and counts the claims that hold;
``python tests/benchmarks/feature_claims.py`` prints the tables of ``docs/claims.md``. The
numbers are the evidence that the lesson gives with each claim.
"""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path

import nbformat

from course_lib import datasets
from course_lib.claims import MUST_HOLD_ON
from course_lib.runs.report import claims_in
from course_lib.runs.worker import execute

LESSON = Path(__file__).parents[2] / "notebooks/03_features.ipynb"
SEEDS = (1, 2, 3, 4, 5)
CELL_TIMEOUT = 300  # seconds
SHOWN = {
    "what the visit has done foretells a purchase": "the visit so far",
    "the best family is hardly missed when it goes: others tell nearly the same": (
        "best family alone; on top"
    ),
    "what the visit has done tells more than which items it was done with": "ahead of items",
    "beside at most half of the families, the others add nothing that can be told from chance": (
        "chosen of ten; all, over the chosen"
    ),
    "the cross sees what the sum of its parts cannot": "cross over sum",
    "chosen on all sessions, dice seem to foresee purchases": "dice, all sessions",
    "chosen on training sessions, dice foresee nothing": "dice, training",
}
"""Claims whose evidence the grid of seeds shows, and the heading of their column."""


@cache
def claims_of(dataset: str, seed: int) -> list[dict]:
    """Run the lesson on one log and return its claims, as the report has them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / LESSON.name
        execute(LESSON, target, {"dataset": dataset, "seed": seed}, cell_timeout=CELL_TIMEOUT)
        return claims_in(nbformat.read(target, as_version=4))


def main() -> dict[str, float]:
    """Return, for each seed, how many claims the lesson makes and how many hold."""
    figures: dict[str, float] = {}
    for seed in SEEDS:
        claims = claims_of(MUST_HOLD_ON, seed)
        figures[f"claims_{seed}"] = len(claims)
        figures[f"hold_{seed}"] = sum(claim["holds"] for claim in claims)
    figures["claims_hold"] = float(
        all(figures[f"hold_{seed}"] == figures[f"claims_{seed}"] for seed in SEEDS)
    )
    return figures


def seeds_table() -> str:
    """Return the evidence on ShopWorld as a Markdown table, one row a seed."""
    lines = [f"| seed | {' | '.join(SHOWN.values())} |", "| --- |" + " --- |" * len(SHOWN)]
    for seed in SEEDS:
        evidence = {claim["text"]: claim["evidence"] for claim in claims_of(MUST_HOLD_ON, seed)}
        lines.append(f"| {seed} | {' | '.join(_numbers(evidence[text]) for text in SHOWN)} |")
    return "\n".join(lines)


def _numbers(evidence: str) -> str:
    """Leave the figures of a piece of evidence, with at most two decimals."""
    figures = re.sub(r" of \d+ chosen", "", evidence.rpartition(": ")[2])
    return re.sub(
        r"-?\d+\.\d+", lambda number: f"{float(number[0]):.{_places(number[0])}f}", figures
    )


def _places(number: str) -> int:
    return 1 if abs(float(number)) >= 1 else 2


def logs_table() -> str:
    """Return which claim holds on which log, as a Markdown table, one row a claim."""
    logs = [name for name in datasets.BUILT_IN if datasets.available(name)]
    verdicts = {log: {c["text"]: c for c in claims_of(log, SEEDS[0])} for log in logs}
    lines = [f"| claim | {' | '.join(logs)} |", "| --- |" + " --- |" * len(logs)]
    for text in verdicts[MUST_HOLD_ON]:
        cells = [_verdict(verdicts[log].get(text), log) for log in logs]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdict(claim: dict | None, log: str) -> str:
    if claim is None:
        return "-"
    if claim["dataset"] != log:
        return f"({claim['dataset']})"
    return "yes" if claim["holds"] else "no"


if __name__ == "__main__":
    print(seeds_table(), logs_table(), sep="\n\n")
