"""A pretrained language BERT beside cheap readers: what a shop's words are worth (lesson 10).

`course bench language-models` asks one question a session: what happens next (ShopWorld, rees46,
and jd, whose kinds of events are words), whether the session will buy (ShopWorld, rees46), which
item comes next (online_retail). TF-IDF, a frozen MiniLM, one that is fine-tuned, both with the
words of each text shuffled, and lesson 09's network on ids learn from the same sessions; what
counts has counted all of them. COURSE_BENCH_TABLES picks tables (a comma between their names),
COURSE_BENCH_TEXTS sets how many texts there are to learn from.

Keys: ``TABLE_MODEL`` is the table's leading metric, ``..._low`` and ``..._high`` its interval;
``TABLE_texts``, ``TABLE_tested``, and ``TABLE_tuning_minutes``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from course_lib import datasets, metrics
from course_lib.cleaning import clean
from course_lib.features.texts import session_texts
from course_lib.ladder import Ladder
from course_lib.models import bert, language
from course_lib.sequences import Fields, question_sequences
from course_lib.sessions import (
    assign_sessions,
    next_event,
    next_item,
    position_in_session,
    purchase_later,
)
from course_lib.splits import temporal_split
from course_lib.training import fit, forecast

PARTS = ("train", "validation", "test")
NAMED_ITEMS = 300
"""A text model names so many items; all others stand behind them, by popularity."""
METRIC = {"next_event": "log_loss", "purchase_intent": "roc_auc", "next_item": "hit_rate@20"}


@dataclass(frozen=True)
class Table:
    """One question asked of one log.

    Attributes:
        dataset: The log.
        task: The question.
        prefix: Asked after so many events (purchase intent), or at one of the first so many.
        details: What the texts tell.
        length: Tokens that are read.
    """

    dataset: str
    task: str
    prefix: int
    details: tuple[str, ...] = ("words",)
    length: int = 48


TABLES = {
    "shopworld": Table("shopworld", "next_event", 10),
    "shopworld_intent": Table("shopworld", "purchase_intent", 10),
    "rees46": Table("rees46", "next_event", 3, ("words", "brand", "price")),
    "rees46_intent": Table("rees46", "purchase_intent", 2, ("words", "brand", "price")),
    "jd": Table("jd", "next_event", 30, ("words", "gap")),
    "online_retail": Table("online_retail", "next_item", 10),
}


class Bench:
    """The texts, answers and ladder of one table.

    Args:
        table: What is asked of which log.
        texts: At most so many to learn from; a quarter of it to validate, half to test.
        seed: Of ShopWorld, the draws and the networks.
    """

    def __init__(self, table: Table, texts: int, seed: int = 1):
        self.table, self.seed = table, seed
        log = assign_sessions(clean(datasets.load(table.dataset, "quick", seed)).log)
        self.log, self.split = log, temporal_split(log, seed=seed)
        random = np.random.default_rng(seed)
        tellers = {
            "next_event": next_event,
            "purchase_intent": purchase_later,
            "next_item": next_item,
        }
        self.labels = tellers[table.task](log)
        if table.task == "purchase_intent":
            place = table.prefix - 1
        else:  # drawn before the session is looked at: its end has no say in what is asked
            drawn = random.integers(table.prefix, size=log["session_id"].nunique())
            place = drawn[log["session_id"]]
        reached = position_in_session(log) == place
        asked = np.flatnonzero(self.labels.notna().to_numpy() & reached)
        asked = random.permutation(asked)
        caps = {"train": texts, "validation": texts // 4, "test": texts // 2}
        self.rows = {p: np.sort(asked[self.split.rows(log, p)[asked]][: caps[p]]) for p in PARTS}
        self._name_outcomes()
        self.Y = {part: self.answer[rows] for part, rows in self.rows.items()}
        self.texts = {
            part: session_texts(log, rows, last=8, details=table.details).tolist()
            for part, rows in self.rows.items()
        }
        self.shuffled = {
            part: [" ".join(random.permutation(t.replace(",", " ,").split())) for t in told]
            for part, told in self.texts.items()
        }
        prefix = table.prefix if table.task == "purchase_intent" else None
        scored = np.isin(np.arange(len(log)), self.rows["test"])
        self.ladder = Ladder(table.task, log, self.split, rows=scored, prefix=prefix)
        self.ladder.add_baselines()
        if table.dataset == "shopworld":
            world = datasets.shopworld.simulate("quick", seed).world
            self.ladder.add_best(datasets.shopworld.oracle(log, world, given="events"))
        self.minutes = 0.0

    def _name_outcomes(self) -> None:
        """What may be answered, and the place of each row's answer, int [rows of the log]."""
        labels = self.labels
        if self.table.task == "next_event":
            self.outcomes = list(labels.cat.categories)
            self.answer = labels.cat.codes.to_numpy().astype(int)
        elif self.table.task == "purchase_intent":
            self.outcomes = ["no", "yes"]
            self.answer = labels.astype("Int8").to_numpy(dtype=int, na_value=-1)
        else:
            self.often = labels.iloc[self.rows["train"]].value_counts().index[:NAMED_ITEMS]
            self.outcomes = [*map(str, self.often), "another"]
            place = self.often.get_indexer(labels.astype("object"))
            self.answer = np.where(place < 0, len(self.often), place)

    def join(self, name: str, odds: np.ndarray) -> None:
        """Put the odds of the test texts on the ladder."""
        rows, whole = self.rows["test"], np.full(len(self.log), np.nan)
        if self.table.task == "next_event":
            whole = np.full((len(self.log), len(self.outcomes)), np.nan)
            whole[rows] = odds
        elif self.table.task == "purchase_intent":
            whole[rows] = odds[:, 1]
        else:
            items = self.labels.cat.categories
            score = np.zeros((len(odds), len(items)))
            score[:, items.get_indexer(self.often)] = odds[:, :-1]
            train = self.split.rows(self.log, "train")
            counts = self.labels[train].value_counts().reindex(items).to_numpy()
            target = self.labels.cat.codes.to_numpy()[rows]
            whole[rows] = metrics.rank_of_target(score, target, counts)
        self.ladder.add(name, whole)

    def linear(self, name: str, features: dict, strengths: tuple[float, ...]) -> LogisticRegression:
        """Logistic regression, its strength chosen on the validation part."""
        tried = []
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=300, tol=1e-3)
            model.fit(features["train"], self.Y["train"])
            odds = {}
            for part in ("validation", "test"):
                odds[part] = np.full((len(self.Y[part]), len(self.outcomes)), 1e-6)
                odds[part][:, model.classes_] += model.predict_proba(features[part])
                odds[part] /= odds[part].sum(axis=1, keepdims=True)
            places = range(len(self.outcomes))
            loss = log_loss(self.Y["validation"], odds["validation"], labels=places)
            tried.append((loss, len(tried), model, odds["test"]))
        _, _, model, odds = min(tried)
        self.join(name, odds)
        return model

    def tf_idf(self) -> None:
        """Words and pairs of neighbours."""
        counter = TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=r"\S+"
        ).fit(self.texts["train"])
        features = {part: counter.transform(told) for part, told in self.texts.items()}
        self.linear("TF-IDF", features, (0.1, 1.0, 10.0))

    def read(self, told: dict, ending: str) -> None:
        """The BERT frozen, then fine-tuned from the linear model on."""
        speaker = language.load_backbone("minilm")
        length = self.table.length
        found = {
            part: language.frozen_features(speaker, texts, length=length)
            for part, texts in told.items()
        }
        scaler = StandardScaler().fit(found["train"])
        features = {part: scaler.transform(one) for part, one in found.items()}
        head = self.linear(f"frozen{ending}", features, (3e-4, 1e-3, 3e-3, 1e-2))
        model = language.text_classifier(speaker, tuple(self.outcomes), train="last 2")
        kernel = np.zeros((speaker.width, len(self.outcomes)))
        bias = np.full(len(self.outcomes), -9.0)
        slope = head.coef_ / scaler.scale_
        centre = head.intercept_ - slope @ scaler.mean_
        if len(head.classes_) == 2:
            slope = np.concatenate([-slope, slope]) / 2
            centre = np.concatenate([-centre, centre]) / 2
        kernel[:, head.classes_], bias[head.classes_] = slope.T, centre
        model.get_layer("logits").set_weights([kernel, bias])
        arrays = {
            part: language.text_arrays(speaker.tokenizer, texts, length)
            for part, texts in told.items()
        }
        known = [(arrays[part], self.Y[part]) for part in ("train", "validation")]
        fitted = language.fit_texts(model, *known, epochs=4, learning_rate=1e-4, progress=False)
        self.join(f"tuned{ending}", language.text_forecast(model, arrays["test"]))
        self.minutes += fitted.seconds / 60

    def ids(self) -> None:
        """Lesson 09's network, not pretrained, on the same sessions."""
        fields = Fields.fit(self.log, self.split.rows(self.log, "train"))
        known = np.isin(np.arange(len(self.log)), np.concatenate([*self.rows.values()]))
        places = np.where(known, self.answer, -1)
        labels = pd.Series(pd.Categorical.from_codes(places, self.outcomes), index=self.log.index)
        length = self.table.prefix + 1
        questions = {
            part: question_sequences(
                self.log,
                fields,
                labels,
                rows=np.isin(np.arange(len(self.log)), rows),
                length=length,
            )
            for part, rows in self.rows.items()
        }
        encoder = bert.behaviour_encoder(fields, width=32, length=length, seed=self.seed)
        network = bert.answer_network(encoder, tuple(self.outcomes), seed=self.seed)
        fit(
            network,
            questions["train"],
            questions["validation"],
            epochs=12,
            learning_rate=2e-3,
            seed=self.seed,
            progress=False,
        )
        odds = forecast(network, questions["test"], len(self.log))
        self.join("ids", odds[self.rows["test"]])


def measure(name: str, texts: int) -> dict[str, float]:
    """All models of one table."""
    bench = Bench(TABLES[name], texts)
    bench.tf_idf()
    bench.ids()
    bench.read(bench.texts, "")
    bench.read(bench.shuffled, ", shuffled")
    ladder, metric = bench.ladder, METRIC[bench.table.task]
    print(f"\n{name}: {len(bench.Y['train']):,} texts to learn from")
    print(ladder.table().to_string())
    figures = {f"{name}_texts": len(bench.Y["train"]), f"{name}_tested": ladder.rows}
    for rung in ladder.rungs.values():
        key = f"{name}_{rung.name.lower().replace(', ', '_').replace(' ', '_').replace('-', '')}"
        score = rung.scores[metric]
        figures |= {key: score.value, f"{key}_low": score.low, f"{key}_high": score.high}
    print(f"{metric} of each less that of the frozen BERT, paired by session:")
    for rung in ladder.rungs:
        if rung != "frozen":
            print(f"  {rung:>26} {ladder.difference(rung, 'frozen', metric=metric):+.3f}")
    return figures | {f"{name}_tuning_minutes": bench.minutes}


def main() -> dict[str, float]:
    """Measure the tables that are asked for, of logs that are here."""
    texts = int(os.environ.get("COURSE_BENCH_TEXTS", "4000"))
    names = os.environ.get("COURSE_BENCH_TABLES", ",".join(TABLES)).split(",")
    figures: dict[str, float] = {}
    for name in names:
        if datasets.available(TABLES[name].dataset):
            figures |= measure(name, texts)
    return figures
