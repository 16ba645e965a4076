"""A critic of patches (Isola et al., 1611.07004): how real each part of a grid looks, for sharper reconstructions.

It sees about sixteen pixels at a time (of a clip, in about three frames), so it can ask for edges and texture and leaves
the layout to the error. Pairs are compared (Jolicoeur-Martineau, 1807.00734): a reconstruction with the very example that it
should be; small random shifts of the input must not change the answer much, a penalty on its slope without second
derivatives (Lin et al., 2501.08316). It does not know classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn.axes import Ladder, across, channels_last, gather, near, patch_of, point, stored_last
from mintage.nn.noise import Noise

STEP = 0.05  # of the shifts
SLOPE = 1.0  # price of the square of the slope


class Patches(nn.Module):
    """Two scales of convolutions, one number a cell."""

    def __init__(self, shape: Sequence[int], width: int) -> None:
        """``shape`` of a picture or a clip; of larger ones some pixels become one cell at once."""
        super().__init__()
        channels, *size = shape
        axes, self.ladder = len(size), Ladder.of(size, patch_of(size), 2)
        first, second = (math.prod(factors) for factors in self.ladder.factors)
        self.layers = nn.ModuleList(
            [near(axes, first * channels, width), near(axes, second * width, 2 * width), across(axes, 2 * width, 2 * width)]
        )
        self.head = point(axes, 2 * width, 1)
        stored_last(self, axes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] → [B, cells]"""
        first, second = self.ladder.factors
        h = channels_last(gather(self.ladder.pad(x), first))
        for i, layer in enumerate(self.layers):
            h = F.leaky_relu(layer(gather(h, second) if i == 1 else h), 0.2)
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
