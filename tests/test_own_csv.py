"""Importing your own log: what is understood, what is refused in one sentence."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from course_lib import datasets
from course_lib.datasets import own_csv
from course_lib.datasets.own_csv import import_log
from course_lib.errors import CourseError
from course_lib.events import sort_log, validate_log

NOON = pd.Timestamp("2024-03-05 12:00:00", tz="UTC")
HEADER = "user,time,item,event"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home of one's own, and the test's folder as the current one."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def write(text: str, name: str = "my.csv", encoding: str = "utf-8") -> Path:
    path = Path(name)
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows(count: int, **columns: object) -> str:
    """A log of `count` good rows, a minute apart, two users, with some columns changed."""
    table = pd.DataFrame(
        {
            "user": np.arange(count) % 2 + 1,
            "time": (NOON + pd.to_timedelta(np.arange(count), unit="min")).strftime("%F %T"),
            "item": [f"a{number % 3}" for number in range(count)],
            "event": ["view", "purchase"] * (count // 2) + ["view"] * (count % 2),
        }
    )
    return table.assign(**columns).to_csv(index=False)


def test_import_then_load(home):
    report = import_log(write(rows(6)), name="shop")
    assert (report.read, report.kept, report.quarantined) == (6, 6, 0)
    assert report.tasks == ("next_event", "purchase_intent", "next_item")
    assert datasets.names() == [*datasets.BUILT_IN, "shop"]
    assert "shop" in datasets.serving("purchase_intent")
    assert datasets.card("shop").rows == 6
    log = datasets.load("shop")
    assert log.attrs["dataset"] == "shop"
    assert log.attrs["clock"] == "time"
    assert log["timestamp"].iloc[1] == NOON + pd.Timedelta(minutes=1)
    validate_log(sort_log(log))
    assert own_csv.report("shop") == report
    assert str(report) == (home / "datasets" / "shop" / "report.txt").read_text().rstrip("\n")
    assert "read 6 rows = 6 kept + 0 quarantined" in str(report)


def test_an_imported_log_is_found_from_every_folder_of_the_course(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_HOME")
    for name in ("notebooks", "exercises"):
        (tmp_path / name).mkdir()
    import_log(write(rows(6)), name="shop")
    for folder in (tmp_path / "notebooks", tmp_path / "exercises", tmp_path):
        monkeypatch.chdir(folder)
        assert own_csv.names() == ["shop"]
        assert len(datasets.load("shop")) == 6
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("COURSE_ROOT", str(tmp_path))
    assert own_csv.names() == ["shop"]


def test_a_shop_s_own_visit_id_does_not_say_that_sessions_are_copies():
    import_log(write(rows(4, visit_id=5)), name="visits")
    assert datasets.load("visits")["session_id"].tolist() == [5] * 4
    import_log(
        write(rows(4, visit_id=5, session_id=[1, 2, 3, 4])), name="both", session="session_id"
    )
    log = datasets.load("both")
    assert "visit_id" not in log
    assert log["visit_id_in_file"].astype(int).tolist() == [5] * 4


def test_every_row_is_accounted_for():
    path = write(
        "who;when;sku;what;preis\n"
        "1;2024-03-05 12:00:00;A;pv;1.234,50\n"
        "1;2024-03-05 12:01:00;A;buy;12,00\n"
        "\n"
        "2;yesterday;B;pv;3\n"
        "NaN;2024-03-05 12:01:00;B;pv;3\n"
        '3;2024-03-05 13:00:00;"B\nC; D";pv;cheap\n'
        '3;2024-03-05 13:00:00;"B;pv;3\n'
        "3;;B;pv;3\n"
        "3;2024-03-05 13:01:00;;search;\n"
        "3;2024-03-05 13:02:00;B;;3\n"
        "3;2024-03-05 13:0"
    )
    report = import_log(
        path,
        user="who",
        time="when",
        item="sku",
        event="what",
        price="preis",
        map_event={"buy": "purchase"},
    )
    assert (report.read, report.kept, report.quarantined) == (11, 4, 7)
    assert report.reasons == {
        "2 values instead of 5": 1,
        "a quote is not closed": 1,
        "blank line": 1,
        "no what": 1,
        "no when": 1,
        "no who": 1,
        "when is no time": 1,
    }
    assert report.repaired == {"preis": 1}
    assert report.extra_lines == 1
    aside = own_csv.quarantine("my").set_index("line")
    assert aside.index.tolist() == [4, 5, 6, 9, 10, 12, 13]
    assert aside.loc[5, "text"] == "2;yesterday;B;pv;3"
    log = datasets.load("my")
    assert log["event"].tolist() == ["view", "purchase", "view", "search"]
    assert log["item_id"].iloc[2] == "B\nC; D"
    assert log["item_id"].isna().tolist() == [False, False, False, True]
    np.testing.assert_allclose(log["price"], [1234.5, 12, np.nan, np.nan])
    table = report.table()
    assert table["rows"].sum() == report.read + sum(report.repaired.values())


@pytest.mark.parametrize(
    ("written", "guess"),
    [
        ("1709640000", "unix seconds"),
        ("1709640000.0", "unix seconds"),
        ("1709640000000", "unix milliseconds"),
        ("1709640000000000", "unix microseconds"),
        ("1709640000000000000", "unix nanoseconds"),
        ("2024-03-05 12:00:00", "%Y-%m-%d %H:%M:%S"),
        ("2024-03-05T12:00:00Z", "ISO 8601"),
        ("2024-03-05T13:00:00+01:00", "ISO 8601"),
        ("2024-03-05 12:00:00 UTC", "%Y-%m-%d %H:%M:%S UTC"),
        ("05.03.2024 12:00", "%d.%m.%Y %H:%M"),
        ("3/5/2024 12:00:00 PM", "%m/%d/%Y %I:%M:%S %p"),
        ("20240305120000", "%Y%m%d%H%M%S"),
    ],
)
def test_times(written, guess):
    report = import_log(write(f"user,time,item\n1,{written},a\n2,{written},b\n"))
    assert any(guess in sentence for sentence in report.guesses), report.guesses
    assert (datasets.load("my")["timestamp"] == NOON).all()


def test_days_and_months_are_told_apart_by_the_whole_file():
    dates = [f"{day:02d}/03/2024" for day in (1, 2, 5, 9, 12)]
    text = "user,time,item\n" + "".join(f"1,{date},a\n" for date in dates)
    report = import_log(write(text))
    assert any("%d/%m/%Y" in guess and "otherwise too" in guess for guess in report.guesses)
    assert report.clock == "day"
    assert report.last.startswith("2024-03-12")
    clear = import_log(write(text + "1,03/25/2024,a\n" * 9))
    assert clear.last.startswith("2024-12-03") or clear.last.startswith("2024-03-25")
    assert any("%m/%d/%Y" in guess for guess in clear.guesses)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["my.csv", "my.tsv.gz"])
def test_separators_encodings_and_gzip(encoding, sep, name):
    text = rows(4, item=["é", "ß", "漢", "é"]).replace(",", sep)
    report = import_log(write(text.replace("\n", "\r\n"), name, encoding), name="my")
    assert datasets.load("my")["item_id"].tolist() == ["é", "ß", "漢", "é"]
    assert f"columns are separated by {sep!r}" in report.guesses


def test_another_encoding_is_taken_when_said():
    path = write(rows(2, item=["é", "ß"]), encoding="cp1252")
    with pytest.raises(CourseError, match=r"no UTF-8 text .* say --encoding cp1252"):
        import_log(path)
    import_log(path, encoding="cp1252")
    assert datasets.load("my")["item_id"].tolist() == ["é", "ß"]


def test_parquet_keeps_types(home):
    table = pd.DataFrame(
        {
            "user_id": pd.array([10**15 + 1, None, 3, 3], dtype="Int64"),
            "timestamp": (NOON + pd.to_timedelta([0, 1, 2, 3], unit="s")).tz_convert("Asia/Tokyo"),
            "item_id": [1.0, 2.0, np.nan, 2.0],
            "price": [1.5, 2.5, 3.5, np.nan],
            "tags": [["a"], [], None, ["b", "c"]],
        }
    )
    table.to_parquet("my.parquet")
    report = import_log("my.parquet")
    assert (report.read, report.kept) == (4, 2)
    assert report.reasons == {"no item_id": 1, "no user_id": 1}
    log = datasets.load("my")
    assert log["user_id"].tolist() == [10**15 + 1, 3]
    assert log["item_id"].tolist() == [1, 2]
    assert log["timestamp"].iloc[0] == NOON
    assert own_csv.quarantine("my")["line"].tolist() == [2, 3]
    Path("my.parquet").write_bytes(Path("my.parquet").read_bytes()[:-30])
    with pytest.raises(CourseError, match="torn or no Parquet"):
        import_log("my.parquet", name="other")


def test_events_of_other_shops_are_understood():
    events = ["pageview", "Add-To-Cart", "order", "Zoom In"]
    report = import_log(write(rows(4, event=events)), map_event={"pageview": "search"})
    assert datasets.load("my")["event"].tolist() == ["search", "cart", "purchase", "zoom_in"]
    assert "event 'Zoom In' is 'zoom_in'" in report.guesses
    assert not any("pageview" in guess for guess in report.guesses)


def test_a_log_without_events_has_views_and_one_task():
    report = import_log(write("user,time,item\n1,1709640000,a\n1,1709640060,b\n"))
    assert report.events == {"view": 2}
    assert report.tasks == ("next_item",)


def test_out_stores_elsewhere_and_is_known(home, tmp_path):
    report = import_log(write(rows(4)), name="shop", out=tmp_path / "store")
    assert Path(report.folder) == tmp_path / "store" / "shop"
    assert len(datasets.load("shop")) == 4
    assert own_csv.names() == ["shop"]


def test_a_second_import_replaces_the_first_or_leaves_it(home):
    import_log(write(rows(4)), name="shop")
    import_log(write(rows(8)), name="shop")
    assert len(datasets.load("shop")) == 8
    with pytest.raises(CourseError):
        import_log(write(rows(8).replace("2024", "never")), name="shop")
    assert len(datasets.load("shop")) == 8
    assert [entry.name for entry in (home / "datasets").iterdir()] == ["shop"]


def test_a_failure_while_writing_leaves_the_old_log(home, monkeypatch):
    import_log(write(rows(4)), name="shop")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    with pytest.raises(CourseError, match=r"cannot be written \(No space left on device\)"):
        import_log(write(rows(8)), name="shop")
    assert len(datasets.load("shop")) == 4
    assert [entry.name for entry in (home / "datasets").iterdir()] == ["shop"]


def test_a_damaged_import_says_so(home):
    import_log(write(rows(4)), name="shop")
    (home / "datasets" / "shop" / "log.parquet").write_bytes(b"PAR1")
    with pytest.raises(CourseError, match="damaged; import it again"):
        datasets.load("shop")


GOOD = rows(4)
BAD = {
    "missing file": (None, {}, "There is no file"),
    "empty": ("", {}, "my.csv is empty"),
    "blank lines only": ("\n\n  \n", {}, "my.csv is empty"),
    "header only": (HEADER + "\n", {}, "has a header but no rows"),
    "no header": (GOOD.split("\n", 1)[1], {}, "has no header: its first line is '1,2024-03-05"),
    "no header, columns named": (
        GOOD.split("\n", 1)[1],
        {"user": "user", "time": "time", "item": "item"},
        "has no header",
    ),
    "wrong separator": (GOOD, {"sep": ";"}, "is not separated by ';'.*say --sep ','"),
    "odd separator": (GOOD, {"sep": "<>"}, "cannot separate columns"),
    "one column": ("user\n1\n", {}, "has one column only"),
    "wrong encoding": (GOOD.replace("a1", "é").encode("latin-1"), {}, "is no UTF-8 text"),
    "no text": (GOOD.encode("utf-16-le"), {}, "holds zero bytes"),
    "unknown encoding": (GOOD, {"encoding": "utf-9"}, "There is no encoding 'utf-9'"),
    "missing column": (GOOD, {"user": "usr"}, "no column 'usr' for the user: did you mean 'user'"),
    "unguessable column": (
        GOOD.replace("user", "whom", 1),
        {},
        "Which column .* is the user.* say --user NAME",
    ),
    "column twice": (GOOD.replace("event", "item"), {"item": "item"}, "2 columns called 'item'"),
    "column twice, guessed": (GOOD.replace("event", "user"), {}, "2 columns called 'user'"),
    "one column for two": (GOOD, {"item": "user", "user": "user"}, "both the user and the item"),
    "no times": (GOOD.replace("2024", "year"), {}, "4 of 4 values in column 'time' .* no times"),
    "small numbers as times": ("user,time,item\n1,17,a\n2,18,b\n", {}, "are no times"),
    "empty times": ("user,time,item\n1,,a\n2,NULL,b\n", {}, "'time' of my.csv is empty"),
    "all rows aside": ("user,time,item\n,1709640000,a\n", {}, "None of the 1 rows"),
    "misspelt event": (GOOD, {"map_event": {"veiw": "search"}}, "did you mean 'view'"),
    "event to nothing": (GOOD, {"map_event": {"view": " "}}, "mapped to nothing"),
    "events unmappable": (
        "user,time,item\n1,1709640000,a\n",
        {"map_event": {"buy": "purchase"}},
        "nothing to map",
    ),
    "too many events": (
        rows(400, event=[f"event {number}" for number in range(400)]),
        {},
        "400 different values",
    ),
    "built-in name": (GOOD, {"name": "eshop"}, "name of a built-in log"),
    "odd name": (GOOD, {"name": "../x"}, "cannot name a log"),
    "workbook": (b"PK\x03\x04rest", {}, "an archive or a workbook"),
    "torn gzip": (gzip.compress(rows(999).encode(), mtime=0)[:-20], {}, "is a torn gzip file"),
    "long value": (f"{GOOD}1,{'x' * 200_000},a,view\n", {}, "Line 6 .* more than 100,000"),
    "long quoted value": (f'{GOOD}1,"{"x" * 200_000}",a,view\n', {}, "Line 6 .* more than 100,0"),
    "no Parquet": (b"PAR1 but not really", {}, "torn or no Parquet"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_writes_nothing(case, home):
    content, said, sentence = BAD[case]
    if content is not None:
        Path("my.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CourseError, match=sentence) as error:
        import_log("my.csv", **said)
    assert "\n" not in str(error.value)
    assert not home.exists()


def test_a_200_mb_value_is_refused_in_little_memory(home):
    resource = pytest.importorskip("resource")
    with gzip.open("my.csv.gz", "wb", compresslevel=1) as stream:
        stream.write(f"{HEADER}\n1,1709640000,".encode())
        for _ in range(200):
            stream.write(b"x" * 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CourseError, match=r"Line 2 of my.csv.gz is longer than 1,000,000"):
        import_log("my.csv.gz")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after - before < 50_000, "kilobytes"
    assert not home.exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind here")
def test_an_unreadable_file_is_one_sentence():
    write(GOOD).chmod(0)
    with pytest.raises(CourseError, match="cannot be read"):
        import_log("my.csv")


def test_a_folder_that_holds_something_else_is_not_replaced(home, tmp_path):
    (tmp_path / "store" / "shop").mkdir(parents=True)
    (tmp_path / "store" / "shop" / "precious.txt").write_text("mine")
    with pytest.raises(CourseError, match="holds no imported log"):
        import_log(write(GOOD), name="shop", out=tmp_path / "store")
    assert (tmp_path / "store" / "shop" / "precious.txt").exists()
