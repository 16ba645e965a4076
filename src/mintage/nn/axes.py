"""What changes in a network with the axes beside the channels: none (a row of a table), two (a picture), three (a clip).

Every architecture of this folder that works on grids is written once, over these parts. A row is a grid of one place: its
convolutions are matrices, and a U-Net is a residual perceptron. A clip's axes are time, height and width; its convolutions
are factorised, one over each frame and one over three neighbouring frames, as in R(2+1)D (Tran et al., 1711.11248), which
is as cheap on a CPU as it is on paper. Resolution changes by moving neighbours into channels and back (Shi et al.,
1609.05158). It does not know what any axis means beside the place of time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KINDS = (0, 2, 3)  # numbers of axes beside the channels that networks are made for
FEWEST = 4  # frames that are never halved
SMALL, LARGE = 16, 64  # pixels a side: single pixels below, of a clip squares of four from there on

Layer = nn.Conv2d | nn.Conv3d | nn.Linear


def point(axes: int, inputs: int, outputs: int) -> Layer:
    """The same matrix at every place."""
    if axes == 0:
        return nn.Linear(inputs, outputs)
    return nn.Conv2d(inputs, outputs, 1) if axes == 2 else nn.Conv3d(inputs, outputs, 1)


def near(axes: int, inputs: int, outputs: int, bias: bool = True) -> Layer:
    """A convolution over 3 × 3 places; of a clip, of each frame."""
    if axes == 0:
        return nn.Linear(inputs, outputs, bias)
    if axes == 2:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
    return nn.Conv3d(inputs, outputs, (1, 3, 3), padding=(0, 1, 1), bias=bias)


def across(axes: int, inputs: int, outputs: int, bias: bool = True) -> Layer:
    """The second convolution of a pair: like the first, but of a clip over three frames at each place."""
    if axes == 3:
        return nn.Conv3d(inputs, outputs, (3, 1, 1), padding=(1, 0, 0), bias=bias)
    return near(axes, inputs, outputs, bias)


def channels_last(x: Tensor) -> Tensor:
    """Stored with the channels of a place together, which is what convolutions are fast on."""
    if x.ndim < 4:
        return x
    return x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)


def stored_last(network: nn.Module, axes: int) -> None:
    """The same for a network's weights."""
    if axes:
        network.to(memory_format=torch.channels_last if axes == 2 else torch.channels_last_3d)  # type: ignore[call-overload]


def spread(vector: Tensor, like: Tensor) -> Tensor:
    """[B, C] as it is at every place of ``like`` [B, C, ...]."""
    return vector.view(*vector.shape, *[1] * (like.ndim - 2))


def gather(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Blocks of ``factors`` places become channels of one: [B, C, ...] → [B, C · factors, ...]."""
    if len(factors) == 2:
        return F.pixel_unshuffle(x, factors[0])
    if not factors:
        return x
    (t, h, w), (b, c, frames, height, width) = factors, x.shape
    blocks = x.permute(0, 2, 3, 4, 1).reshape(b, frames // t, t, height // h, h, width // w, w, c)
    rows = blocks.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)  # [B, T/t, H/h, W/w, t·h·w·C]
    return rows.permute(0, 4, 1, 2, 3)


def scatter(x: Tensor, factors: Sequence[int]) -> Tensor:
    """What ``gather`` did, undone."""
    if len(factors) == 2:
        return F.pixel_shuffle(x, factors[0])
    if not factors:
        return x
    (t, h, w), (b, c, frames, height, width) = factors, x.shape
    blocks = x.permute(0, 2, 3, 4, 1).reshape(b, frames, height, width, t, h, w, c // (t * h * w))
    rows = blocks.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, frames * t, height * h, width * w, -1)
    return rows.permute(0, 4, 1, 2, 3)


def side_of(size: Sequence[int]) -> int:
    """The shorter of height and width; 0 of a row."""
    return min(size[-2:], default=0)


def patch_of(size: Sequence[int]) -> int:
    """Side of the squares that become channels before the first convolution."""
    if side_of(size) < SMALL:
        return 1
    return 4 if len(size) == 3 and side_of(size) >= LARGE else 2


@dataclass(frozen=True)
class Ladder:
    """The resolutions of a network, fine to coarse.

    Attributes:
        size: Lengths of the axes beside the channels.
        factors: What the way into each level divides them by; the first gathers pixels.
        padding: What is added at the end of each axis so that all fits.
        grid: Cells of the coarsest level.
    """

    size: tuple[int, ...]
    factors: tuple[tuple[int, ...], ...]
    padding: tuple[int, ...]
    grid: tuple[int, ...]

    @classmethod
    def of(cls, size: Sequence[int], patch: int, levels: int) -> Ladder:
        """Height and width are halved at every level after the first; time as long as more than ``FEWEST`` frames are left."""
        steps = [(patch, patch)] + [(2, 2)] * (levels - 1)
        if not size:
            steps = [()] * levels  # type: ignore[list-item]
        if len(size) == 3:
            frames, timed = size[0], [(1, patch, patch)]
            for _ in range(levels - 1):
                timed.append((2 if frames > FEWEST else 1, 2, 2))
                frames = -(-frames // timed[-1][0])
            steps = timed  # type: ignore[assignment]
        cell = [math.prod(parts) for parts in zip(*steps, strict=True)]
        padding = tuple(-length % part for length, part in zip(size, cell, strict=True))
        grid = tuple(-(-length // part) for length, part in zip(size, cell, strict=True))
        return cls(tuple(size), tuple(steps), padding, grid)

    @classmethod
    def down_to(cls, size: Sequence[int], coarsest: int) -> Ladder:
        """Halved as long as the shorter side keeps at least ``coarsest`` cells."""
        patch, levels = patch_of(size), 1
        while side_of(size) >= coarsest * patch * 2**levels:
            levels += 1
        return cls.of(size, patch, levels)

    @property
    def levels(self) -> int:
        """How many there are."""
        return len(self.factors)

    def pad(self, x: Tensor) -> Tensor:
        """Zeros at the ends of the axes of [B, C, ...]."""
        return F.pad(x, [n for more in reversed(self.padding) for n in (0, more)]) if any(self.padding) else x

    def crop(self, x: Tensor) -> Tensor:
        """Without what ``pad`` added."""
        for axis, length in enumerate(self.size, 2):
            x = x.narrow(axis, 0, length)
        return x
