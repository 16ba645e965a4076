"""Rows of a table as numbers: where each cell stands in its column, in which tenth it falls, and which tenths fall together.

Ids are in the order of their values (of categories, of their frequency), so the share of training rows below one says where it
stands. It does not see what takes three columns at once to see; a classifier on these features does, as far as its kernel goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mintage.nn.noise import Noise
from mintage.nn.principal import principal
from mintage.nn.settled import Settled

TENTHS = 10
DIM = 64
BUCKETS = 1 << 11  # hashed pairs
CHUNK = 2_000


class Cells(Settled):
    """Ids [B, C] → features [B, at most DIM]."""

    score: Tensor  # [V] normal score of each id
    group: Tensor  # [V] tenth of each id, numbered over all columns
    scale: Tensor
    mean: Tensor
    axes: Tensor

    def __init__(self, slots: Sequence[tuple[int, int]], pairs: bool) -> None:
        """``slots`` is the range of ids of each column; ``pairs`` sees pairs of columns in place of single ones."""
        super().__init__()
        self.slots, self.pairs = tuple(slots), pairs

    def settle(self, train: Tensor, noise: Noise) -> None:
        """Shares of the ids, and the principal axes."""
        vocab = max(high for _, high in self.slots)
        score, group = torch.zeros(vocab), torch.zeros(vocab, dtype=torch.int64)
        for k, (low, high) in enumerate(self.slots):
            counts = torch.bincount(train[:, k].long(), minlength=high)[low:high].double() + 0.5
            middle = (counts.cumsum(0) - counts / 2) / counts.sum()
            score[low:high] = torch.special.ndtri(middle).float()
            group[low:high] = k * TENTHS + (middle * TENTHS).long().clamp(max=TENTHS - 1)
        self.keep(score=score, group=group)
        raw = torch.cat([self._raw(x) for x in torch.split(train, CHUNK)])
        self.keep(scale=raw.std(0, correction=0).clamp(min=0.05))
        mean, axes = principal(raw / self.scale, DIM, noise.fork("axes"))
        self.keep(mean=mean, axes=axes)

    def _raw(self, x: Tensor) -> Tensor:
        group = self.group[x.long()]  # [B, C]
        if not self.pairs:
            return torch.cat([self.score[x.long()], F.one_hot(group, TENTHS * len(self.slots)).sum(1).float()], 1)
        counts = torch.zeros(len(x), BUCKETS)
        first, second = torch.triu_indices(len(self.slots), len(self.slots), 1)
        code = (group[:, first] * 1_000_003 + group[:, second]) * 2_654_435_761 % 2_147_483_647
        return counts.scatter_add_(1, code % BUCKETS, torch.ones(code.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Ids [B, C] → [B, DIM]."""
        found: Tensor = (self._raw(x) / self.scale - self.mean) @ self.axes
        return found
