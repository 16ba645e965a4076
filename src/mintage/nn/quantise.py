"""Finite scalar quantisation (Mentzer et al., 2309.15505): each number of a code is rounded to one of a few levels.

A vector of as many numbers as there are level counts is one token; rounding passes gradients straight through, so
there is no codebook to learn and none to collapse. It does not know where in a grid a token stands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

EDGE = 1e-3  # of a level: keeps the outermost levels within reach


class Finite(nn.Module):
    """Vectors of ``len(levels)`` numbers ↔ tokens 0 … prod(levels) - 1."""

    levels: Tensor
    place: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        """``levels`` of each number, at least two."""
        super().__init__()
        self.count = math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        place = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("place", torch.tensor(place), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Any numbers [..., C] → the nearest of the levels in -1…1; gradients pass as if nothing was rounded."""
        half = (self.levels - 1) / 2 * (1 + EDGE)
        odd = (self.levels % 2 == 0) * 0.5  # an even number of levels has none at zero
        bounded = torch.tanh(z + torch.atanh(odd / half)) * half - odd
        rounded = bounded + (bounded.round() - bounded).detach()
        return (rounded + odd) / ((self.levels - 1) / 2)

    def nearest(self, z: Tensor) -> Tensor:
        """Numbers in -1…1 [..., C] → the nearest levels."""
        return self.values(self.tokens(z))

    def tokens(self, z: Tensor) -> Tensor:
        """Levels in -1…1 [..., C] → tokens [...]."""
        digits = ((z.clamp(-1, 1) + 1) / 2 * (self.levels - 1)).round().long()
        return (digits * self.place).sum(-1)

    def values(self, tokens: Tensor) -> Tensor:
        """Tokens [...] → levels in -1…1 [..., C]."""
        digits = tokens[..., None] // self.place % self.levels
        return digits / (self.levels - 1) * 2 - 1
