"""Purchase intent from few labels: an encoder pretrained by masking, beside the same from scratch.

ShopWorld (quick, seeds 1 to 3) and dmm, asked once a session, after 5 and after 10 events. The
encoder is pretrained on all training sessions, unlabelled, each cut before its decision; then
some training sessions are labelled, drawn anew `DRAWS` times: trained from scratch, fine-tuned,
frozen under a logistic regression, and counts of the events under the same regression. The curves
(average precision on the test part by labelled sessions, with intervals by session) go to
standard error.

Keys, ``shopworld`` being the mean over seeds and prefixes: ``labels_saved_shopworld``, the share
of the labels that the frozen encoder does without when it reaches what training from scratch
reaches with all amounts but the smallest, and ``labels_saved_shopworld_low``, the lower end of
its 95 % interval; ``ahead_shopworld``, how much average precision the frozen encoder gains with
half of the labels, and ``ahead_shopworld_low``; ``counts_ahead_shopworld``, what counts gain on
the frozen encoder; the same for ``dmm``; and ``minutes``.

``python tests/benchmarks/few_shot.py shopworld`` does without dmm.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from course_lib import datasets
from course_lib.backend import keras
from course_lib.cleaning import clean
from course_lib.models.bert import answer_network, behaviour_encoder, masked_network
from course_lib.sequences import Fields, question_sequences, whole_sequences
from course_lib.sessions import assign_sessions, first_decision, purchase_later
from course_lib.splits import temporal_split
from course_lib.training.masked import pretrain

LENGTH, DRAWS, RESAMPLES = 24, 4, 300
NETWORK = {"width": 32, "blocks": 2, "heads": 2, "inner": 64, "length": LENGTH}
PRETRAINING = {"epochs": 6, "batch_size": 32, "learning_rate": 3e-3, "shapes": 2, "rate": 0.3}
AMOUNTS = (100, 200, 400, 800, 1_600, 3_200)
STEPS, BATCH = 60, 128


class FewLabels:
    """One log, one prefix: its labelled and its test questions, and what is learnt from them."""

    def __init__(self, log: pd.DataFrame, split: object, prefix: int, fields: Fields, seed: int):
        later, number = purchase_later(log), log.groupby("session_id").cumcount() + 1
        rows = (number == prefix).to_numpy() & later.notna().to_numpy()
        asks = {
            part: question_sequences(
                log, fields, later, rows=rows & split.rows(log, part), length=prefix + 1
            )
            for part in ("train", "test")
        }
        self.asks, self.fields, self.seed = asks, fields, seed
        self.codes = {part: each.read(each.inputs) for part, each in asks.items()}
        self.labels = {part: each.targets[each.mask] for part, each in asks.items()}
        tested = len(asks["test"])
        random = np.random.default_rng(seed)
        times = random.multinomial(tested, np.full(tested, 1 / tested), RESAMPLES)
        self.times = np.vstack([np.ones((1, tested), int), times])
        self.answers = answer_network(behaviour_encoder(fields, **NETWORK, seed=seed), (0, 1), seed)
        self.answers.compile(
            keras.optimizers.Adam(clipnorm=1.0),
            keras.losses.SparseCategoricalCrossentropy(True, reduction="mean_with_sample_weight"),
            jit_compile=False,
        )
        self.reader = self.answers.get_layer("encoder")
        self.head = self.answers.get_layer("logits").get_weights()

    def sample(self, n: int, draw: int) -> np.ndarray:
        """Numbers of n labelled questions, drawn until both answers are among them."""
        for again in range(1_000):
            random = np.random.default_rng((self.seed, draw, again))
            chosen = random.permutation(len(self.asks["train"]))[:n]
            if len(set(self.labels["train"][chosen])) == 2:
                return chosen
        raise SystemExit(f"No sample of {n} sessions has both answers.")

    def trained(self, start: list, chosen: np.ndarray, rate: float) -> np.ndarray:
        """Log-odds in the test part after `STEPS` steps from an encoder's weights."""
        self.reader.set_weights(start)
        self.answers.get_layer("logits").set_weights(self.head)
        for memory in self.answers.optimizer.variables:
            memory.assign(keras.ops.zeros_like(memory))
        self.answers.optimizer.learning_rate = rate
        keras.utils.set_random_seed(self.seed)
        order = np.random.default_rng(self.seed).permutation(np.resize(chosen, BATCH * STEPS))
        asked = self.asks["train"]
        self.answers.fit(
            self.codes["train"][order],
            asked.targets[order],
            sample_weight=asked.mask[order] * 1.0,
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
        )
        logits = self.answers.predict(self.codes["test"], batch_size=1_024, verbose=0)
        logits = logits[self.asks["test"].mask]
        return logits[:, 1] - logits[:, 0]

    def regression(self, features: dict[str, np.ndarray], chosen: np.ndarray) -> np.ndarray:
        """Odds in the test part from a logistic regression on the chosen questions."""
        learner = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1_000))
        learner.fit(features["train"][chosen], self.labels["train"][chosen])
        return learner.predict_proba(features["test"])[:, 1]

    def precision(self, odds: np.ndarray) -> np.ndarray:
        """Average precision in the test part, then in each resample of its sessions."""
        order = np.argsort(-odds, kind="stable")
        hit = self.times[:, order] * self.labels["test"][order]
        above = hit.cumsum(axis=1) / np.maximum(self.times[:, order].cumsum(axis=1), 1)
        return (above * hit).sum(axis=1) / np.maximum(hit.sum(axis=1), 1)

    def curve(self, way: Callable[[np.ndarray], np.ndarray], amounts: list[int]) -> np.ndarray:
        """Mean over the draws, [1 + resamples, amounts]; draws are resampled with the sessions."""
        random = np.random.default_rng(self.seed)
        again = random.integers(0, DRAWS, (RESAMPLES, DRAWS))
        again = np.vstack([np.arange(DRAWS), again])
        columns = []
        for n in amounts:
            drawn = [self.precision(way(self.sample(n, draw))) for draw in range(DRAWS)]
            columns.append(np.stack(drawn)[again, np.arange(RESAMPLES + 1)[:, None]].mean(axis=1))
        return np.stack(columns, axis=1)


def labels_saved(scratch: np.ndarray, pretrained: np.ndarray, amounts: list[int]) -> np.ndarray:
    """Share of the labels saved at equal score, one a resample, mean over amounts but the first.

    What the pretrained encoder needs is read off its curve, made monotone, by interpolation on the
    logarithm of the amount; what lies below its first point counts as that, what it never
    reaches as twice its last.
    """
    logs, saved = np.log(amounts), []
    for own, other in zip(scratch, pretrained, strict=True):
        rising = np.maximum.accumulate(other)
        rising = rising + 1e-12 * np.arange(len(rising))
        needed = np.exp(np.interp(own[1:], rising, logs, right=logs[-1] + np.log(2)))
        saved.append(np.mean(1 - needed / np.asarray(amounts[1:])))
    return np.asarray(saved)


def compare(name: str, seed: int) -> dict[str, list[np.ndarray]]:
    """All curves of one log; returns the resamples of what is reported, one array a prefix."""
    log = assign_sessions(clean(datasets.load(name, "quick", seed)).log)
    split = temporal_split(log, seed=seed)
    decided = first_decision(log)
    before = (decided < 0) | (np.arange(len(log)) < decided)
    fields = Fields.fit(log, split.rows(log, "train"))
    parts = [
        whole_sequences(log, fields, rows=split.rows(log, part) & before, length=LENGTH)
        for part in ("train", "validation")
    ]
    encoder = behaviour_encoder(fields, **NETWORK, seed=seed)
    told = tuple(name for name in ("item", "event") if name in fields.names)
    network = masked_network(encoder, told)
    training = pretrain(network, *parts, seed=seed, progress=False, **PRETRAINING)
    print(f"{name}, seed {seed}: {training}", file=sys.stderr)
    own, found = encoder.get_weights(), {"saved": [], "ahead": [], "counts_ahead": []}
    fresh = behaviour_encoder(fields, **NETWORK, seed=seed).get_weights()
    for prefix in (5, 10):
        few = FewLabels(log, split, prefix, fields, seed)
        amounts = [n for n in AMOUNTS if n <= len(few.asks["train"])]
        states = {
            part: encoder.predict(codes, batch_size=1_024, verbose=0)[few.asks[part].mask]
            for part, codes in few.codes.items()
        }
        kinds, numbers = fields.names.index("event"), np.arange(3, fields.size("event"))
        counts = {
            part: (codes[..., kinds, None] == numbers).sum(axis=1)
            for part, codes in few.codes.items()
        }
        curves = {
            "scratch": few.curve(partial(few.trained, fresh, rate=3e-3), amounts),
            "fine-tuned": few.curve(partial(few.trained, own, rate=1e-3), amounts),
            "frozen": few.curve(partial(few.regression, states), amounts),
            "counts": few.curve(partial(few.regression, counts), amounts),
        }
        guess = few.labels["test"].mean()
        print(
            f"  after {prefix} events, {len(few.asks['test'])} asked, {guess:.3f} buy",
            file=sys.stderr,
        )
        for way, curve in curves.items():
            low, high = np.quantile(curve[1:], [0.025, 0.975], axis=0)
            cells = zip(amounts, curve[0], low, high, strict=True)
            told = "  ".join(f"{n}: {v:.3f} [{a:.3f}, {b:.3f}]" for n, v, a, b in cells)
            print(f"  {way:>10}  {told}", file=sys.stderr)
        found["saved"].append(labels_saved(curves["scratch"], curves["frozen"], amounts))
        found["ahead"].append((curves["frozen"][:, :-1] - curves["scratch"][:, 1:]).mean(axis=1))
        found["counts_ahead"].append((curves["counts"] - curves["frozen"]).mean(axis=1))
    return found


def main(names: tuple[str, ...] = ("shopworld", "dmm")) -> dict[str, float]:
    """Compare on all logs, and return the figures."""
    begun, figures = perf_counter(), {}
    for name in names:
        found = [compare(name, seed) for seed in ((1, 2, 3) if name == "shopworld" else (1,))]
        for key, title in (
            ("saved", "labels_saved"),
            ("ahead", "ahead"),
            ("counts_ahead", "counts_ahead"),
        ):
            mean = np.mean([each for one in found for each in one[key]], axis=0)
            figures[f"{title}_{name}"] = mean[0]
            if key != "counts_ahead":
                figures[f"{title}_{name}_low"] = np.quantile(mean[1:], 0.025)
    return figures | {"minutes": (perf_counter() - begun) / 60}


if __name__ == "__main__":
    for key, figure in main(*[tuple(sys.argv[1:])] if sys.argv[1:] else ()).items():
        print(f"{key:28} {figure:.4f}")
