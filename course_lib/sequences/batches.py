"""Steps of sequences of like lengths, so that little padding is computed."""

from __future__ import annotations

import numpy as np

from course_lib.errors import CourseError
from course_lib.sequences.events import PADDING, Sequences


class Batches:
    """Sequences cut into steps: like lengths together, few shapes, alike many scored positions.

    A shape is a number of sequences and a length; XLA compiles a step once for each. Sequences
    are sorted into `shapes` groups by length, cut where the least padding is left, and a group
    of short sequences takes more of them a step, so that all steps score about the same number
    of positions: `capacity` is the largest. Inside a group, sequences are dealt out by size
    like cards, those of one size in random order, so each epoch has the same number of steps,
    other sequences in each, and never a position more than `capacity`.

    Args:
        sequences: What to cut. Sequences in which `wanted` selects nothing are left out.
        batch_size: Sequences a step, on average.
        shapes: At most so many shapes.
        wanted: The positions that count, bool [sequences, length]; None: the scored ones.
        multiple: The capacity is rounded up to a multiple of this.

    Attributes:
        capacity: Positions in a step, filled up with positions of weight 0.

    Raises:
        CourseError: If no position counts, or `batch_size` or `shapes` is below 1.
    """

    def __init__(
        self,
        sequences: Sequences,
        batch_size: int,
        *,
        shapes: int = 4,
        wanted: np.ndarray | None = None,
        multiple: int = 64,
    ):
        if batch_size < 1 or shapes < 1:
            raise CourseError(
                f"A step needs at least one sequence and there is at least one shape, not "
                f"batch_size={batch_size} and shapes={shapes}."
            )
        self.sequences = sequences
        self.wanted = sequences.mask if wanted is None else wanted
        self._counts = self.wanted.sum(axis=1)
        kept = np.flatnonzero(self._counts)
        if not len(kept):
            raise CourseError("No position of these sequences is scored: there is no step to make.")
        length = sequences.length - np.argmax(sequences.inputs[:, ::-1] != PADDING, axis=1)
        self._groups, most = [], 0
        positions = batch_size * self._counts[kept].mean()
        below = 0
        for edge in _edges(length[kept], shapes):
            members = kept[(length[kept] > below) & (length[kept] <= edge)]
            steps = max(1, round(self._counts[members].sum() / positions))
            self._groups.append((edge, steps, members))
            most = max(most, max(self._counts[part].sum() for part in self._deal(members, steps)))
            below = edge
        self.capacity = -(-int(most) // multiple) * multiple

    def __len__(self) -> int:
        return sum(steps for _, steps, _ in self._groups)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Sequences and length of each shape."""
        return [(-(-len(members) // steps), edge) for edge, steps, members in self._groups]

    def _deal(
        self, members: np.ndarray, steps: int, rng: np.random.Generator | None = None
    ) -> list[np.ndarray]:
        if rng is not None:
            members = rng.permutation(members)
        order = members[np.argsort(self._counts[members], kind="stable")]
        return [order[first::steps] for first in range(steps)]

    def steps(self, rng: np.random.Generator | None = None) -> list[tuple[int, np.ndarray]]:
        """Deal one epoch: the number of its shape and the sequences of each step.

        The first two steps are of the smallest and the largest shape, if there are two, because
        Keras looks at them to learn which dimensions vary.

        Args:
            rng: Of the order; None: always the same one.
        """
        dealt = [
            (shape, part)
            for shape, (_, steps, members) in enumerate(self._groups)
            for part in self._deal(members, steps, rng)
        ]
        if rng is not None:
            dealt = [dealt[place] for place in rng.permutation(len(dealt))]
        if len(self._groups) > 1:
            by_size = sorted(range(len(self._groups)), key=lambda shape: self.shapes[shape])
            ahead = [
                next(step for step in dealt if step[0] == shape)
                for shape in (by_size[0], by_size[-1])
            ]
            dealt = ahead + [step for step in dealt if all(step is not one for one in ahead)]
        return dealt

    def grid(self, step: tuple[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what is read, targets (int32) and weights (float32), [sequences, length]."""
        targets = self._cut(self.sequences.targets, step)
        weights = self._cut(self.wanted, step).astype(np.float32)
        return self.sequences.read(self.inputs(step)), targets, weights

    def inputs(self, step: tuple[int, np.ndarray]) -> np.ndarray:
        """Return the inputs of a step, int32 [sequences, length]."""
        return self._cut(self.sequences.inputs, step)

    def gathered(self, step: tuple[int, np.ndarray]) -> dict[str, np.ndarray]:
        """Return a step as its inputs and a list of the positions that count.

        Returns:
            ``codes``, what is read, int32 [sequences, length]; ``positions`` int32 [capacity],
            places in the flattened codes, filled up with 0; ``targets`` int32 [capacity];
            ``weights`` float32 [capacity], 0 where filled up.
        """
        inputs, targets, weights = self.grid(step)
        places = np.flatnonzero(weights)
        fill = (0, self.capacity - len(places))
        return {
            "codes": inputs,
            "positions": np.pad(places.astype(np.int32), fill),
            "targets": np.pad(targets.ravel()[places], fill),
            "weights": np.pad(np.ones(len(places), np.float32), fill),
        }

    def rows(self, step: tuple[int, np.ndarray]) -> np.ndarray:
        """Return the rows of the log of the positions that count in a step, as `gathered`."""
        wanted = self._cut(self.wanted, step)
        return self._cut(self.sequences.rows, step)[wanted]

    def _cut(self, array: np.ndarray, step: tuple[int, np.ndarray]) -> np.ndarray:
        shape, which = step
        size, length = self.shapes[shape]
        return np.pad(array[which, :length], ((0, size - len(which)), (0, 0)))


def _edges(lengths: np.ndarray, shapes: int) -> list[int]:
    """Lengths to pad to, at most `shapes` of them, so that the fewest positions are padded."""
    values, counts = np.unique(lengths, return_counts=True)
    n = len(values)
    before = np.r_[0, counts.cumsum()]
    # cost[g, i]: positions computed for the i shortest lengths in g groups.
    cost = np.full((min(shapes, n) + 1, n + 1), np.inf)
    cut = np.zeros(cost.shape, np.int64)
    cost[0, 0] = 0
    for group in range(1, len(cost)):
        for end in range(1, n + 1):
            options = cost[group - 1, :end] + (before[end] - before[:end]) * values[end - 1]
            cut[group, end] = np.argmin(options)
            cost[group, end] = options[cut[group, end]]
    edges, end = [], n
    for group in range(len(cost) - 1, 0, -1):
        edges.append(int(values[end - 1]))
        end = cut[group, end]
    return edges[::-1]
