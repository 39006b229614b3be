"""The item rankers against loops over tiny sessions, and what must not change their mind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from course_lib.baselines.ranking import (
    ItemMarkov,
    NearestSessions,
    Popularity,
    SequentialRules,
    Visits,
    item_baselines,
    largest,
)
from course_lib.baselines.ranks import rank_of_target
from course_lib.baselines.reranker import Reranker
from course_lib.errors import CourseError
from course_lib.sessions import next_item


def _log(sessions: list[str], catalogue: str | None = None) -> pd.DataFrame:
    """One letter an item, a dot a row without item; sessions in order."""
    items = [letter if letter != "." else None for session in sessions for letter in session]
    number = np.repeat(np.arange(len(sessions)), [len(session) for session in sessions])
    known = sorted(catalogue or {item for item in items if item})
    return pd.DataFrame(
        {
            "user_id": number,
            "session_id": number,
            "timestamp": pd.Timestamp("2024-01-01", tz="UTC")
            + pd.to_timedelta(np.arange(len(items)), unit="min"),
            "event": pd.Categorical(["view"] * len(items)),
            "item_id": pd.Categorical(items, categories=list(known)),
        }
    )


def _random_log(seed: int, sessions: int = 60, letters: str = "abcdefghij.") -> pd.DataFrame:
    random = np.random.default_rng(seed)
    weight = np.arange(len(letters), 0, -1.0)
    return _log(
        [
            "".join(random.choice(list(letters), random.integers(2, 9), p=weight / weight.sum()))
            for _ in range(sessions)
        ],
        letters.replace(".", ""),
    )


def _dense(ranker, log, rows=None) -> np.ndarray:
    return ranker.score(log, rows).toarray()


def test_rules_by_hand():
    log = _log(["abc", "ab"])
    rules = SequentialRules(steps=2, history=2).fit(log).rules_.toarray()
    assert rules.tolist() == [[0, 2, 0.5], [0, 0, 1], [0, 0, 0]]
    scores = _dense(SequentialRules(steps=2, history=2).fit(log), log)
    # after "ab": b says c once, a (one step back, weight 1/2) says b twice and c one half
    assert scores[1].tolist() == [0, 1.0, 1.25]


def test_a_row_without_item_is_passed_over_and_a_session_is_a_border():
    log = _log(["a.b", ".ab"])
    rules = SequentialRules(steps=3, history=1).fit(log).rules_.toarray()
    assert rules.tolist() == [[0, 2], [0, 0]]
    assert Visits(log).last.tolist() == [0, 0, 1, -1, 2, 3]
    assert _dense(SequentialRules().fit(log), log)[3].tolist() == [0, 0], "nothing seen yet"


def test_chain_backs_off_by_hand():
    log = _log(["abc", "abc", "bd", "bd", "bd"])
    chain = ItemMarkov(order=2, smoothing=1.0).fit(log)
    scores = _dense(chain, _log(["ab", "cb"], "abcd"))
    after_b = np.array([0, 0, 2, 3]) / 5
    assert scores[3] == pytest.approx(after_b), "cb was never seen: the chain falls back on b"
    assert scores[1] == pytest.approx((np.array([0, 0, 2, 0]) + after_b) / 3)


def _slow_scores(log: pd.DataFrame, kind: str) -> np.ndarray:
    """Rules, chain and neighbours as loops, from their definitions."""
    codes = log["item_id"].cat.codes.to_numpy()
    items = len(log["item_id"].cat.categories)
    sessions = [
        [int(code) for code in codes[log["session_id"] == number] if code >= 0]
        for number in log["session_id"].unique()
    ]
    result = np.zeros((len(log), items))
    shown: dict[int, list[int]] = {}
    popularity = np.bincount([item for session in sessions for item in session], minlength=items)
    for row, (number, code) in enumerate(zip(log["session_id"], codes, strict=True)):
        past = shown.setdefault(number, [])
        if code >= 0:
            past.append(int(code))
        recent = list(enumerate(reversed(past), start=1))
        if kind == "rules":
            for ago, item in recent[:3]:
                for session in sessions:
                    for first in range(len(session)):
                        for second in range(first + 1, min(first + 3, len(session))):
                            if session[first] == item:
                                result[row, session[second]] += 1 / ago / (second - first)
        elif kind == "chain" and past:
            pairs = [pair for session in sessions for pair in pairwise(session)]
            after = [second for first, second in pairs if first == past[-1]]
            for item in after:
                result[row, item] += 1 / len(after)
        elif kind == "neighbours":
            likeness = {}
            for other, session in enumerate(sessions):
                if other != number and session:
                    shared = sum(
                        1 / ago / np.sqrt(popularity[item])
                        for ago, item in recent[:20]
                        if item in session
                    )
                    likeness[other] = shared / np.sqrt(len(set(session)))
            for other in sorted(likeness, key=lambda o: -likeness[o])[:10]:
                for item in set(sessions[other]):
                    result[row, item] += likeness[other]
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "ranker"),
    [
        ("rules", SequentialRules(steps=2, history=3)),
        ("chain", ItemMarkov(1)),
    ],
)
def test_equal_to_loops(kind, ranker, seed):
    log = _random_log(seed)
    assert _dense(ranker.fit(log), log) == pytest.approx(_slow_scores(log, kind))


def test_nearest_sessions_equal_a_loop_where_no_neighbours_tie():
    log = _random_log(5, sessions=9)  # fewer sessions than neighbours: all of them vote
    ranker = NearestSessions(neighbours=10).fit(log)
    assert _dense(ranker, log) == pytest.approx(_slow_scores(log, "neighbours"))


def test_rules_of_one_step_rank_like_the_chain():
    log = _random_log(1)
    labels = next_item(log)
    chain = ItemMarkov(1).fit(log).rank(log, labels)
    rules = SequentialRules(steps=1, history=1).fit(log).rank(log, labels)
    np.testing.assert_array_equal(chain, rules)


def test_norms_and_directions():
    log = _random_log(2)
    forward = SequentialRules().fit(log).rules_.toarray()
    backward = SequentialRules(direction="backward").fit(log).rules_.toarray()
    both = SequentialRules(direction="both", norm="cosine").fit(log)
    np.testing.assert_allclose(backward, forward.T)
    root = np.sqrt(np.outer(both.counts_, both.counts_))
    np.testing.assert_allclose(both.rules_.toarray(), (forward + forward.T) / root)
    shares = SequentialRules(norm="source").fit(log).rules_.toarray().sum(axis=1)
    assert set(np.round(shares, 12)) <= {0.0, 1.0}


@pytest.mark.parametrize("name", item_baselines())
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_rank_and_recommend_agree_with_dense_scores(name, exclude_seen):
    log = _random_log(3)
    labels = next_item(log)
    asked = labels.notna().to_numpy()
    ranker = item_baselines(exclude_seen)[name].fit(log)
    dense, targets = _dense(ranker, log), labels.cat.codes.to_numpy(np.int64)
    seen = Visits(log).seen(Visits(log).last).toarray() > 0
    seen = seen if exclude_seen else np.zeros_like(seen)
    expected = rank_of_target(dense, targets, ranker.counts_, seen)
    np.testing.assert_array_equal(ranker.rank(log, labels)[asked], expected[asked])
    best = ranker.recommend(log, k=2)
    shape = dense.shape
    order = np.lexsort(
        (
            np.broadcast_to(np.arange(shape[1]), shape),
            np.broadcast_to(-ranker.counts_, shape),
            np.where(seen, np.inf, -dense),
        )
    )
    enough = (~seen).sum(axis=1) >= 2
    np.testing.assert_array_equal(best[enough], order[enough][:, :2])


def test_what_is_not_selected_is_not_counted():
    log = _random_log(4)
    rows = (log["session_id"] < 30).to_numpy()
    other = log.copy()
    codes = log["item_id"].cat.codes.to_numpy().copy()
    codes[~rows] = 0
    other["item_id"] = pd.Categorical.from_codes(codes, dtype=log["item_id"].dtype)
    for name, ranker in item_baselines().items():
        before = _dense(ranker.fit(log, rows), log)
        np.testing.assert_array_equal(before, _dense(ranker.fit(other, rows), log), err_msg=name)


def test_a_row_sees_nothing_after_it():
    log = _random_log(6)
    changed = log.copy()
    codes = log["item_id"].cat.codes.to_numpy().copy()
    row = int(np.flatnonzero(log["session_id"] == 30)[2])
    codes[row + 1 :] = 2
    changed["item_id"] = pd.Categorical.from_codes(codes, dtype=log["item_id"].dtype)
    for ranker in item_baselines().values():
        ranker.fit(log, (log["session_id"] < 30).to_numpy())
        np.testing.assert_array_equal(
            _dense(ranker, log)[: row + 1], _dense(ranker, changed)[: row + 1]
        )


def test_a_cold_item_is_ranked_last_and_said_to_be_cold():
    log = _log(["abc", "abc", "abz"], "abcxyz")
    rows = np.array([True] * 6 + [False] * 3)
    ranker = ItemMarkov(1).fit(log, rows)
    labels = next_item(log)
    ranks = ranker.rank(log, labels, ~rows)
    assert ranks[7] == pytest.approx((4 + 5 + 6) / 3), "x, y and z tie behind what was seen"
    assert ranker.cold(log, labels).tolist() == [False] * 7 + [True, False]


@pytest.mark.parametrize("seed", range(20))
def test_largest_keeps_the_best_of_each_row(seed):
    from scipy.sparse import csr_array

    random = np.random.default_rng(seed)
    table = random.integers(0, 4, (6, 9)).astype(float)  # many ties
    k = int(random.integers(1, 5))
    expected = np.zeros_like(table)
    for row, values in enumerate(table):
        best = sorted(np.flatnonzero(values), key=lambda column: (-values[column], column))[:k]
        expected[row, best] = values[best]
    np.testing.assert_array_equal(largest(csr_array(table), k).toarray(), expected)


def _world(sessions: int, seed: int) -> pd.DataFrame:
    """Items in pairs: what comes next is the partner of the item before the last."""
    random = np.random.default_rng(seed)
    letters = [chr(97 + number) for number in range(20)]
    told = []
    for _ in range(sessions):
        walk = [int(x) for x in random.integers(0, 20, 2)]
        for _ in range(5):
            walk.append(walk[-2] ^ 1 if random.random() < 0.8 else int(random.integers(0, 20)))
        told.append("".join(letters[item] for item in walk))
    return _log(told, "".join(letters))


def test_the_reranker_finds_what_its_signals_only_hint_at():
    log = _world(800, 1)
    labels = next_item(log)
    train = (log["session_id"] < 600).to_numpy()
    asked = ~train & labels.notna().to_numpy()
    ranker = Reranker(candidates=20, trees=60, seed=1).fit(log, train)
    again = Reranker(candidates=20, trees=60, seed=1).fit(log, train)
    ranks = ranker.rank(log, labels, asked)
    np.testing.assert_array_equal(ranks, again.rank(log, labels, asked))
    rules = SequentialRules().fit(log, train).rank(log, labels, asked)
    assert (ranks[asked] <= 1).mean() > (rules[asked] <= 1).mean() + 0.1


def test_the_trees_learn_from_sessions_that_were_not_counted(monkeypatch):
    log = _world(200, 2)
    counted, asked, popular = [], [], []
    original_fit, original_inputs = SequentialRules.fit, Reranker._inputs

    def fit(self, log, rows=None):
        counted.append(set(log.loc[rows, "session_id"]))
        return original_fit(self, log, rows)

    def inputs(self, visits, latest):
        asked.append(set(visits.session[latest]))
        popular.append(self.counts_.sum())
        return original_inputs(self, visits, latest)

    monkeypatch.setattr(SequentialRules, "fit", fit)
    monkeypatch.setattr(Reranker, "_inputs", inputs)
    Reranker(candidates=5, trees=5).fit(log)
    assert asked[0] and not asked[0] & counted[0]
    assert popular[0] == log["session_id"].isin(counted[0]).sum(), "popularity knows no more"
    assert counted[-1] == set(range(200)), "in the end all sessions are counted"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SequentialRules(steps=0), "1 or more steps"),
        (lambda: SequentialRules(direction="sideways"), "direction of rules"),
        (lambda: SequentialRules(norm="cosin"), "cosine"),
        (lambda: ItemMarkov(0), "order of 1 or more"),
        (lambda: NearestSessions(0), "1 or more neighbours"),
        (lambda: Reranker(candidates=1), "2 or more candidates"),
        (lambda: Popularity().rank(_log(["ab"]), next_item(_log(["ab"]))), "call fit"),
        (lambda: Popularity().fit(_log(["ab"]), np.array([1, 0])), "boolean mask"),
        (lambda: Popularity().fit(_log(["ab"]), np.array([False, False])), "nothing to count"),
        (lambda: Popularity().fit(_log(["ab"]).drop(columns="item_id")), "item_id"),
        (lambda: Popularity().fit(_log(["ab"])).score(_log(["az"])), "in no catalogue"),
        (lambda: Popularity().fit(_log(["ab"])).recommend(_log(["ab"]), k=3), "between 1 and"),
        (lambda: Reranker().fit(_log(["ab"])), "only 1 sessions"),
    ],
)
def test_bad_input_gets_one_sentence(make, words):
    with pytest.raises(CourseError, match=words):
        make()
