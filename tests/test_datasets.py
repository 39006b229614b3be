"""Names, cards and readers: every line of a published file is a row of the raw log."""

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from course_lib import datasets
from course_lib.cleaning import clean
from course_lib.datasets import public
from course_lib.datasets.catalogue import CARDS, JD_BEHAVIOURS
from course_lib.errors import CourseError
from course_lib.events import CLOCKS, TASKS, validate_log

COUNTS = {  # rows, users, items, as the logs' own description counts them
    "eshop": (165_474, 24_026, 217),
    "online_retail": (541_909, 4_372, None),
    "rees46": (17_435, 4_505, None),
    "dmm": (562_274, 40_171, 0),
    "yoochoose": (83_846, 17_794 + 3_416, None),
    "beauty": (353_962, 40_226, 54_542),
    "jd": (57_332, 1_000, 9_134),
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty COURSE_DATA, with an empty cache and home beside it."""
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("COURSE_DATA", str(data))
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    return data


@pytest.fixture(scope="module")
def logs(course_data):
    return {name: public.load(name) for name in COUNTS}


def test_names_cards_and_tasks_agree(here):
    assert datasets.names() == list(datasets.BUILT_IN) == ["shopworld", *CARDS]
    for name in datasets.names():
        card = datasets.card(name)
        assert card.name == name
        assert set(card.tasks) <= set(TASKS)
        assert card.clock in CLOCKS
        assert card.event_column in card.columns
        assert {"user_id", "timestamp", "event", "item_id"} <= set(card.columns)
        assert card.licence and card.citation and card.page
        assert card.address in str(card) or not card.files
    assert datasets.serving("purchase_intent") == [
        "shopworld",
        "rees46",
        "dmm",
        "jd",
        "retailrocket",
        "taobao",
    ]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: datasets.load("eshp"), "Unknown dataset 'eshp': did you mean 'eshop'?"),
        (lambda: datasets.card("zzz"), "Unknown dataset 'zzz': choose from beauty"),
        (lambda: datasets.available("tabao"), "did you mean 'taobao'"),
        (lambda: datasets.load("eshop", "quik"), "Unknown profile 'quik': did you mean 'quick'?"),
        (lambda: datasets.load("eshop", seed=-1), "whole number from 0 up, not -1"),
        (lambda: datasets.load("eshop", seed="1"), "whole number from 0 up, not '1'"),
        (lambda: datasets.serving("next_itm"), "did you mean 'next_item'?"),
    ],
)
def test_misspelt_names(here, call, sentence):
    with pytest.raises(CourseError) as error:
        call()
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", COUNTS)
def test_every_line_is_a_row(logs, name):
    log, card = logs[name], datasets.card(name)
    rows, users, items = COUNTS[name]
    assert len(log) == rows
    assert log["user_id"].nunique() == users
    assert items is None or log["item_id"].nunique() == items
    assert list(log.columns) == list(card.columns)
    assert log.index.equals(pd.RangeIndex(rows))
    assert str(log["timestamp"].dtype) == "datetime64[us, UTC]"
    assert log["timestamp"].notna().all()
    for column in {"event", "item_id", "category_id", "brand"} & set(log):
        assert isinstance(log[column].dtype, pd.CategoricalDtype), column
    assert log.attrs["dataset"] == name
    assert log.attrs["tasks"] == list(card.tasks)
    assert log.attrs["clock"] == card.clock
    assert "unreadable" not in log.attrs
    if name != "rees46":
        assert card.rows == rows


def test_eshop_quirks(logs):
    log = logs["eshop"]
    assert not log.isna().any().any()
    assert not log.duplicated().any()
    assert log.groupby("session_id").size().max() == 195
    assert list(log["category_id"].cat.categories) == ["trousers", "skirts", "blouses", "sale"]
    per_model = log.groupby("item_id", observed=True)["category_id"].nunique()
    assert (per_model > 1).sum() == 1
    assert log["timestamp"].max().date().isoformat() == "2008-08-13"
    in_order = log.groupby("session_id")["timestamp"].diff().dropna()
    assert (in_order == pd.Timedelta(seconds=1)).all()


def test_online_retail_quirks(logs):
    log = logs["online_retail"]
    cancelled = log["invoice"].str.startswith("C")
    assert log["invoice"].nunique() == 25_900
    assert round(log["user_id"].isna().mean(), 3) == 0.249
    assert log.duplicated().sum() == 5_268
    assert cancelled.sum() == 9_288
    assert (log["quantity"] < 0).sum() == 10_624
    assert ((log["quantity"] < 0) & ~cancelled).sum() == 1_336
    assert ((log["event"] == "return") == (cancelled | (log["quantity"] < 0))).all()
    assert (log["price"] == 0).sum() == 2_515
    assert (log["price"] < 0).sum() == 2
    assert log["quantity"].agg(["min", "max"]).tolist() == [-80_995, 80_995]


def test_rees46_quirks(logs):
    log = logs["rees46"]
    assert log["event"].value_counts().to_dict() == {"view": 17_056, "purchase": 214, "cart": 165}
    assert log["session_id"].nunique() == 5_066
    assert log["session_id"].isna().tolist() == [False] * 17_434 + [True], "the torn last line"
    assert log.duplicated().sum() == 5
    assert (log["price"] == 0).sum() == 19
    assert round(log["category_path"].isna().mean(), 2) == 0.33
    pairs = log[["session_id", "user_id"]].dropna().drop_duplicates()
    assert pairs["session_id"].duplicated().sum() == 1
    buying = log[log["session_id"].isin(log["session_id"][log["event"] == "purchase"])]
    has_cart = (buying["event"] == "cart").groupby(buying["session_id"]).any()
    assert (len(has_cart), (~has_cart).sum()) == (200, 135)


def test_dmm_quirks(logs):
    log = logs["dmm"]
    sessions = log.groupby("session_id")["session_purchase"]
    assert (sessions.min() == sessions.max()).all()
    assert round(sessions.first().mean(), 3) == 0.243
    gaps = log.groupby("session_id")["timestamp"].diff().dropna()
    assert (gaps > pd.Timedelta(minutes=30)).sum() == 12_440
    visits = log.groupby("visit_id")
    assert log["visit_id"].max() + 1 == len(visits) == 24_236
    assert (visits["session_purchase"].min() == visits["session_purchase"].max()).all()
    copied = visits["session_id"].nunique()
    assert copied.max() == 5
    assert round(copied[copied > 1].sum() / copied.sum(), 3) == 0.695
    seconds = log.groupby("session_id")["timestamp"].agg(tuple)
    visit = log.groupby("session_id")["visit_id"].first()
    assert seconds.nunique() == pd.DataFrame({"s": seconds, "v": visit}).drop_duplicates().shape[0]
    assert log.attrs["decision_events"] == ["page_6"]
    with_6 = (log["event"] == "page_6").groupby(log["session_id"]).any()
    assert round(sessions.first()[with_6].mean(), 2) == 0.60


def test_yoochoose_beauty_and_jd_quirks(logs):
    clicks = logs["yoochoose"]
    assert clicks["item_id"][:70_278].nunique() == 2_933
    assert clicks["timestamp"].iloc[0] == pd.Timestamp("2014-04-02 11:17:46.940", tz="UTC")
    beauty = logs["beauty"]
    assert not beauty.duplicated(["user_id", "item_id"]).any()
    position = beauty.groupby("user_id").cumcount()
    assert (beauty["timestamp"] == pd.Timestamp(0, tz="UTC") + pd.to_timedelta(position, "s")).all()
    jd = logs["jd"]
    assert jd["category_id"].nunique() == 71
    assert set(jd["event"]) == set(JD_BEHAVIOURS.values())
    assert jd.groupby("session_id").size().agg(["min", "max"]).tolist() == [40, 236]
    starts = jd.groupby("session_id")["timestamp"]
    assert (starts.first() == pd.Timestamp(0, tz="UTC")).all()
    ahead = (starts.shift(-1) - jd["timestamp"]).dt.total_seconds()
    assert (ahead.dropna() == jd["interval"][ahead.notna()]).all()


def test_the_publishers_own_layouts_read_the_same(here, course_data, logs):
    """UCI's zip with CRLF, an XLSX, JD's lines: the same log as from COURSE_DATA."""
    plain = gzip.decompress(
        (course_data / "eshop_clothing_2008" / "e-shop clothing 2008.csv.gz").read_bytes()
    )
    with zipfile.ZipFile(here / "clickstream+data+for+online+shopping.zip", "w") as archive:
        archive.writestr("e-shop clothing 2008 data description.txt", "about it")
        archive.writestr("e-shop clothing 2008.csv", plain.replace(b"\n", b"\r\n"))
    assert datasets.load("eshop").equals(logs["eshop"])

    jd = logs["jd"]
    code = jd["event"].map({name: code for code, name in JD_BEHAVIOURS.items()}).astype("str")
    parts = [jd["item_id"], code, jd["category_id"], jd["interval"], jd["dwell"]]
    first, *others = [part.astype("str") for part in parts]
    cells = first.str.cat(others, sep="+")
    text = "\n".join(cells.groupby(jd["session_id"]).agg(" ".join)) + "\n"
    assert len(text) == CARDS["jd"].size
    (here / "JD_Applicances_sample").write_text(text)
    assert datasets.load("jd").equals(jd)

    source = course_data / "online_retail" / "Online Retail.csv.gz"
    table = pd.read_csv(source, nrows=3_000, dtype={"InvoiceNo": "str", "StockCode": "str"})
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Online Retail")
    sheet.append(list(table))
    for row in table.astype("object").where(table.notna(), None).itertuples(index=False):
        cells = [int(cell) if isinstance(cell, str) and cell.isdigit() else cell for cell in row]
        cells[4] = pd.Timestamp(cells[4]).to_pydatetime()
        sheet.append(cells)
    sheet_file = io.BytesIO()
    book.save(sheet_file)
    with zipfile.ZipFile(here / "online+retail.zip", "w") as archive:
        archive.writestr("Online Retail.xlsx", sheet_file.getvalue())
    first = datasets.load("online_retail")
    assert first.astype("str").equals(logs["online_retail"][:3_000].astype("str"))
    kept = list((here.parent / "cache" / "parsed").iterdir())
    assert len(kept) == 1, "a workbook is parsed once"
    assert datasets.load("online_retail").equals(first)


RETAILROCKET = (
    "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n"
    "1433224214164,992329,addtocart,248676,\n"
    "1433222276276,111016,transaction,318965,7\n"
)
TAOBAO = (
    "1,2268318,2520377,pv,1511544070\n"
    "1,2333346,2520771,buy,1511561733\n"
    "2,2576651,149192,cart,-1511572885\n"
    "3,2576651,149192,fav,1511572885\n"
)


@pytest.mark.parametrize("packed", ["", ".gz", ".zip"])
def test_retailrocket_and_taobao_layouts(here, packed):
    def put(path: Path, text: str) -> None:
        path.parent.mkdir(exist_ok=True)
        if packed == ".zip":
            with zipfile.ZipFile(f"{path}.zip", "w") as archive:
                archive.writestr(path.name, text)
        else:
            data = text.encode()
            Path(f"{path}{packed}").write_bytes(gzip.compress(data) if packed else data)

    put(here / "taobao" / "UserBehavior.csv", TAOBAO)
    put(here / "events.csv", RETAILROCKET)
    taobao, rocket = datasets.load("taobao"), datasets.load("retailrocket")
    assert taobao["event"].tolist() == ["view", "purchase", "cart", "favorite"]
    assert taobao["timestamp"].iloc[0] == pd.Timestamp("2017-11-24 17:21:10", tz="UTC")
    assert taobao["timestamp"].iloc[2].year == 1922, "kept: cleaning judges it"
    assert rocket["event"].tolist() == ["view", "cart", "purchase"]
    assert rocket["timestamp"].iloc[0] == pd.Timestamp("2015-06-02 05:02:12.117", tz="UTC")
    assert rocket["transaction_id"].isna().tolist() == [True, True, False]
    assert not datasets.available("dmm"), "events.csv here is another log's"


def test_sessions_of_dmm_with_the_same_seconds_are_one_visit(here):
    (here / "events.csv").write_text(
        "session,pos,page_type,cum_time_s,purchase\n"
        "7,0,1,0,0\n7,1,2,5.5,0\n7,2,2,9,0\n"
        "3,0,1,0,1\n3,1,2,9,1\n3,2,2,5.5,1\n"  # the same seconds, filed in another order
        "4,0,1,0,0\n4,1,1,5.5,0\n"  # the beginning of them
        "5,0,3,0,0\n5,1,3,5.5,0\n5,2,4,9,0\n"
        "6,0,1,0,0\n6,1,1,2.75,0\n6,2,1,11.75,0\n"  # other seconds with the same sum
        ",1,2,5.5,0\n"
        "8,0,1"
    )
    log = datasets.load("dmm")
    visit = log["visit_id"].groupby(log["session_id"]).first()
    assert visit.to_dict() == {3: 0, 4: 1, 5: 0, 6: 2, 7: 0, 8: 3}
    assert log["visit_id"].isna().tolist() == [False] * 14 + [True, False]
    cleaned = clean(log)
    assert cleaned.log["visit_id"].dtype == "int64"
    assert cleaned.log.groupby("session_id")["visit_id"].first().to_dict() == {
        3: 0,
        4: 1,
        5: 0,
        6: 2,
        7: 0,
    }
    validate_log(cleaned.log)


def test_whole_yoochoose_is_read(here):
    (here / "yoochoose-clicks.dat").write_text(
        "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,S\n"
    )
    log = datasets.load("yoochoose")
    assert log["timestamp"].iloc[0] == pd.Timestamp("2014-04-07 10:51:09.277", tz="UTC")
    assert log["category_id"].tolist() == ["0", "S"]


def test_odd_lines_stay_rows(here):
    """A torn line, a blank one and values of the wrong kind: missing, counted, not dropped."""
    (here / "UserBehavior.csv").write_text(TAOBAO + "\nx,1,2,pv,1511544070\n4,5,6,zap,9e99\n5,6")
    log = datasets.load("taobao")
    assert len(log) == 8
    assert log["user_id"].isna().tolist() == [False] * 4 + [True, True, False, False]
    assert log["event"].iloc[6] == "zap"
    assert log["timestamp"].isna().tolist() == [False] * 4 + [True, False, True, True]
    assert log.attrs["unreadable"] == {"user": 1, "time": 1}


def test_quick_profile_reads_whole_users_of_a_large_log(here, monkeypatch):
    generator = np.random.default_rng(5)
    rows = zip(
        generator.integers(1, 4_000, 20_000),
        generator.integers(1, 99, 20_000),
        generator.integers(1, 9, 20_000),
        ["pv"] * 20_000,
        generator.integers(1511544070, 1511572885, 20_000),
        strict=True,
    )
    with (here / "UserBehavior.csv").open("w") as file:
        csv.writer(file).writerows(rows)
    monkeypatch.setattr(public, "SAMPLED_FROM", 1_000)
    monkeypatch.setattr(public, "CHUNK", 3_000)
    whole = datasets.load("taobao", "full")
    quick = datasets.load("taobao", "quick", seed=1)
    assert len(whole) == 20_000
    assert 0 < quick["user_id"].nunique() < 60
    of_these = whole[whole["user_id"].isin(quick["user_id"])]
    assert of_these["timestamp"].tolist() == quick["timestamp"].tolist()
    assert quick.attrs["sample"] == "one user in 200, by hash with seed 1"
    other = datasets.load("taobao", "quick", seed=2)
    assert set(other["user_id"]) != set(quick["user_id"])


def test_missing_files_say_what_to_do(here, monkeypatch):
    for name in ("retailrocket", "taobao", "dmm"):
        assert not datasets.available(name)
        with pytest.raises(CourseError) as error:
            datasets.load(name)
        message = str(error.value)
        assert CARDS[name].page in message and "COURSE_DATA" in message and "\n" not in message
    with pytest.raises(CourseError, match=r"large \(1.7 GB\): fetch it with .course data fetch"):
        datasets.load("rees46")
    monkeypatch.setenv("COURSE_DATA", str(here / "nowhere"))
    with pytest.raises(CourseError, match=r"names .* which is no folder"):
        datasets.load("eshop")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("beauty.txt.gz", gzip.compress(b"1 1\n" * 50_000, mtime=0)[:-40], "torn"),
        ("beauty.txt.gz", b"1 1\n1 2\n", "no real gz file"),
        ("beauty.txt.zip", b"PK\x03\x04torn", "no real zip file"),
        ("beauty.txt", b"user,item\n1,1\n", "starts with 'user,item'"),
        ("beauty.txt", b"1 1\n1 2 3\n", "cannot be read as a table"),
        ("beauty.txt", b"1 1\n1 \xff\n", "no UTF-8 text"),
    ],
)
def test_broken_files_are_one_sentence(here, name, content, sentence):
    folder = here / "beauty"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(CourseError, match=sentence) as error:
        datasets.load("beauty")
    assert "\n" not in str(error.value)


def test_names_and_cards_need_no_pandas():
    code = "import sys; from course_lib import datasets; datasets.BUILT_IN; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pandas", "tensorflow", "pooch", "requests"} & set(loaded)
