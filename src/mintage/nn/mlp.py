"""A plain multilayer perceptron, as generator (Goodfellow et al., 1406.2661) or as any other map of vectors.

It does not know grids: callers flatten and shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from mintage.nn.residual import begin, leaky


class Mlp(nn.Module):
    """Linear layers with leaky rectifiers between them, none after the last."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """``sizes`` from the input's to the output's."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, first] → [B, last]"""
        for layer in self.layers[:-1]:
            x = leaky(layer(x))
        found: Tensor = self.layers[-1](x)
        return found
