"""A critic of patches (Isola et al., 1611.07004): how real each part of a grid looks, for sharper reconstructions.

It sees about sixteen pixels at a time, so it can ask for edges and texture and leaves the layout to the error. Pairs
are compared (Jolicoeur-Martineau, 1807.00734): a reconstruction with the very example that it should be; small random
shifts of the input must not change the answer much, a penalty on its slope without second derivatives (Lin et al.,
2501.08316). It does not know classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn.noise import Noise

STEP = 0.05  # of the shifts
SLOPE = 1.0  # price of the square of the slope


class Patches(nn.Module):
    """Two scales of convolutions, one number a cell."""

    def __init__(self, channels: int, side: int, width: int) -> None:
        """``side`` is the shorter one; from 16 on two pixels a side become one cell at once."""
        super().__init__()
        self.patch = 1 if side < 16 else 2
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(channels * self.patch**2, width, 3, padding=1),
                nn.Conv2d(4 * width, 2 * width, 3, padding=1),
                nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            ]
        )
        self.head = nn.Conv2d(2 * width, 1, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, cells]"""
        cell = 2 * self.patch
        height, width = x.shape[-2:]
        h = F.pixel_unshuffle(F.pad(x, (0, -width % cell, 0, -height % cell)), self.patch)
        h = h.contiguous(memory_format=torch.channels_last)
        for i, layer in enumerate(self.layers):
            h = F.leaky_relu(layer(F.pixel_unshuffle(h, 2) if i == 1 else h), 0.2)
        found: Tensor = self.head(h).float().flatten(1)
        return found

    def doubt(self, x: Tensor, y: Tensor) -> Tensor:
        """How much less real ``y`` looks than its ``x``. [B]"""
        return F.softplus(self(x) - self(y)).mean(1)

    def lesson(self, x: Tensor, y: Tensor, noise: Noise) -> dict[str, Tensor]:
        """What teaches the critic to tell ``y`` from its ``x``: named losses, [B] each."""
        at_x, at_y = self(x), self(y)
        slopes = [
            (self(part + STEP * noise.normal(part.shape).to(part.device)) - at).square().mean(1) / STEP**2
            for part, at in ((x, at_x), (y, at_y))
        ]
        return {"told": F.softplus(at_y - at_x).mean(1), "slope": SLOPE * (slopes[0] + slopes[1])}
