"""The normal form in which notebooks are stored, and when two outputs count as the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat

IGNORE_TAG = "nbval-ignore-output"
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
_KEPT_METADATA = ("course",)
# What tools leave in a cell's metadata; everything else (tags, nbgrader, ...) is the author's.
_DROPPED_CELL_METADATA = (
    "ExecuteTime",
    "collapsed",
    "execution",
    "lines_to_next_cell",
    "papermill",
    "scrolled",
    "vscode",
)
_GIVEN_BY_MACHINE = re.compile(
    r"^([0-9a-f]{8}|[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$"
)
_WIDGET = "application/vnd.jupyter.widget-view+json"
_NUMBER = re.compile(r"[-+]?\d[\d,_]*(\.\d+)?([eE][-+]?\d+)?")
Notebook = nbformat.NotebookNode
Patterns = Sequence[tuple[re.Pattern[str], str]]


def read_patterns(path: Path) -> Patterns:
    """Read the ``regex:`` / ``replace:`` pairs of nbval's settings, in their order."""
    pairs = re.findall(
        r"^regex: (.*)$\n^replace: (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return [(re.compile(regex), replacement) for regex, replacement in pairs]


def normalise(notebook: Notebook, root: Path) -> Notebook:
    """Return a copy in normal form; doing it twice changes nothing more.

    Kept are the ``course`` metadata, the kernel's name, each cell's own metadata and its id,
    unless a machine gave it: such a cell is named after its first words. Dropped is what
    differs between two executions of the same notebook: timings, the interpreter's version,
    widget models, the course's folder, kernel files and memory addresses.

    Args:
        notebook: A notebook of nbformat 4.
        root: The course's folder, which outputs must not name.
    """
    copy = nbformat.from_dict(notebook)
    copy.nbformat, copy.nbformat_minor = 4, 5
    copy.metadata = nbformat.from_dict(
        {name: copy.metadata[name] for name in _KEPT_METADATA if name in copy.metadata}
        | {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    )
    for cell in copy.cells:
        for name in _DROPPED_CELL_METADATA:
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = [_normal_output(output, root) for output in _joined(cell.outputs)]
    _name_cells(copy.cells)
    return copy


def without_outputs(notebook: Notebook) -> Notebook:
    """Return a copy whose code cells have not been executed."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return copy


def to_text(notebook: Notebook) -> str:
    """Return the notebook's file: sorted keys, one-space indent, a newline at the end."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Join streams that the kernel happened to send in several pieces."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(nbformat.from_dict(output))
    return joined


def _normal_output(output: Any, root: Path) -> Any:
    def neutral(text: str) -> str:
        text = re.sub(r"/\S*ipykernel_\d+/\d+\.py", "<cell>", text.replace(str(root), "."))
        return re.sub(r"\b0x[0-9a-fA-F]{6,16}\b", "0x0", text)

    output.pop("transient", None)
    if "execution_count" in output:
        output.execution_count = None
    if "text" in output:
        output.text = neutral(output.text)
    if "traceback" in output:
        output.traceback = [neutral(line) for line in output.traceback]
    if "data" in output:
        output.data.pop(_WIDGET, None)
        for kind, value in output.data.items():
            if isinstance(value, str) and kind.startswith("text/"):
                output.data[kind] = neutral(value)
    return output


def _name_cells(cells: Sequence[Any]) -> None:
    taken = {cell.id for cell in cells if "id" in cell and not _GIVEN_BY_MACHINE.match(cell.id)}
    seen: set[str] = set()
    for cell in cells:
        name = cell.get("id", "")
        if not name or _GIVEN_BY_MACHINE.match(name) or name in seen:
            first = _readable(cell)
            name, number = first, 2
            while name in taken or name in seen:
                name, number = f"{first}-{number}", number + 1
            cell.id = name
        seen.add(name)


def _readable(cell: Any) -> str:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    lines = [line for line in cell.source.splitlines() if line.strip()]
    text = grade_id or ("parameters" if "parameters" in cell.metadata.get("tags", []) else "")
    text = text or (lines[0] if lines else cell.cell_type)
    words = re.findall(r"[a-z0-9]+", text.lower())
    return "-".join(words[:6])[:48].strip("-") or cell.cell_type


def is_ignored(cell: Any) -> bool:
    """Say whether nbval leaves this cell's outputs uncompared."""
    return IGNORE_TAG in cell.metadata.get("tags", [])


def _shape(output: Any, patterns: Patterns, ignored: bool) -> Any:
    """Return what has to be equal for two outputs to count as the same."""

    def plain(text: str) -> str:
        for pattern, replacement in patterns:
            text = pattern.sub(replacement, text)
        return re.sub(r"[\s─-╿=-]+", " ", _NUMBER.sub("#", text)) if ignored else text

    data = {}
    for kind, value in output.get("data", {}).items():
        if isinstance(value, str) and kind.startswith("text/"):
            data[kind] = plain(value)
        else:
            data[kind] = None if ignored else value
    # Evidence in the metadata is measured; nbval does not compare it either.
    return (
        output.output_type,
        output.get("name"),
        plain(output.get("text", "")),
        data,
        output.get("ename"),
        plain(output.get("evalue", "")),
    )


def keep_equal_outputs(fresh: Notebook, stored: Notebook, patterns: Patterns) -> Notebook:
    """Return `fresh` with the stored outputs of each cell that came out the same.

    The same means: equal once `patterns` have been applied; for a cell tagged
    ``nbval-ignore-output`` also once its numbers and pictures are left out. So a rebuild on
    one machine, or with other last digits, changes no file.

    Args:
        fresh: The notebook as just executed, in normal form.
        stored: The notebook as stored, in normal form.
        patterns: From `read_patterns`.
    """
    result = nbformat.from_dict(fresh)
    before = {cell.id: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in result.cells:
        old = before.get(cell.id)
        if cell.cell_type != "code" or old is None or old.source != cell.source:
            continue
        ignored = is_ignored(cell)
        shapes = [
            [_shape(output, patterns, ignored) for output in one.outputs] for one in (cell, old)
        ]
        if shapes[0] == shapes[1]:
            cell.outputs = old.outputs
    return result
