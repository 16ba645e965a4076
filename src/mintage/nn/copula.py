"""A Gaussian copula over columns of ids: each column's own shares, and one matrix of correlations between them (Sklar 1959).

An id stands at the mean of its share of a normal distribution (normal scores; Liu et al., 0903.0649, say what they can
estimate), and what few ids hide of a correlation is put back as for polychoric ones (Olsson 1979, to first order). It holds
every column's own distribution exactly and pairs only as far as the order of the ids means something: of categories, which
are in order of frequency, it knows little.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mintage.nn.noise import Noise
from mintage.nn.settled import Settled

SHRUNK = 0.01  # of the correlations, towards none


class Copula(Settled):
    """Ids [N, C] in the ranges of their columns → new rows."""

    edges: Tensor  # [C, M + 1] share of rows below each id of a column; 1 beyond its last
    root: Tensor  # [C, C] lower triangle whose square is the correlations

    def __init__(self, slots: Sequence[tuple[int, int]]) -> None:
        """``slots`` is the range of ids of each column."""
        super().__init__()
        self.low = torch.tensor([low for low, _ in slots])
        self.most = max(high - low for low, high in slots)

    def settle(self, ids: Tensor) -> None:
        """Shares and correlations of rows [N, C]."""
        own = ids - self.low
        counts = torch.stack([torch.bincount(column, minlength=self.most) for column in own.unbind(1)])  # [C, M]
        edges = torch.nn.functional.pad(counts.double().cumsum(1), (1, 0)) / len(ids)
        height = torch.exp(-torch.special.ndtri(edges).square() / 2) / (2 * math.pi) ** 0.5  # 0 at both ends
        score = ((height[:, :-1] - height[:, 1:]) / edges.diff(dim=1).clamp(min=1e-12)).gather(1, own.T).T  # [N, C]
        shown = score.square().mean(0).clamp(min=1e-9)
        together = ((score.T @ score) / len(ids) / shown / shown[:, None]).clamp(-1, 1) * (1 - SHRUNK)
        value, axes = torch.linalg.eigh(together.fill_diagonal_(1.0))
        together = (axes * value.clamp(min=SHRUNK)) @ axes.T  # the nearest that can be
        scale = together.diagonal().rsqrt()
        self.keep(edges=edges, root=torch.linalg.cholesky(together * scale * scale[:, None]))

    def sample(self, noise: Noise) -> Tensor:
        """One row a row of ``noise``. [B, C]"""
        score = noise.normal((noise.rows, len(self.low))).double() @ self.root.T
        point = torch.special.ndtr(score).T.contiguous()  # [C, B]
        place = torch.searchsorted(self.edges, point, right=True) - 1
        last = (self.edges < 1).sum(1, keepdim=True) - 1  # never an id that no row has
        return place.clamp(min=0).minimum(last).T + self.low
