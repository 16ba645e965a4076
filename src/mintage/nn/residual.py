"""Convolutions beside the identity and the ways between resolutions, for networks without normalisation.

The block of R3GAN (Huang et al., 2501.05441) made dense: its last convolution starts at zero (fix-up, Zhang et al.,
1901.09321), so deep stacks train without any norm. All are made for rows, pictures and clips alike (``nn.axes``). They do
not know what the grids mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn.axes import across, gather, near, point, scatter

SLOPE = 0.2  # of the leaky rectifier below zero


def leaky(x: Tensor) -> Tensor:
    """The leaky rectifier of the adversarial literature."""
    return F.leaky_relu(x, SLOPE)


def begin(module: nn.Module) -> None:
    """He initialisation of every linear and convolutional layer below ``module``; biases keep torch's spread of kinks."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
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
    """Two convolutions beside the identity; a new one does nothing."""

    def __init__(self, width: int, axes: int) -> None:
        """The width is kept."""
        super().__init__()
        self.first, self.second = near(axes, width, width), across(axes, width, width, bias=False)
        begin(self)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] → the same."""
        found: Tensor = x + self.second(leaky(self.first(leaky(x))))
        return found


class Down(nn.Module):
    """To a coarser level: neighbours become channels, then one matrix."""

    def __init__(self, fine: int, coarse: int, factors: Sequence[int]) -> None:
        """From ``fine`` channels to ``coarse``, on a grid divided by ``factors``."""
        super().__init__()
        self.factors = tuple(factors)
        self.mix = point(len(factors), math.prod(factors) * fine, coarse)
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, fine, H, W] → [B, coarse, H / 2, W / 2], or what the factors say"""
        found: Tensor = self.mix(gather(x, self.factors))
        return found


class Up(nn.Module):
    """To a finer level: one matrix, then channels become neighbours."""

    def __init__(self, coarse: int, fine: int, factors: Sequence[int]) -> None:
        """From ``coarse`` channels to ``fine``, on a grid multiplied by ``factors``."""
        super().__init__()
        self.factors = tuple(factors)
        self.mix = point(len(factors), coarse, math.prod(factors) * fine)
        begin(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, coarse, H, W] → [B, fine, 2 H, 2 W], or what the factors say"""
        return scatter(self.mix(x), self.factors)
