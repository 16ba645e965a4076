"""Critics: from a grid to features and one number, how real it looks under what was asked for.

The condition enters by projection (Miyato & Koyama, 1802.05637): an inner product of its embedding with the features.
The convolutional one mirrors the DCGAN-shaped generator, on rows, pictures and clips; the perceptron sees no
neighbourhood. Both are built of
``stages`` from the picture's side, so that the first ones can be held still (FreezeD, Mo et al., 2002.10964). They do
not know objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from mintage.core.spec import Cond, Specs
from mintage.nn.axes import Ladder, channels_last, gather, near, stored_last
from mintage.nn.condition import Condition
from mintage.nn.mlp import Mlp
from mintage.nn.residual import Down, Residual, begin, leaky, quiet


class Critic(nn.Module):
    """Stages, then a linear head and the projection."""

    def __init__(self, stages: Sequence[nn.Module], features: int, cond: Specs) -> None:
        """``stages`` end in ``features`` numbers a row."""
        super().__init__()
        self.stages, self.features = nn.ModuleList(stages), features
        self.head = nn.Linear(features, 1)
        self.condition = Condition(cond, features)
        begin(self.head)
        quiet(self.head)

    def forward(self, x: Tensor, cond: Cond) -> Tensor:
        """[B, C, ...] → [B]"""
        for stage in self.stages:
            x = stage(x)
        x = leaky(x)
        found: Tensor = self.head(x).float()[:, 0]
        if self.condition.given:
            found = found + (self.condition(cond, len(x)) * x.float()).sum(1) / math.sqrt(self.features)
        return found


class Enter(nn.Module):
    """Pixels gathered into channels, then the first convolution."""

    def __init__(self, channels: int, width: int, ladder: Ladder) -> None:
        """The first step of the ladder."""
        super().__init__()
        self.ladder = ladder
        self.conv = near(len(ladder.size), channels * math.prod(ladder.factors[0]), width)
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, width, H / patch, W / patch]"""
        found: Tensor = self.conv(channels_last(gather(self.ladder.pad(x), self.ladder.factors[0])))
        return found


def conv_critic(shape: Sequence[int], cond: Specs, width: int, depth: int) -> Critic:
    """Blocks and halvings down to a few cells, then one linear layer over all of them."""
    channels, *size = shape
    ladder = Ladder.down_to(size, 4)
    widths = [width * min(4, 2**i) for i in range(ladder.levels)]
    stages: list[nn.Module] = []
    for level, w in enumerate(widths):
        way = Down(widths[level - 1], w, ladder.factors[level]) if level else Enter(channels, w, ladder)
        stages.append(nn.Sequential(way, *(Residual(w, len(size)) for _ in range(depth))))
    features = 4 * width
    last = nn.Sequential(nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(widths[-1] * math.prod(ladder.grid), features))
    begin(last)
    critic = Critic([*stages, last], features, cond)
    stored_last(critic, len(size))
    return critic


def mlp_critic(shape: Sequence[int], cond: Specs, width: int) -> Critic:
    """Three layers over the pixels."""
    sizes = [math.prod(shape), 16 * width, 8 * width, 8 * width]
    return Critic([nn.Flatten(), Mlp(sizes)], sizes[-1], cond)
