"""Convolutions beside the identity and the ways between resolutions, for networks without normalisation.

The block of R3GAN (Huang et al., 2501.05441) made dense: its last convolution starts at zero (fix-up, Zhang et al.,
1901.09321), so deep stacks train without any norm. Resolution changes by moving pixels into channels and back (Shi et
al., 1609.05158), which keeps the work in matrix products. It does not know what the grids mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of the leaky rectifier below zero


def leaky(x: Tensor) -> Tensor:
    """The leaky rectifier of the adversarial literature."""
    return F.leaky_relu(x, SLOPE)


def begin(module: nn.Module) -> None:
    """He initialisation of every linear and convolutional layer below ``module``; biases keep torch's spread of kinks."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, SLOPE)


@torch.no_grad()
def quiet(layer: nn.Module) -> None:
    """A tenth of the weights: a young generator should not begin on the rails, nor a young critic with a prejudice."""
    for param in layer.parameters():
        param.mul_(0.1)


class _Rails(torch.autograd.Function):
    """Tanh whose flat ends still let a tenth of a gradient through if it leads back to the middle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (y,), (grad,) = ctx.saved_tensors, grads
        found: Tensor = grad * (1 - y.square() + 0.1 * (grad * y > 0))
        return found


def rails(x: Tensor) -> Tensor:
    """Values in −1…1 for the end of a generator; one that lies on the rails everywhere can still be taught to leave them."""
    found: Tensor = _Rails.apply(x)  # type: ignore[no-untyped-call]
    return found


class Residual(nn.Module):
    """Two 3 × 3 convolutions beside the identity; a new one does nothing."""

    def __init__(self, width: int) -> None:
        """The width is kept."""
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        begin(self)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same."""
        found: Tensor = x + self.second(leaky(self.first(leaky(x))))
        return found


class Down(nn.Module):
    """Half the resolution: four pixels become channels, then one matrix."""

    def __init__(self, fine: int, coarse: int) -> None:
        """From ``fine`` channels to ``coarse``."""
        super().__init__()
        self.mix = nn.Conv2d(4 * fine, coarse, 1)
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, fine, H, W] → [B, coarse, H / 2, W / 2]"""
        found: Tensor = self.mix(F.pixel_unshuffle(x, 2))
        return found


class Up(nn.Module):
    """Twice the resolution: one matrix, then channels become four pixels."""

    def __init__(self, coarse: int, fine: int) -> None:
        """From ``coarse`` channels to ``fine``."""
        super().__init__()
        self.mix = nn.Conv2d(coarse, 4 * fine, 1)
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, coarse, H, W] → [B, fine, 2 H, 2 W]"""
        return F.pixel_shuffle(self.mix(x), 2)


def ladder(size: Sequence[int], patch: int, coarsest: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """How often a grid is halved, after its pixels were gathered ``patch`` × ``patch``, until ``coarsest`` cells are left.

    Args:
        size: Height and width.
        patch: Side of the squares that become channels.
        coarsest: Cells of the shorter side that the coarsest level has at least.

    Returns:
        Number of levels, cells of the coarsest level, and the padding that makes the size fit.
    """
    levels = 1
    while min(size) >= coarsest * patch * 2**levels:
        levels += 1
    cell = patch * 2 ** (levels - 1)
    return levels, tuple(-(-length // cell) for length in size), tuple(-length % cell for length in size)
