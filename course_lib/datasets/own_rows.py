"""Rows of a stranger's file: every line is found again, kept or broken, with its number."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from course_lib.errors import CourseError

LONGEST_FIELD = 100_000  # characters in one value
LONGEST_LINE = 1_000_000  # characters in one line
MOST_LINES = 100  # lines that one quoted value may span
BLOCK = 1 << 20  # characters read at once
BATCH = 50_000  # rows turned into columns at once
SHOWN = 2_000  # characters kept of a broken line
SEPARATORS = (",", ";", "\t", "|")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_DATA = re.compile(r"\s*[-+]?\d[\d\s.,:/TZ+-]*\s*")


@dataclass(frozen=True)
class Rows:
    """What a file holds, as text, before anything is believed.

    Attributes:
        source: The file's name.
        header: Its column names.
        table: The whole rows, a text column each (typed where a Parquet file has types).
        line: Line (of a Parquet file: row) of each row of `table`, int64.
        broken: Rows that are none: ``line``, ``reason``, ``text``.
        extra_lines: Lines that continue the row before them.
        separator: Between the columns; "" for Parquet.
        other_separator: One that fits the first line better, or "".
        first_line: The line that serves as header.
        guesses: Sentences about what was guessed.
    """

    source: str
    header: list[str]
    table: pd.DataFrame
    line: np.ndarray
    broken: pd.DataFrame
    extra_lines: int = 0
    separator: str = ""
    other_separator: str = ""
    first_line: str = ""
    guesses: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        """Rows after the header, whole and broken."""
        return len(self.table) + len(self.broken)

    @property
    def looks_headless(self) -> bool:
        """Whether a name of a column looks like a value: a number or a date."""
        return any(_DATA.fullmatch(name) for name in self.header)

    def text_of(self, rows: np.ndarray) -> pd.Series:
        """The text of some rows of `table` (bool per row), as the file has it, near enough."""
        chosen = self.table[rows]
        records = chosen.astype("object").itertuples(index=False, name=None)
        if self.separator:
            text = [_joined(record, self.separator)[:SHOWN] for record in records]
        else:
            text = [json.dumps(record, default=str)[:SHOWN] for record in records]
        return pd.Series(text, index=chosen.index, dtype="str")


def read_rows(source: Path, sep: str | None = None, encoding: str | None = None) -> Rows:
    """Read a CSV (gzipped or not) or Parquet file into rows.

    Args:
        source: The file.
        sep: What separates the columns; None guesses.
        encoding: Of the text; None is UTF-8, or what a byte order mark says.

    Raises:
        CourseError: If there is no such file, or it is no such table.
    """
    try:
        if not source.exists():
            raise CourseError(f"There is no file {source}; check its name.")
        if not source.is_file():
            raise CourseError(f"{source} is no file; name one CSV or Parquet file.")
        with source.open("rb") as stream:
            start = stream.read(4)
            if not start:
                raise CourseError(f"{source.name} is empty.")
            if start == b"PAR1":
                return _parquet_rows(source)
            if start[:2] == b"PK":
                raise CourseError(
                    f"{source.name} is an archive or a workbook; unpack it or save it as CSV."
                )
            if source.suffix.lower() in (".parquet", ".pq"):
                raise CourseError(f"{source.name} is no Parquet file; export it again.")
            stream.seek(0)
            return _csv_rows(stream, source.name, start[:2] == b"\x1f\x8b", sep, encoding)
    except OSError as error:
        raise CourseError(
            f"{source.name} cannot be read ({error.strerror or type(error).__name__})."
        ) from error


def _csv_rows(
    stream: BinaryIO, source: str, packed: bool, sep: str | None, encoding: str | None
) -> Rows:
    plain = gzip.GzipFile(fileobj=stream) if packed else stream
    try:
        buffer = io.BufferedReader(plain, BLOCK) if packed else plain
        mark = next(
            (name for bytes_, name in _MARKS if buffer.peek(4)[:4].startswith(bytes_)), "utf-8"
        )
        used = encoding or mark
        guesses = [] if encoding or used == "utf-8" else [f"the text is {used.upper()}"]
        with io.TextIOWrapper(buffer, encoding=used) as text:
            return _parsed(_Lines(text, source, used), sep, guesses)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CourseError(
            f"{source} is a torn gzip file ({error}); make or fetch it again, whole."
        ) from error
    except LookupError as error:
        raise CourseError(f"There is no encoding {encoding!r}; utf-8 is the usual one.") from error


class _Lines:
    """The lines of a text, without their ends, with one that is too long or no text refused."""

    def __init__(self, text: io.TextIOWrapper, source: str, encoding: str) -> None:
        self.text = text
        self.source = source
        self.encoding = encoding
        self.number = 0  # of the line that was given last, from 1
        self._given = self._all()
        self._back: list[str] = []

    def _all(self) -> Iterator[str]:
        tail = ""
        done = 0
        while True:
            try:
                block = self.text.read(BLOCK)
            except UnicodeDecodeError as error:
                raise CourseError(
                    f"{self.source} is no {self.encoding.upper()} text ({error.reason} in or after "
                    f"line {done + 1}); save it as UTF-8, or say --encoding cp1252 or what it is."
                ) from error
            pieces = (tail + block).split("\n")
            tail = pieces.pop()
            if not block and tail:
                pieces = [tail]
            for piece in pieces:
                done += 1
                self._check(piece, done)
                yield piece
            if not block:
                return
            self._check(tail, done + 1)

    def _check(self, line: str, number: int) -> None:
        if len(line) > LONGEST_LINE:
            raise CourseError(
                f"Line {number} of {self.source} is longer than {LONGEST_LINE:,} characters: no "
                "event is; a quote or a line end is probably missing there."
            )
        if "\0" in line:
            raise CourseError(
                f"Line {number} of {self.source} holds zero bytes: it is no "
                f"{self.encoding.upper()} text; save it as UTF-8."
            )

    def next(self) -> str | None:
        """The next line, or None after the last (an empty line at the very end is none)."""
        if self._back:
            self.number += 1
            return self._back.pop()
        line = next(self._given, None)
        if line is not None:
            self.number += 1
        return line

    def put_back(self, lines: list[str]) -> None:
        """Give these lines (the last given, in order) again."""
        self._back.extend(reversed(lines))
        self.number -= len(lines)


def _parsed(lines: _Lines, sep: str | None, guesses: list[str]) -> Rows:
    first = lines.next()
    while first is not None and not first.strip():
        first = lines.next()
    if first is None:
        raise CourseError(f"{lines.source} is empty.")
    counts = {mark: len(_split(first, mark)) for mark in SEPARATORS}
    likeliest = max(counts, key=counts.__getitem__)
    used = _separator(sep) if sep is not None else likeliest
    if sep is None and counts[likeliest] == 1:
        raise CourseError(
            f"{lines.source} has one column only ({first[:60]!r}): none of comma, semicolon, tab "
            "and bar separates it; say --sep or check that it is a table."
        )
    if sep is None:
        guesses = [*guesses, f"columns are separated by {used!r}"]
    header = [name.strip() for name in _split(first, used)]
    parser = _Parser(lines, used, len(header))
    parser.run()
    if not parser.lines_of_rows and not parser.broken:
        raise CourseError(f"{lines.source} has a header but no rows.")
    if parser.extra_lines:
        guesses = [
            *guesses,
            f"a quoted value may hold line ends ({parser.extra_lines:,} more lines than rows "
            "because of it)",
        ]
    return Rows(
        source=lines.source,
        header=header,
        table=parser.table(header),
        line=np.asarray(parser.lines_of_rows, dtype="int64"),
        broken=pd.DataFrame(parser.broken, columns=["line", "reason", "text"]),
        extra_lines=parser.extra_lines,
        separator=used,
        other_separator=likeliest if counts[likeliest] > len(header) else "",
        first_line=first,
        guesses=guesses,
    )


def _separator(sep: str) -> str:
    used = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}.get(sep, sep)
    if len(used) != 1 or used in '"\r\n':
        raise CourseError(f"{sep!r} cannot separate columns: give one character, or tab.")
    return used


def _split(line: str, sep: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=sep), [])
    except csv.Error:
        return line.split(sep)


def _joined(record: tuple, sep: str) -> str:
    text = io.StringIO()
    cells = ["" if pd.isna(cell) else cell for cell in record]
    csv.writer(text, delimiter=sep, lineterminator="").writerow(cells)
    return text.getvalue()


class _Parser:
    """Lines to rows of one width; each line ends up in a row or in `broken`."""

    def __init__(self, lines: _Lines, sep: str, width: int) -> None:
        self.lines = lines
        self.sep = sep
        self.width = width
        self.rows: list[list[str]] = []
        self.chunks: list[list[pa.Array]] = []
        self.lines_of_rows: list[int] = []
        self.broken: list[tuple[int, str, str]] = []
        self.extra_lines = 0

    def run(self) -> None:
        while (line := self.lines.next()) is not None:
            number = self.lines.number
            if '"' in line:
                self._quoted(line, number)
            elif not line.strip():
                self.broken.append((number, "blank line", ""))
            else:
                self._row(line.split(self.sep), number, line)
            if len(self.rows) >= BATCH:
                self._flush()
        self._flush()

    def table(self, header: list[str]) -> pd.DataFrame:
        columns = zip(*self.chunks, strict=True) if self.chunks else [[] for _ in header]
        series = [
            pd.Series(pa.chunked_array(list(chunks), pa.large_string()).to_pandas()).astype("str")
            for chunks in columns
        ]
        table = pd.concat(series, axis=1) if series else pd.DataFrame()
        # of columns that share a name the first is meant, and the matching refuses the rest
        table.columns = range(len(header))
        first = {name: place for place, name in reversed(list(enumerate(header)))}
        return table.rename(columns={place: name for name, place in first.items()})

    def _flush(self) -> None:
        if self.rows:
            columns = zip(*self.rows, strict=True)
            self.chunks.append([pa.array(column, pa.large_string()) for column in columns])
            self.rows = []

    def _row(self, row: list[str], number: int, line: str) -> None:
        if len(line) > LONGEST_FIELD and max(map(len, row)) > LONGEST_FIELD:
            raise CourseError(
                f"Line {number} of {self.lines.source} holds a value of more than "
                f"{LONGEST_FIELD:,} characters; shorten it or leave that column out."
            )
        if len(row) == self.width:
            self.rows.append(row)
            self.lines_of_rows.append(number)
        else:
            values = f"{len(row)} value" + "s" * (len(row) != 1)
            self.broken.append((number, f"{values} instead of {self.width}", line[:SHOWN]))

    def _quoted(self, line: str, number: int) -> None:
        """A row with quotes: it may go on over the next lines, or a quote may be stray."""
        taken = [line]
        length = len(line)
        row = self._strictly(taken)
        while row is None and len(taken) < MOST_LINES and length < LONGEST_LINE:
            further = self.lines.next()
            if further is None:
                break
            taken.append(further)
            length += len(further)
            if '"' in further:
                row = self._strictly(taken)
        if len(taken) > 1 and (row is None or len(row) != self.width):
            self.lines.put_back(taken[1:])
            taken = taken[:1]
            row = None
        if row is None:
            self.broken.append((number, "a quote is not closed", line[:SHOWN]))
        else:
            self._row(row, number, "\n".join(taken))
            self.extra_lines += len(taken) - 1

    def _strictly(self, taken: list[str]) -> list[str] | None:
        """The row in these lines, or None while a quote stands open at their end."""
        text = [f"{line}\n" for line in taken[:-1]] + taken[-1:]
        try:
            return next(csv.reader(text, delimiter=self.sep, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                return None
            if "field limit" in str(error):
                raise CourseError(
                    f"Line {self.lines.number} of {self.lines.source} holds a value of more than "
                    f"{LONGEST_FIELD:,} characters; shorten it or leave that column out."
                ) from error
            # quotes inside a value: read as they stand
            return taken[0].split(self.sep) if len(taken) == 1 else None


def _parquet_rows(source: Path) -> Rows:
    try:
        table = pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise CourseError(
            f"{source.name} is torn or no Parquet file ({str(error).splitlines()[0][:80]}); export "
            "it again."
        ) from error
    if not table.num_rows:
        raise CourseError(f"{source.name} has no rows.")
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        columns.setdefault(name.strip(), _as_text(column, name, source.name))
    return Rows(
        source=source.name,
        header=[name.strip() for name in table.column_names],
        table=pd.DataFrame(columns),
        line=np.arange(1, table.num_rows + 1),
        broken=pd.DataFrame(columns=["line", "reason", "text"]),
    )


def _as_text(column: pa.ChunkedArray, name: str, source: str) -> pd.Series:
    """A column as text; dates and times stay what they are."""
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times = column.to_pandas(date_as_object=False)
        return pd.Series(times)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = [None if value is None else str(value) for value in column.to_pylist()]
        text = pa.chunked_array([pa.array(values, pa.large_string())])
    else:
        text = column.cast(pa.large_string())
    lengths = [0 if value is None else value for value in _lengths(text)]
    if lengths and max(lengths) > LONGEST_FIELD:
        raise CourseError(
            f"Row {int(np.argmax(lengths)) + 1} of {source} holds a value of more than "
            f"{LONGEST_FIELD:,} characters in column {name!r}; shorten it or leave that column out."
        )
    return pd.Series(text.to_pandas()).astype("str")


def _lengths(text: pa.ChunkedArray) -> list[int | None]:
    import pyarrow.compute as pc

    return pc.utf8_length(text).to_pylist()
