"""Exact nearest neighbours by chunked matrix products.

One index serves coverage, copying, the report's pairs and the live dials. Distances are Euclidean in the space the
caller chose; ``|a − b|² = |a|² + |b|² − 2ab`` in float32 after centring, the best few recomputed exactly, so that a
copy has distance 0 and not the rounding error of a large cancellation. It knows no approximate search: a million rows
of 64 numbers are answered in seconds.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

CHUNK = 1 << 24  # entries of one distance block, 64 MB


class Neighbours:
    """An index over the rows of ``points`` [M, D]."""

    def __init__(self, points: Tensor) -> None:
        """Keep the points as float32, with their mean taken off for the products."""
        self.points = points.detach().flatten(1).float()
        self._mean = self.points.mean(0)
        self._centred = self.points - self._mean
        self._norms = self._centred.square().sum(1)  # [M]

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def search(self, query: Tensor, k: int = 1, *, among_itself: bool = False) -> tuple[Tensor, Tensor]:
        """The k nearest points of each query row, nearest first.

        Args:
            query: Rows to look up. [N, D]
            k: How many; at most the number of points.
            among_itself: The query is the index's own points, and no point is its own neighbour.

        Returns:
            Distances [N, k] and positions [N, k].
        """
        query = query.detach().flatten(1).float()
        spare = min(k + 4, len(self) - among_itself)  # a few more than asked, so that exact distances can reorder them
        if not 0 < k <= spare:
            raise ValueError(f"{k} neighbours were asked of {len(self)} points.")
        found = [self._block(part, start, spare, among_itself) for start, part in self._parts(query)]
        distances, places = (torch.cat(parts) for parts in zip(*found, strict=True))
        return distances[:, :k], places[:, :k]

    def _parts(self, query: Tensor) -> list[tuple[int, Tensor]]:
        rows = max(1, CHUNK // max(1, len(self)))
        return [(start, query[start : start + rows]) for start in range(0, len(query), rows)]

    def _block(self, part: Tensor, start: int, k: int, among_itself: bool) -> tuple[Tensor, Tensor]:
        centred = part - self._mean
        rough = torch.addmm(self._norms, centred, self._centred.T, alpha=-2)  # [n, M] less |a|²
        if among_itself:
            rows = torch.arange(len(part))
            rough[rows, start + rows] = torch.inf
        places = rough.topk(k, largest=False).indices
        exact = torch.stack([(self.points[places[:, i]] - part).norm(dim=1) for i in range(k)], 1)  # [n, k]
        distances, order = exact.sort(dim=1, stable=True)
        return distances, places.gather(1, order)

    def radii(self, k: int) -> Tensor:
        """Distance of each point to its k-th neighbour among the others: [M]."""
        return self.search(self.points, k, among_itself=True)[0][:, -1]

    def inside(self, query: Tensor, radii: Tensor) -> Tensor:
        """How many of the points' balls of the given ``radii`` [M] hold each query row: int64 [N]."""
        query = query.detach().flatten(1).float()
        reach = radii.square() - self._norms
        counts = []
        for _, part in self._parts(query):
            centred = part - self._mean
            gap = torch.addmm(centred.square().sum(1, keepdim=True), centred, self._centred.T, alpha=-2)  # [n, M]
            counts.append((gap <= reach).sum(1))
        return torch.cat(counts)

    def save(self, path: Path) -> None:
        """Write the points as one array."""
        save_file({"points": self.points.contiguous()}, path)

    @classmethod
    def load(cls, path: Path) -> Neighbours:
        """Read an index that ``save`` wrote."""
        return cls(load_file(path)["points"])
