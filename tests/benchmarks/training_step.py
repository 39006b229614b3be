"""A training step of ours against plain PyTorch, and what gathering real positions saves.

``lstm_ratio_to_torch`` and ``transformer_ratio_to_torch``: seconds of our step over seconds of
the same network in PyTorch as it comes (eager): 256 sequences of 50 items, 5,000 items, width 64,
tied tables, no dropout, softmax over all items at every position, Adam (ours also cuts the
gradients). PyTorch is no dependency: install the CPU build of ``torch`` beside the course to
run this. It hands big blocks of memory back to the system after each step unless
``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` are high, so all is measured twice:
``*_tuned`` with them set.
``gathered_ratio``: a middling step over the sequences of Amazon Beauty, cut by length and with
the real positions gathered before the output layer, over one as many sequences wide on average
that is padded to 50 and scored everywhere; ``real_share`` of its positions are no padding.
``encoder_ratio_to_torch``: the same comparison for BERT's step (two blocks, a fifth of the
positions masked and gathered before the softmax, in both); ``masked_ratio``: that step of ours
over one that scores all positions; ``masked_beauty_ratio``: the same over Beauty's sequences,
the one cut by length, the other padded to 50.

Each figure is the ratio of medians over rounds in which the steps take turns.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

from course_lib.errors import CourseError

BATCH, LENGTH, ITEMS, WIDTH = 256, 50, 5000, 64
MASKED, HEADS = 0.2, 2
ROUNDS, STEPS = 7, 3
TUNED = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


def main() -> dict[str, float]:
    """Measure, and return the figures."""
    if importlib.util.find_spec("torch") is None:
        raise CourseError(
            "This benchmark compares with PyTorch, which is no part of the course: install the "
            "CPU build of torch into the environment (pip install torch) and run it again."
        )
    plain = _measured({})
    tuned = _measured(TUNED)
    return plain | {f"{name}_tuned": value for name, value in tuned.items() if "torch" in name}


def _measured(environment: dict[str, str]) -> dict[str, float]:
    """Run the measurements in a process of their own, whose memory is set up for them."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CourseError(f"The measurement broke off: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _figures() -> dict[str, float]:
    from course_lib.models.rnn import item_rnn
    from course_lib.models.transformer import item_transformer
    from course_lib.sequences import Catalogue

    catalogue = Catalogue(pd.RangeIndex(ITEMS), np.ones(ITEMS, np.int64))
    figures = {}
    for name, model in {
        "lstm": item_rnn(catalogue, cell="lstm", width=WIDTH, dropout=0),
        "transformer": item_transformer(catalogue, width=WIDTH, dropout=0, length=LENGTH),
    }.items():
        ours, theirs = in_turns(our_step(model, *all_positions()), torch_step(name))
        figures[f"{name}_ratio_to_torch"] = ours / theirs
        figures[f"{name}_sequences_per_second"] = BATCH / ours
        figures[f"{name}_torch_sequences_per_second"] = BATCH / theirs
    gathered, padded, real = _beauty()
    model = item_transformer(catalogue, width=WIDTH, dropout=0, length=LENGTH)
    other = item_transformer(catalogue, width=WIDTH, dropout=0, length=LENGTH)
    ours, theirs = in_turns(our_step(model, *gathered), our_step(other, *padded))
    figures["gathered_ratio"] = ours / theirs
    figures["real_share"] = real
    ours, theirs = in_turns(encoder_step(MASKED), torch_encoder_step())
    figures["encoder_ratio_to_torch"] = ours / theirs
    figures["encoder_sequences_per_second"] = BATCH / ours
    figures["encoder_torch_sequences_per_second"] = BATCH / theirs
    ours, everywhere = in_turns(encoder_step(MASKED), encoder_step(1))
    figures["masked_ratio"] = ours / everywhere
    ours, everywhere = in_turns(*(encoder_step(MASKED, arrays) for arrays in _masked_beauty()))
    figures["masked_beauty_ratio"] = ours / everywhere
    return figures


def in_turns(first, second) -> tuple[float, float]:
    """Median seconds of two steps that take turns."""
    seconds: tuple[list, list] = ([], [])
    for round_ in range(-1, ROUNDS):
        for step, taken in zip((first, second), seconds, strict=True):
            begin = perf_counter()
            for _ in range(STEPS):
                step()
            if round_ >= 0:
                taken.append((perf_counter() - begin) / STEPS)
    return median(seconds[0]), median(seconds[1])


def our_step(model, arrays: dict[str, np.ndarray], weights: np.ndarray):
    """Return one call of the course's step, compiled with XLA as `fit_items` compiles it."""
    from course_lib.training.items import compile_items, loss_network

    network = loss_network(model)
    compile_items(network, 1e-3, None, jit_compile=True)

    def step() -> None:
        network.train_on_batch(arrays, arrays["targets"], weights)

    step()
    return step


def all_positions() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A batch without padding in which every position is scored."""
    rng = np.random.default_rng(0)
    codes = rng.integers(1, ITEMS + 1, (BATCH, LENGTH)).astype(np.int32)
    targets = rng.integers(0, ITEMS, BATCH * LENGTH).astype(np.int32)
    positions = np.arange(BATCH * LENGTH, dtype=np.int32)
    arrays = {"codes": codes, "positions": positions, "targets": targets}
    return arrays, np.ones(len(positions), np.float32)


def masked_positions(share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [batch, length], of which a share is masked, their places, and what stood there."""
    rng = np.random.default_rng(0)
    codes = rng.integers(3, ITEMS + 3, BATCH * LENGTH).astype(np.int32)
    places = np.sort(rng.permutation(codes.size)[: round(share * codes.size)]).astype(np.int32)
    shown = codes.copy()
    shown[places] = 1
    return shown.reshape(BATCH, LENGTH), places, codes[places]


def encoder_step(share: float, arrays: dict[str, np.ndarray] | None = None):
    """Return one call of the step that pretrains BERT, compiled as `pretrain` compiles it.

    Its arrays are given, or sequences without padding of which a share is masked.
    """
    from course_lib.models.bert import behaviour_encoder, masked_network
    from course_lib.sequences import Fields
    from course_lib.training.items import compile_items
    from course_lib.training.masked import masking_network

    log = pd.DataFrame({"item_id": pd.Categorical(np.arange(ITEMS).astype(str))})
    fields = Fields.fit(log, np.ones(ITEMS, bool), names=["item"])
    encoder = behaviour_encoder(fields, width=WIDTH, heads=HEADS, dropout=0, length=LENGTH)
    network = masking_network(masked_network(encoder))
    compile_items(network, 1e-3, None, jit_compile=True)
    if arrays is None:
        codes, places, hidden = masked_positions(share)
        arrays = {"codes": codes[..., None], "positions": places, "item_codes": hidden}
        arrays["item_weights"] = np.ones(len(places), np.float32)

    def step() -> None:
        network.train_on_batch(arrays, arrays["positions"], arrays["item_weights"])

    step()
    return step


def _masked_beauty() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A middling step of masked sequences of Beauty, and one padded to 50 and scored everywhere."""
    from course_lib.cleaning import clean
    from course_lib.datasets import load
    from course_lib.sequences import Batches, Fields, whole_sequences
    from course_lib.sessions import assign_sessions
    from course_lib.training.masked import marks, masked_steps

    log = assign_sessions(clean(load("beauty", "full", 1)).log)
    everything = np.ones(len(log), bool)
    fields = Fields.fit(log, everything, names=["item"])
    sequences = whole_sequences(log, fields, rows=everything, length=LENGTH)
    batches = Batches(sequences, BATCH, wanted=marks(sequences, MASKED))
    steps = batches.steps()
    area = [np.prod(batches.shapes[shape]) for shape, _ in steps]
    step = steps[int(np.argsort(area)[len(area) // 2])]
    rng = np.random.default_rng(0)
    masked, _, _ = masked_steps(batches, ("item",), rate=MASKED, last=0)(step, rng)
    some = sequences.take(rng.permutation(len(sequences))[:BATCH])
    codes = sequences.read(np.pad(some.inputs, ((0, 0), (0, LENGTH - some.length))))
    padded = {
        "codes": codes,
        "positions": np.arange(codes[..., 0].size, dtype=np.int32),
        "item_codes": codes[..., 0].ravel(),
        "item_weights": (codes[..., 0].ravel() > 0).astype(np.float32),
    }
    for arrays in (masked, padded):  # as many items as elsewhere here
        for name in ("codes", "item_codes"):
            special = arrays[name] < 3
            arrays[name] = np.where(special, arrays[name], 3 + arrays[name] % ITEMS)
    return masked, padded


def torch_encoder_step(device: str = "cpu", compiled: bool = False, half: bool = False):
    """Return one step of the same encoder and head in PyTorch, from its own layers.

    Args: as `torch_step`.
    """
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(ITEMS + 3, WIDTH)
            nn.init.normal_(self.items.weight, std=0.02)
            self.places = nn.Embedding(LENGTH, WIDTH)
            self.norm_in, self.norm_head = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            options = {"dropout": 0.0, "activation": "gelu", "batch_first": True}
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, **options) for _ in range(2)
            )
            self.dense = nn.Linear(WIDTH, WIDTH)
            self.bias = nn.Parameter(torch.zeros(ITEMS + 3))

        def forward(self, codes, places):
            x = self.norm_in(self.items(codes) + self.places.weight)
            padding = codes == 0
            for block in self.blocks:
                x = block(x, src_key_padding_mask=padding)
            x = x.reshape(-1, WIDTH)[places]
            x = self.norm_head(nn.functional.gelu(self.dense(x)))
            return x @ self.items.weight.T + self.bias

    network = Encoder().to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    codes, places, hidden = (
        torch.from_numpy(array.astype(np.int64)).to(device) for array in masked_positions(MASKED)
    )
    forward = torch.compile(network) if compiled else network

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(forward(codes, places), hidden)
        loss.backward()
        optimizer.step()
        loss.item()

    step()
    return step


def _beauty() -> tuple[tuple, tuple, float]:
    """Two steps of Beauty's training sequences, gathered and padded, and the real share.

    Items are folded to as many as elsewhere in this benchmark.
    """
    from course_lib.cleaning import clean
    from course_lib.datasets import load
    from course_lib.sequences import Batches, Catalogue, item_sequences
    from course_lib.sessions import assign_sessions, session_bounds

    log = assign_sessions(clean(load("beauty", "full", 1)).log)
    left = session_bounds(log)[1] - 1 - np.arange(len(log))
    sequences = item_sequences(log, Catalogue.fit(log), rows=left >= 3, length=LENGTH)
    batches = Batches(sequences, BATCH)
    steps = batches.steps()
    area = [np.prod(batches.shapes[shape]) for shape, _ in steps]
    step = steps[int(np.argsort(area)[len(area) // 2])]
    arrays = batches.gathered(step)
    weights = arrays.pop("weights")
    arrays["codes"] = np.where(arrays["codes"] > 0, 1 + arrays["codes"] % ITEMS, 0)
    arrays["targets"] %= ITEMS
    some = np.random.default_rng(0).permutation(len(sequences))[:BATCH]
    codes = np.pad(sequences.inputs[some], ((0, 0), (0, LENGTH - sequences.length)))
    real = codes > 0
    everywhere = {
        "codes": np.where(real, 1 + codes % ITEMS, 0).astype(np.int32),
        "positions": np.arange(codes.size, dtype=np.int32),
        "targets": (codes % ITEMS).astype(np.int32).ravel(),
    }
    padded = everywhere, real.ravel().astype(np.float32)
    return (arrays, weights), padded, float(real.mean())


def torch_step(name: str, device: str = "cpu", compiled: bool = False, half: bool = False):
    """Return one step of the same network in PyTorch, eager or compiled, on some device.

    `half` computes in bfloat16 (autocast), as Keras's policy ``mixed_bfloat16`` does.
    """
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.norm_inner = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
            self.attention = nn.MultiheadAttention(WIDTH, 1, batch_first=True)
            self.wide, self.narrow = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, x, ahead):
            seen = self.norm(x)
            attended, _ = self.attention(seen, seen, seen, attn_mask=ahead, need_weights=False)
            x = x + attended
            return x + self.narrow(torch.relu(self.wide(self.norm_inner(x))))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items = nn.Embedding(ITEMS + 1, WIDTH, padding_idx=0)
            nn.init.normal_(self.items.weight, std=0.02)
            if name == "lstm":
                self.reader = nn.LSTM(WIDTH, WIDTH, batch_first=True)
            else:
                self.places = nn.Embedding(LENGTH, WIDTH)
                self.blocks = nn.ModuleList([Block(), Block()])
                self.last_norm = nn.LayerNorm(WIDTH)

        def forward(self, codes):
            x = self.items(codes) * WIDTH**0.5
            if name == "lstm":
                x, _ = self.reader(x)
            else:
                x = x + self.places.weight
                ahead = torch.ones(LENGTH, LENGTH, dtype=torch.bool, device=x.device).triu(1)
                for block in self.blocks:
                    x = block(x, ahead)
                x = self.last_norm(x)
            return x.reshape(-1, WIDTH) @ self.items.weight[1:].T

    network = Network().to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    arrays, _ = all_positions()
    codes = torch.from_numpy(arrays["codes"].astype(np.int64)).to(device)
    targets = torch.from_numpy(arrays["targets"].astype(np.int64)).to(device)
    forward = torch.compile(network) if compiled else network

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = nn.functional.cross_entropy(forward(codes), targets)
        loss.backward()
        optimizer.step()
        loss.item()

    step()
    return step


if __name__ == "__main__":
    print(json.dumps(_figures()))
