"""The values of a numeric column as an inverse distribution that carries no rare value: points, runs, and bins of both.

A value seen at least ``k`` times is a point and comes back exactly. Rarer ones between two points form runs of at least
``k`` rows; inside a run values are drawn evenly, and its ends are means of ``k`` neighbouring values (so it is k-anonymous
in the sense of Sweeney 2002 for one column, not for several together). Few values that repeat are an id each; of others
neighbouring pieces share a bin, so that all bins hold about as many rows. It does not know dependence between columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEW = 100  # different values up to which each piece has an id of its own
BINS, FEWEST = 64, 8  # ids of a column of many values; the root of the rows where that is less
POINTS, RUNS = 400, 512  # pieces of either kind at most


class Quantiles:
    """Numbers ↔ ids ↔ positions in 0…1."""

    def __init__(self, low: Floats, high: Floats, weight: Floats, starts: Ints) -> None:
        """Pieces in ascending order (a point has ``low == high``), and the first piece of each bin."""
        self.low, self.high, self.weight, self.starts = low, high, weight, starts
        self.edges = np.concatenate([[0.0], weight.cumsum()]) / weight.sum()  # [P + 1]
        self.bounds = (high[:-1] + low[1:]) / 2  # [P - 1] what lies between two pieces goes to the nearer one

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def fit(cls, values: Floats, k: int) -> Self:
        """From the values of the train split, at least one."""
        values = np.sort(values)
        distinct, first, counts = np.unique(values, return_index=True, return_counts=True)
        common = counts >= k
        if common.sum() > POINTS:
            common &= counts >= np.partition(counts[common], -POINTS)[-POINTS]
        pieces: list[tuple[float, float, int]] = []
        edges = np.flatnonzero(np.diff(np.concatenate([[True], common, [True]]).astype(np.int8)))  # rare from, common from, …
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            last = len(values) if stop == len(distinct) else first[stop]
            pieces += _runs(values[first[start] : last], k, len(values))
        pieces += [(v, v, c) for v, c in zip(distinct[common], counts[common], strict=True)]
        if not pieces:  # fewer than k values in all
            pieces = [(float(values.mean()), float(values.mean()), len(values))]
        low, high, weight = np.array(sorted(pieces), np.float64).T
        return cls(low, high, weight, _bins(weight, len(distinct) <= FEW and 2 * counts[common].sum() >= len(values)))

    @property
    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name).tolist() for name in ("low", "high", "weight", "starts")}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Self:
        """Back from what ``state`` gave."""
        low, high, weight = (np.array(state[name], np.float64) for name in ("low", "high", "weight"))
        return cls(low, high, weight, np.array(state["starts"], np.int64))

    def _piece(self, values: Floats) -> Ints:
        return np.searchsorted(self.bounds, values, "left")

    def bins(self, values: Floats) -> Ints:
        """The bin of each value. [N]"""
        return np.searchsorted(self.starts, self._piece(values), "right") - 1

    def positions(self, values: Floats) -> Floats:
        """Share of the rows below each value, 0…1; the middle of its piece for a point. [N]"""
        piece = self._piece(values)
        low, width = self.low[piece], self.high[piece] - self.low[piece]
        inside = np.where(width > 0, (values - low) / np.where(width > 0, width, 1), 0.5).clip(0, 1)
        share: Floats = self.edges[piece] + inside * (self.edges[piece + 1] - self.edges[piece])
        return share

    def _piece_at(self, positions: Floats) -> Ints:
        return (np.searchsorted(self.edges, positions, "right") - 1).clip(0, len(self.low) - 1)

    def bins_at(self, positions: Floats) -> Ints:
        """The bin at each position 0…1. [N]"""
        return np.searchsorted(self.starts, self._piece_at(positions), "right") - 1

    def at(self, positions: Floats) -> Floats:
        """The value at each position 0…1: the inverse distribution. [N]"""
        piece = self._piece_at(positions)
        inside = (positions - self.edges[piece]) / (self.edges[piece + 1] - self.edges[piece])
        value: Floats = self.low[piece] + inside.clip(0, 1) * (self.high[piece] - self.low[piece])
        return value

    def within(self, ids: Ints, fractions: Floats) -> Floats:
        """A position inside each bin, at a fraction 0…1 of it. [N]"""
        ends = np.append(self.starts[1:], len(self.low))
        low, high = self.edges[self.starts[ids]], self.edges[ends[ids]]
        place: Floats = low + fractions * (high - low) * (1 - 1e-9)  # a fraction of 1 is not the next bin
        return place


def _runs(values: Floats, k: int, n: int) -> list[tuple[float, float, int]]:
    """Sorted rare values as stretches of at least ``k`` rows with smoothed ends; fewer than ``k`` are left to their neighbours."""
    count = min(len(values) // max(k, 1), max(1, round(RUNS * len(values) / n)))
    if not count:
        return []
    cuts = np.linspace(0, len(values), count + 1).round().astype(int)
    smooth = [float(values[max(0, min(cut - k // 2, len(values) - k)) :][:k].mean()) for cut in cuts]
    return [(a, b, int(stop - start)) for a, b, start, stop in zip(smooth[:-1], smooth[1:], cuts[:-1], cuts[1:], strict=True)]


def _bins(weight: Floats, single: bool) -> Ints:
    """First pieces of bins of about equal weight; a heavy piece has a bin of its own and is not counted in the others' share."""
    if single:
        return np.arange(len(weight))
    heavy = weight >= weight.sum() / BINS
    rest = weight[~heavy].sum()
    share = rest / min(BINS, max(FEWEST, int(rest**0.5)))
    starts, held = [0], 0.0
    for i, own in enumerate(weight.tolist()):
        if i and (held + own / 2 > share or heavy[i] or heavy[i - 1]):
            starts.append(i)
            held = 0.0
        held += own
    return np.array(starts)
