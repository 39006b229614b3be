"""Hostile logs: whatever a file holds, every line is found again or one sentence refuses it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_lib.datasets import own_csv
from course_lib.datasets.own_csv import import_log
from course_lib.errors import CourseError

USERS = ["1", "2", "17850.0", "u-7", "", "NaN", " 3 ", "null", "00012", "9" * 25, "é", '"']
TIMES = [
    "2024-03-05 12:00:00",
    "2024-03-05T12:00:01Z",
    "2024-03-05T12:00:02+09:00",
    "05/03/2024",
    "05/03/2024 12:61",
    "1709640000",
    "1709640000000",
    "-1",
    "0",
    "1e12",
    "1e400",
    "9" * 19,
    "0001-01-01",
    "9999-12-31 23:59:59",
    "20240305",
    "yesterday",
    "",
    "NaT",
]
ITEMS = ["a", "b", "85123A", "", "nan", 'say "hi"', "a,b", "a;b", "two\nlines", "cr\rhere", "漢"]
EVENTS = ["view", "pv", "buy", "Purchase", "add to cart", "", "zap", "remove_from_cart"]
PRICES = ["1.5", "1,5", "1.234,50", "1,234.50", "$3", "-2", "free", "", "1e39", "inf", "٣"]
JUNK = [*[b'"'] * 9, *[b"\n"] * 4, b"\n\n", b",", b";", b"\r", b"\r\n", b"\0", b"\xe9"]
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def cells(known: list[str]) -> st.SearchStrategy[str]:
    usual = st.sampled_from(known[:2])
    return st.one_of(usual, usual, usual, usual, st.sampled_from(known), ANYTHING)


@st.composite
def files(draw) -> bytes:
    """A log written properly or sloppily, then perhaps damaged."""
    header = ["user", "time", "item", "event", "price", "note"]
    header = header[: draw(st.sampled_from([6, 6, 6, 5, 4, 3, 2]))]
    pools = [USERS, draw(st.sampled_from([TIMES, TIMES[:2], TIMES[5:6]])), ITEMS, EVENTS, PRICES]
    pools += [["", "x", "'", "\\", "\t"]]
    row = st.tuples(*(cells(pool) for pool in pools)).map(lambda row: list(row[: len(header)]))
    rows = draw(st.lists(row, min_size=draw(st.sampled_from([0, 4, 4, 4])), max_size=9))
    sep = draw(st.sampled_from(",;\t|"))
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    if draw(st.integers(0, 9)):
        csv.writer(text, delimiter=sep, quoting=quoting, lineterminator=end).writerows(
            [header, *rows]
        )
    else:
        text.write(end.join(sep.join(row) for row in [header, *rows]))
    data = text.getvalue().encode(draw(st.sampled_from(["utf-8"] * 5 + ["utf-8-sig", "utf-16"])))
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
        place = draw(st.integers(min(len(data), 40), len(data)))
        junk = draw(st.sampled_from(JUNK))
        data = data[:place] + junk + data[place + draw(st.integers(0, 5)) :]
    if draw(st.integers(0, 5)) == 0:
        data = gzip.compress(data, mtime=0)
    if draw(st.integers(0, 9)) == 0:
        data = data[: draw(st.integers(0, len(data)))]
    return data


def lines_after_header(data: bytes) -> int:
    """Lines of the text below its first line that is not blank."""
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    marked = plain[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = plain.decode("utf-16" if marked else "utf-8-sig")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = lines if lines[-1] else lines[:-1]
    header = next(number for number, line in enumerate(lines) if line.strip())
    return len(lines) - header - 1


SAID = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(["user", "usr", "item"]),
        "item": st.just("item"),
        "event": st.sampled_from(["event", "note"]),
        "sep": st.sampled_from([",", ";", "tab", ""]),
        "map_event": st.sampled_from([{"buy": "purchase"}, {"zap": ""}]),
    },
)
outcomes = {"imported": 0, "refused": 0}


@settings(
    max_examples=520,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=files(), said=st.one_of(st.just({}), st.just({}), st.just({}), SAID))
def hostile_import(folder: Path, data: bytes, said: dict) -> None:
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    path = folder / "log.csv"
    path.write_bytes(data)
    try:
        report = import_log(path, **said)
    except CourseError as error:
        outcomes["refused"] += 1
        assert "\n" not in str(error) and len(str(error)) < 700
        assert not home.exists(), "a refused log leaves nothing"
        return
    outcomes["imported"] += 1
    assert report.read == report.kept + report.quarantined
    assert sum(report.reasons.values()) == report.quarantined
    assert report.read + report.extra_lines == lines_after_header(data)
    aside = own_csv.quarantine(report.name)
    log = own_csv.load(report.name)
    assert len(aside) == report.quarantined
    assert aside["line"].is_unique
    assert len(log) == report.kept == sum(report.events.values())
    assert not log[["user_id", "timestamp", "event"]].isna().any().any()
    assert str(log["timestamp"].dtype) == "datetime64[us, UTC]"
    assert isinstance(log["event"].dtype, pd.CategoricalDtype)
    json.loads((home / "datasets" / report.name / "report.json").read_text(encoding="utf-8"))


def test_five_hundred_hostile_logs(tmp_path, monkeypatch):
    memory = Path("/dev/shm")  # where files cost no disk
    folder = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    monkeypatch.setenv("COURSE_HOME", str(folder / "home"))
    try:
        hostile_import(folder)
    finally:
        shutil.rmtree(folder)
    assert outcomes["imported"] + outcomes["refused"] >= 500
    assert min(outcomes.values()) >= 100, f"one-sided: {outcomes}"
