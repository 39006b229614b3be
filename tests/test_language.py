"""A language BERT: equal to the reference implementation, loaded from anywhere or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from course_lib.errors import CourseError
from course_lib.features.texts import item_texts, session_texts
from course_lib.models import language
from course_lib.models.language import (
    fit_texts,
    frozen_features,
    has_packaged_weights,
    load_backbone,
    text_arrays,
    text_classifier,
    text_forecast,
    token_lists,
)

FIXTURES = Path(__file__).parent / "fixtures"
REFERENCE = json.loads((FIXTURES / "minilm_reference.json").read_text(encoding="utf-8"))
"""Token ids and every 48th number of the last hidden states of three sentences, made once, in an
environment with ``torch==2.13.0``, ``transformers==5.23.0`` and ``safetensors``, by

    tokenizer, model = BertTokenizerFast.from_pretrained(folder), BertModel.from_pretrained(folder)
    encoded = tokenizer(texts, padding="max_length", max_length=24, return_tensors="pt")
    states = model.eval()(**encoded).last_hidden_state[:, :, ::48]

with ``folder`` the package's folder ``model``.
"""
with_weights = pytest.mark.skipif(
    not has_packaged_weights(), reason="the package of weights.lock is not installed"
)


# --- the reference implementation ----------------------------------------------------------


@pytest.fixture(scope="module")
def minilm():
    return load_backbone("minilm")


def _hidden(backbone) -> tuple[np.ndarray, np.ndarray]:
    """Hidden states like the fixture's, and where tokens are real."""
    ids = np.array(REFERENCE["token_ids"], np.int32)
    real = (ids != 0).astype(np.int32)
    arrays = {"token_ids": ids, "padding_mask": real, "segment_ids": np.zeros_like(ids)}
    states = np.asarray(backbone(arrays)["sequence_output"])
    return states[:, :, ::48], real.astype(bool)


@with_weights
def test_the_weights_are_installed_where_the_course_is_tested(minilm):
    assert minilm.backbone.num_layers == 6
    assert minilm.width == 384


@with_weights
def test_tokens_equal_the_reference_implementation(minilm):
    arrays = text_arrays(minilm.tokenizer, REFERENCE["texts"], 24)
    assert arrays["token_ids"].tolist() == REFERENCE["token_ids"]


@with_weights
def test_hidden_states_equal_the_reference_implementation(minilm):
    states, real = _hidden(minilm.backbone)
    gap = np.abs(states - np.array(REFERENCE["hidden"]))[real].max()
    assert gap < 1e-4


@with_weights
def test_without_the_exact_gelu_they_would_not():
    """Pins the private attributes that `use_exact_gelu` sets: keras-hub still needs it."""
    from course_lib.backend import keras_hub

    folder = language._packaged_folder()
    states, real = _hidden(keras_hub.models.BertBackbone.from_preset(str(folder)))
    gap = np.abs(states - np.array(REFERENCE["hidden"]))[real].max()
    assert 1e-3 < gap < 1e-2


@with_weights
def test_finding_the_package_does_not_import_it(minilm):
    assert language.PACKAGE not in sys.modules


# --- a small folder in the same layout ------------------------------------------------------

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "viewed", "red", "dress", "to", "cart"]
WORDS += ["added", "it", ",", "caf", "##e", "浏", "览"]
CONFIG = {
    "model_type": "bert",
    "vocab_size": len(WORDS),
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "hidden_act": "gelu",
}


def _weights() -> dict[str, np.ndarray]:
    random, width, inner = np.random.default_rng(1), 8, 16
    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS), width),
        "embeddings.position_embeddings.weight": (32, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    norms = ["embeddings.LayerNorm"]
    for block in range(2):
        start = f"encoder.layer.{block}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{start}.attention.{name}.weight"] = (width, width)
            shapes[f"{start}.attention.{name}.bias"] = (width,)
        shapes[f"{start}.intermediate.dense.weight"] = (inner, width)
        shapes[f"{start}.intermediate.dense.bias"] = (inner,)
        shapes[f"{start}.output.dense.weight"] = (width, inner)
        shapes[f"{start}.output.dense.bias"] = (width,)
        norms += [f"{start}.attention.output.LayerNorm", f"{start}.output.LayerNorm"]
    for name in norms:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)
    return {name: random.normal(0, 0.3, shape).astype("f4") for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path):
    from safetensors.numpy import save_file

    place = tmp_path / "small"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(CONFIG))
    (place / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    (place / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    save_file(_weights(), place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_a_local_folder_is_loaded_with_its_own_weights(folder):
    small = load_backbone(folder)
    weights = _weights()
    table = np.asarray(small.backbone.get_layer("token_embedding").embeddings)
    assert np.allclose(table, weights["embeddings.word_embeddings.weight"])
    assert all(
        layer._feedforward_intermediate_dense.activation is language.exact_gelu
        for layer in small.backbone.transformer_layers
    )
    assert token_lists(small.tokenizer, ["Viewed CAFÉ, 浏览"]) == [[5, 13, 14, 12, 15, 16]]


def test_another_activation_is_left_as_it_is(folder):
    (folder / "config.json").write_text(json.dumps(CONFIG | {"hidden_act": "gelu_new"}))
    small = load_backbone(str(folder))
    layer = small.backbone.transformer_layers[0]
    assert layer._feedforward_intermediate_dense.activation is not language.exact_gelu


def test_a_cased_tokenizer_keeps_case_and_accents(folder):
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert token_lists(load_backbone(folder).tokenizer, ["viewed Red café"]) == [[5, 1, 1]]


@pytest.mark.parametrize("file", language.FOLDER_FILES)
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(CourseError, match=f"holds no {file}"):
        load_backbone(folder)


def test_broken_folders_are_refused_in_a_sentence(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(CourseError, match="no JSON object"):
        load_backbone(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"model_type": "gpt2"}))
    with pytest.raises(CourseError, match="of type 'gpt2': a 'bert' is needed"):
        load_backbone(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | {"hidden_size": 16}))
    with pytest.raises(CourseError, match="cannot be read"):
        load_backbone(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CourseError, match="cut short"):
        load_backbone(folder)


def test_an_unknown_name_gets_the_nearest_one(tmp_path):
    with pytest.raises(CourseError, match="did you mean 'bert-base-uncased'"):
        load_backbone("bert-base-uncase")
    with pytest.raises(CourseError, match="no folder"):
        load_backbone(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "trouble", [ConnectionError("no route to host"), OSError(28, "No space left on device")]
)
def test_a_download_that_fails_says_so(monkeypatch, trouble):
    from course_lib.backend import keras_hub

    def fails(preset, **_):
        assert preset == "bert_base_zh"
        raise trouble

    monkeypatch.setattr(keras_hub.models.BertBackbone, "from_preset", fails)
    with pytest.raises(CourseError, match=r"bert-base-chinese.*needs a network.*disk"):
        load_backbone("bert-base-chinese")


def test_a_missing_package_names_the_command(monkeypatch):
    monkeypatch.setattr(language, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(CourseError, match=r"--no-deps --require-hashes -r weights\.lock"):
        load_backbone("minilm")


@with_weights
def test_other_weights_in_the_package_are_refused(monkeypatch):
    monkeypatch.setattr(language, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(CourseError, match="not those that were published"):
        load_backbone("minilm")


# --- texts to numbers -----------------------------------------------------------------------


def test_a_long_text_loses_its_beginning(folder):
    tokenizer = load_backbone(folder).tokenizer
    arrays = text_arrays(tokenizer, ["viewed red dress", "added it to cart it"], 5)
    assert arrays["token_ids"].tolist() == [[2, 5, 6, 7, 3], [2, 8, 9, 11, 3]]
    arrays = text_arrays(tokenizer, ["viewed", ""], 5)
    assert arrays["token_ids"].tolist() == [[2, 5, 3, 0, 0], [2, 3, 0, 0, 0]]
    assert arrays["padding_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]]
    assert not arrays["segment_ids"].any()
    with pytest.raises(CourseError, match="at least 3"):
        text_arrays(tokenizer, ["viewed"], 2)


def test_features_average_the_real_tokens_whatever_the_batch(folder, tmp_path):
    small = load_backbone(folder)
    texts = ["viewed red dress", "it", "added it to cart, viewed it", "", "red " * 40]
    got = frozen_features(small, texts, length=20, batch_size=2, cache=tmp_path / "kept")
    for row, text in enumerate(texts):
        tokens = int(text_arrays(small.tokenizer, [text], 20)["padding_mask"].sum())
        alone = text_arrays(small.tokenizer, [text], max(tokens, 3))
        states = np.asarray(small.backbone(alone)["sequence_output"])[0, :tokens]
        assert np.allclose(got[row], states.mean(axis=0), atol=1e-5)
    (kept,) = (tmp_path / "kept").iterdir()
    np.save(kept, got + 1)  # read, not computed again
    assert np.allclose(frozen_features(small, texts, length=20, cache=kept.parent), got + 1)
    tokens = token_lists(small.tokenizer, texts)
    assert np.allclose(frozen_features(small, tokens, length=20, cache=kept.parent), got + 1)
    assert np.allclose(frozen_features(small, tokens, length=20), got, atol=1e-5)
    again = frozen_features(small, texts[:3], length=20, cache=kept.parent)
    assert np.allclose(again, got[:3], atol=1e-5)
    block = small.backbone.transformer_layers[0]
    block.set_weights([weight + 0.1 for weight in block.get_weights()])
    moved = frozen_features(small, texts, length=20, cache=kept.parent)
    assert not np.allclose(moved, got, atol=1e-3)


# --- fine-tuning ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "learns"), [("none", []), ("last 1", ["transformer_layer_1"]), ("all", "all")]
)
def test_only_the_layers_that_are_named_learn(folder, train, learns):
    small = load_backbone(folder)
    model = text_classifier(small, (False, True), train=train)
    before = {layer.name: layer.get_weights() for layer in small.backbone.layers}
    texts = ["viewed red dress", "added it to cart"] * 8
    part = text_arrays(small.tokenizer, texts, 8), np.tile([0, 1], 8)
    fitted = fit_texts(
        model, part, part, epochs=15, batch_size=8, learning_rate=2e-2, progress=False
    )
    assert len(fitted.history) and fitted.best_epoch
    moved = {
        layer.name
        for layer in small.backbone.layers
        if any(
            not np.array_equal(old, new)
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }
    if learns == "all":
        assert "pooled_dense" not in moved
        learns = {name for name in before if before[name]} - {"pooled_dense"}
    assert moved == set(learns)
    odds = text_forecast(model, part[0], batch_size=5)
    assert odds.shape == (16, 2)
    assert np.allclose(odds.sum(axis=1), 1)
    if learns:  # a mean of random states tells the two texts hardly apart
        assert odds[::2, 0].mean() > odds[1::2, 0].mean()


def test_padding_moves_no_forecast(folder):
    small = load_backbone(folder)
    model = text_classifier(small, (0, 1, 2), train="none", seed=3)
    short, long = (text_arrays(small.tokenizer, ["viewed red dress"], n) for n in (5, 12))
    long["token_ids"][0, 5:] = 9
    assert np.allclose(text_forecast(model, short), text_forecast(model, long), atol=1e-6)


def test_a_classifier_refuses_what_it_cannot_do(folder):
    small = load_backbone(folder)
    for words in ("last", "last two", "first 1", ""):
        with pytest.raises(CourseError, match="train is"):
            text_classifier(small, (0, 1), train=words)
    with pytest.raises(CourseError, match="1 to 2 blocks, not 3"):
        text_classifier(small, (0, 1), train="last 3")
    model = text_classifier(small, (0, 1))
    part = text_arrays(small.tokenizer, ["it"], 5), np.array([0, 1])
    with pytest.raises(CourseError, match="one outcome a text"):
        fit_texts(model, part, part)


# --- sessions as texts, computed by hand ----------------------------------------------------


def _log(**columns) -> pd.DataFrame:
    seconds = [0, 40, 42, 5_442, 0]
    log = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 2],
            "session_id": [0, 0, 0, 0, 1],
            "timestamp": pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(seconds, "s"),
            "event": pd.Categorical(["view", "cart", "search", "purchase", "view"]),
            "item_id": pd.Categorical(["A", "A", None, "B", "A"]),
            "price": np.array([27.6, 27.6, np.nan, 5, 27.6], "f4"),
            **columns,
        }
    )
    log.attrs |= {"dataset": "small", "clock": "time", "event_column": "event", "tasks": []}
    return log


TITLES = {
    "title": pd.Categorical(["Red summer dress", "Red summer dress", None, "Hat", "Red dress"]),
    "brand": pd.Categorical(["Eskil", "Eskil", None, None, None]),
}


def test_a_session_is_told_in_english():
    texts = session_texts(_log(**TITLES))
    assert texts.tolist() == [
        "viewed Eskil red summer dress 28 $",
        "viewed Eskil red summer dress 28 $, 40 s later added it to cart",
        "viewed Eskil red summer dress 28 $, 40 s later added it to cart, 2 s later searched",
        "viewed Eskil red summer dress 28 $, 40 s later added it to cart, 2 s later searched, "
        "2 h later bought hat 5 $",
        "viewed red dress 28 $",
    ]
    assert texts.name == "text"


def test_a_session_is_told_in_chinese():
    texts = session_texts(_log(**TITLES), [3], language="zh")
    assert texts.tolist() == [
        "浏览Eskil red summer dress 28元，40秒后将它加入购物车，2秒后搜索，2小时后购买hat 5元"
    ]


def test_only_the_newest_events_are_told_and_nothing_after_the_row():
    texts = session_texts(_log(**TITLES), np.array([False, True, False, True, False]), last=2)
    assert texts.tolist() == [
        "viewed Eskil red summer dress 28 $, 40 s later added it to cart",
        "searched, 2 h later bought hat 5 $",
    ]
    assert texts.index.tolist() == [1, 3]
    (text,) = session_texts(_log(**TITLES), [1], last=1)
    assert text == "added Eskil red summer dress 28 $ to cart"


def test_what_a_log_lacks_is_not_told():
    path = pd.Categorical(["home.kitchen_things"] * 4 + [None])
    number = pd.Categorical(["207"] * 5)
    (text,) = session_texts(_log(category_path=path, category_id=number), [1], details=["words"])
    assert text == "viewed home kitchen things, added it to cart"
    (text,) = session_texts(_log(category_path=path, category_id=number), [4])
    assert text == "viewed item A 28 $"
    log = _log()
    log["event"] = pd.Categorical(["read_comments"] * 5)
    log.attrs["clock"] = "order"  # no gaps
    assert session_texts(log, [3], details=["words", "gap"]).item() == (
        "read comments item A, read comments it, read comments, read comments item B"
    )


def test_items_are_told_once_each():
    assert item_texts(_log(**TITLES)).to_dict() == {"A": "Eskil red summer dress", "B": "hat"}


def test_the_teller_refuses_what_it_cannot_tell():
    with pytest.raises(CourseError, match="Unknown language 'fr'"):
        session_texts(_log(), language="fr")
    with pytest.raises(CourseError, match="did you mean 'price'"):
        session_texts(_log(), details=["prices"])
    with pytest.raises(CourseError, match="at least the last 1"):
        session_texts(_log(), last=0)


def test_telling_needs_no_tensorflow():
    code = "import sys, course_lib.features.texts; print('tensorflow' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
