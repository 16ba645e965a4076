"""Critics: from a grid to features and one number, how real it looks under what was asked for.

The condition enters by projection (Miyato & Koyama, 1802.05637): an inner product of its embedding with the features.
``ConvCritic`` mirrors the DCGAN-shaped generator, ``MlpCritic`` sees pixels without neighbourhood. Both are built of
``stages`` from the picture's side, so that the first ones can be held still (FreezeD, Mo et al., 2002.10964). They do
not know objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.core.spec import Cond, Specs
from mintage.nn.condition import Condition
from mintage.nn.mlp import Mlp
from mintage.nn.residual import Down, Residual, begin, ladder, leaky, quiet


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
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, cond: Cond) -> Tensor:
        """[B, C, H, W] → [B]"""
        for stage in self.stages:
            x = stage(x)
        x = leaky(x)
        found: Tensor = self.head(x).float()[:, 0]
        if self.condition.given:
            found = found + (self.condition(cond, len(x)) * x.float()).sum(1) / math.sqrt(self.features)
        return found


class Enter(nn.Module):
    """Pixels gathered into channels, then the first convolution."""

    def __init__(self, channels: int, width: int, patch: int, padding: Sequence[int]) -> None:
        """``padding`` makes height and width fit."""
        super().__init__()
        self.patch, self.padding = patch, tuple(padding)
        self.conv = nn.Conv2d(channels * patch**2, width, 3, padding=1)
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, width, H / patch, W / patch]"""
        x = F.pixel_unshuffle(F.pad(x, (0, self.padding[1], 0, self.padding[0])), self.patch)
        found: Tensor = self.conv(x.contiguous(memory_format=torch.channels_last))
        return found


def conv_critic(shape: Sequence[int], cond: Specs, width: int, depth: int) -> Critic:
    """Blocks and halvings down to a few cells, then one linear layer over all of them."""
    channels, *size = shape
    patch = 1 if min(size) < 16 else 2
    levels, grid, padding = ladder(size, patch, 4)
    widths = [width * min(4, 2**i) for i in range(levels)]
    stages: list[nn.Module] = []
    for level, w in enumerate(widths):
        way = Down(widths[level - 1], w) if level else Enter(channels, w, patch, padding)
        stages.append(nn.Sequential(way, *(Residual(w) for _ in range(depth))))
    features = 4 * width
    last = nn.Sequential(nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(widths[-1] * math.prod(grid), features))
    begin(last)
    return Critic([*stages, last], features, cond)


def mlp_critic(shape: Sequence[int], cond: Specs, width: int) -> Critic:
    """Three layers over the pixels."""
    sizes = [math.prod(shape), 16 * width, 8 * width, 8 * width]
    return Critic([nn.Flatten(), Mlp(sizes)], sizes[-1], cond)
