"""SumTree: draws indices with probabilities in proportion to their values (Schaul et al., 2016, appendix B.2.1)."""

from __future__ import annotations

import numpy as np

# Children of a node. Wider nodes are fewer levels, each with more to read.
_WIDTH = 4
# Nodes from which on a level is searched as a whole.
_TOP = 4096


class SumTree:
    """A tree of sums. All draws descend together, and all changes rise together, a level at a time.

    A node is always computed from its children, and never by a difference. So the tree follows from its values, bit for
    bit, and an index with the value 0 is never drawn.

    Args:
        num_values: Number of values; they begin at 0.
    """

    def __init__(self, num_values: int) -> None:
        self._levels = [np.zeros(num_values, np.float64)]
        while len(self._levels[-1]) > _TOP:
            num_nodes = -(-len(self._levels[-1]) // _WIDTH)
            self._levels[-1] = np.zeros(num_nodes * _WIDTH, np.float64)
            self._levels.append(np.zeros(num_nodes, np.float64))

    @staticmethod
    def bytes_for(num_values: int) -> int:
        """Returns about how many bytes a tree of that many values takes."""
        return np.dtype(np.float64).itemsize * num_values * _WIDTH // (_WIDTH - 1)

    def get(self, indices: np.ndarray) -> np.ndarray:
        """Returns the values of indices, float64 of their shape."""
        return self._levels[0][indices]

    def set(self, indices: np.ndarray, values: np.ndarray | float) -> None:
        """Changes values. If an index is there several times, its last value counts.

        Args:
            indices: int64 ``[N]``.
            values: float64 ``[N]``, at least 0.
        """
        self._levels[0][indices] = values
        for children, nodes in zip(self._levels[:-1], self._levels[1:], strict=True):
            indices = indices // _WIDTH
            nodes[indices] = children.reshape(-1, _WIDTH)[indices].sum(axis=1)

    def draw(self, points: np.ndarray) -> np.ndarray:
        """Returns the indices at these points of the cumulative sum, int64 ``[N]``.

        Args:
            points: float64 ``[N]`` in [0, 1): shares of the sum of all values, which must be above 0.
        """
        top = self._levels[-1]
        sums = np.cumsum(top)
        rest = np.minimum(points * sums[-1], np.nextafter(sums[-1], 0.0))
        # The first index whose sum is larger: its value is above 0.
        indices = np.searchsorted(sums, rest, side="right")
        rest -= sums[indices] - top[indices]
        for level in self._levels[-2::-1]:
            # A row for each child, since NumPy is slow along short dimensions.
            sums = np.ascontiguousarray(np.take(level.reshape(-1, _WIDTH), indices, axis=0).T)
            for child in range(1, _WIDTH):
                sums[child] += sums[child - 1]
            # Rounding must not lead beyond the last child, nor before the first one.
            rest = np.clip(rest, 0.0, np.nextafter(sums[-1], 0.0))
            indices = indices * _WIDTH
            before = np.zeros(len(points))
            for child in range(_WIDTH - 1):
                is_beyond = sums[child] <= rest
                indices += is_beyond
                np.copyto(before, sums[child], where=is_beyond)
            rest -= before
        return indices
