"""What a lesson's parameters cell declares, and the values a person passes for it.

Papermill accepts any name and any type and merely logs a line about it; here both are
checked before anything starts.
"""

from __future__ import annotations

import ast
import io
import itertools
import json
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError, unknown_name

_AT_LEAST = re.compile(r"\bat least (-?\d+(?:\.\d+)?)")
_MOST_SEED = 2**32 - 1  # what NumPy's old generators and scikit-learn take
_OPTIONAL = re.compile(r"^Optional\[(.+)\]$")
_WORDS = {"true": True, "false": False, "yes": True, "no": False}


@dataclass(frozen=True)
class Parameter:
    """One name of a lesson's parameters cell.

    Attributes:
        name: The variable.
        types: Python types a value may have; ``None`` stands for no value.
        default: Its value in the notebook.
        help: The comment beside it; "at least 3" in it is the least value that is accepted.
    """

    name: str
    types: tuple[type, ...]
    default: Any
    help: str = ""

    @property
    def type_name(self) -> str:
        """The types as a person writes them, ``int or None``."""
        return " or ".join("None" if kind is type(None) else kind.__name__ for kind in self.types)

    def parse(self, text: str) -> Any:
        """Turn the text after ``name=`` into a value of the parameter's type.

        Raises:
            CourseError: If it is none, or out of range.
        """
        for kind in self.types:
            try:
                value = _read(kind, text)
            except ValueError:
                continue
            self._require_in_range(value)
            return value
        raise CourseError(
            f"Parameter {self.name!r} takes {self.type_name}, not {text!r}; "
            f"for example -p {self.name}={self.default}."
        )

    def _require_in_range(self, value: Any) -> None:
        least = _AT_LEAST.search(self.help)
        if self.name == "seed" and isinstance(value, int) and not 0 <= value <= _MOST_SEED:
            wanted = f"from 0 to {_MOST_SEED}"
        elif least and isinstance(value, int | float) and value < float(least[1]):
            wanted = f"at least {least[1]}"
        else:
            return
        raise CourseError(f"Parameter {self.name!r} must be {wanted}, not {value}.")


def _read(kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is type(None) and text.lower() in ("none", "null"):
        return None
    if kind is bool and text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if type(value) is not kind:
        raise ValueError(text)
    return value


_TYPES = {kind.__name__: kind for kind in (str, int, float, bool, list, tuple, dict)}
_TYPES["None"] = type(None)


def _types(annotation: str, default: Any) -> tuple[type, ...]:
    inner = _OPTIONAL.match(annotation)
    words = [inner[1], "None"] if inner else annotation.split("|")
    named = [_TYPES.get(word.split("[")[0].strip()) for word in words]
    kinds = [kind for kind in named if kind is not None] or [type(default)]
    if default is None and type(None) not in kinds:
        kinds.append(type(None))
    # "None" and numbers are tried before text, which takes anything.
    return tuple(sorted(dict.fromkeys(kinds), key=lambda kind: kind is str))


def read_parameters(path: Path) -> dict[str, Parameter]:
    """Read the parameters of a lesson from its cell tagged ``parameters``.

    Papermill's own reader goes by a regular expression that knows no unions (``int | None``)
    and takes a second to import, so the cell is parsed here.

    Args:
        path: The notebook.

    Raises:
        CourseError: If the cell is missing, or a line of it is no literal with a name.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [
        "".join(cell["source"])
        for cell in notebook["cells"]
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(cells) != 1:
        raise CourseError(
            f"{path.name} has {len(cells)} cells tagged 'parameters'; it needs exactly one."
        )
    try:
        found = [_declaration(line) for line in ast.parse(cells[0]).body]
    except (SyntaxError, ValueError) as error:
        raise CourseError(
            f"The parameters cell of {path.name} may hold only lines like 'seed: int = 1'; "
            f"correct it ({error})."
        ) from error
    comments = _comments(cells[0])
    return {
        name: Parameter(name, _types(annotation, default), default, comments.get(line, ""))
        for name, annotation, default, line in found
    }


def _declaration(line: ast.stmt) -> tuple[str, str, Any, int]:
    """Return name, annotation, default and last line number of ``name: type = literal``."""
    targets = [line.target] if isinstance(line, ast.AnnAssign) else getattr(line, "targets", [])
    if len(targets) != 1 or not isinstance(targets[0], ast.Name) or line.value is None:
        raise ValueError(ast.unparse(line))
    annotation = ast.unparse(line.annotation) if isinstance(line, ast.AnnAssign) else ""
    return targets[0].id, annotation, ast.literal_eval(line.value), line.end_lineno


def _comments(source: str) -> dict[int, str]:
    """Return the comment on each line that has one."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def split_assignments(texts: Iterable[str]) -> dict[str, list[str]]:
    """Group ``name=value`` texts by name; a name given several times spans a grid.

    Raises:
        CourseError: If a text has no ``=``.
    """
    grouped: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise CourseError(f"{text!r} is no parameter: write -p name=value, like -p seed=7.")
        values = grouped.setdefault(name, [])
        if value.strip() not in values:
            values.append(value.strip())
    return grouped


def grid(
    declared: Mapping[str, Parameter], given: Mapping[str, list[str]], lesson: str
) -> list[dict[str, Any]]:
    """Return one dict of values for each run that `given` asks of one lesson.

    Args:
        declared: The lesson's parameters.
        given: Texts by name, from `split_assignments`.
        lesson: The lesson's number, for messages.

    Raises:
        CourseError: If a name is unknown (with the nearest one) or a value has a wrong type.
    """
    for name in given:
        if name not in declared:
            raise unknown_name(f"parameter of lesson {lesson}:", name, declared)
    columns = [[declared[name].parse(text) for text in texts] for name, texts in given.items()]
    return [dict(zip(given, values, strict=True)) for values in itertools.product(*columns)]
