"""Generators without styles: from a code and a condition to a grid, by a perceptron or by convolutions.

``MlpGenerator`` is the first GAN's (Goodfellow et al., 1406.2661), ``DcganGenerator`` has the shape of DCGAN (Radford et
al., 1511.06434: a small grid that doubles until it is the picture) with residual blocks in place of batch norm; a clip's
doubles in time too, and a row's has one place (``nn.axes``). Both end in tanh. They do not know objectives; truncation pulls
the code towards its mean, which is the zero vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mintage.nn.axes import Ladder, channels_last, near, scatter, stored_last
from mintage.nn.mlp import Mlp
from mintage.nn.noise import Noise
from mintage.nn.residual import Residual, Up, begin, leaky, quiet, rails


class MlpGenerator(nn.Module):
    """Four layers that double in width."""

    def __init__(self, shape: Sequence[int], latent: int, given: int, width: int) -> None:
        """``given`` numbers of condition stand beside the ``latent`` ones."""
        super().__init__()
        self.shape = tuple(shape)
        self.net = Mlp([latent + given, 4 * width, 8 * width, 16 * width, math.prod(shape)])
        quiet(self.net.layers[-1])

    def forward(self, z: Tensor, given: Tensor, noise: Noise) -> Tensor:
        """[B, L], [B, E] → [B, C, ...]"""
        return rails(self.net(torch.cat([z, given], 1)).float()).view(-1, *self.shape)


class DcganGenerator(nn.Module):
    """A linear layer to the coarsest grid, then blocks and doublings."""

    def __init__(self, shape: Sequence[int], latent: int, given: int, width: int, depth: int) -> None:
        """``width`` channels at the finest level, twice as many at each coarser one up to four times."""
        super().__init__()
        channels, *size = shape
        axes, self.ladder = len(size), Ladder.down_to(size, 4)
        widths = [width * min(4, 2**i) for i in reversed(range(self.ladder.levels))]
        steps = reversed(self.ladder.factors[1:])
        self.enter = nn.Linear(latent + given, widths[0] * math.prod(self.ladder.grid))
        self.blocks = nn.ModuleList(nn.ModuleList(Residual(w, axes) for _ in range(depth)) for w in widths)
        self.ups = nn.ModuleList(Up(a, b, factors) for (a, b), factors in zip(pairwise(widths), steps, strict=True))
        self.leave = near(axes, width, channels * math.prod(self.ladder.factors[0]))
        for layer in (self.enter, self.leave):
            begin(layer)
        quiet(self.leave)
        stored_last(self, axes)

    def forward(self, z: Tensor, given: Tensor, noise: Noise) -> Tensor:
        """[B, L], [B, E] → [B, C, ...]"""
        h = channels_last(self.enter(torch.cat([z, given], 1)).view(len(z), -1, *self.ladder.grid))
        for level, blocks in enumerate(self.blocks):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h)
            if level < len(self.ups):
                h = self.ups[level](h)
        return self.ladder.crop(rails(scatter(self.leave(leaky(h)), self.ladder.factors[0]).float()))
