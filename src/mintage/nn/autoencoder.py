"""Encoders and decoders of grids with a Gaussian code (Kingma & Welling, 1312.6114): a perceptron and a convolutional one.

What ``families/vae.py`` asks of a network is ``Coder``; networks for other targets answer the same questions. The
error of a grid is measured in nats under one deviation for all numbers, which follows the error itself (Rybkin et al.,
2006.13202): so the price of a code needs no hand-set weight. The numbers of a row are different things: each has a
deviation of its own, by which it is drawn. Numbers on the rails -1 and 1 are met by anything beyond them. It does not know
objectives, phases or what a code is drawn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.core.spec import Cond, Spec, Specs
from mintage.nn.axes import Ladder, Layer, channels_last, gather, near, patch_of, point, scatter, side_of, spread, stored_last
from mintage.nn.condition import Condition
from mintage.nn.levels import Levels
from mintage.nn.noise import Noise
from mintage.nn.unet import Block

EMBEDDING = 128
COARSEST = 8  # cells of the shorter side at which halving stops
PACE = 0.05  # how fast the deviation follows the error
FINEST = 2e-3  # the least deviation: half a level of a byte
LOGVAR = (-12.0, 6.0)


class Coder(Protocol):
    """A network with a code: what the family needs to train it and to draw from it."""

    code: tuple[int, ...]

    def encode(self, x: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the code, [B, *code] each."""

    def decode(self, z: Tensor, cond: Cond) -> Tensor:
        """What the network says about the example with this code."""

    def nats(self, output: Tensor, x: Tensor, noise: Noise | None = None) -> Tensor:
        """What is left to tell of each example, in nats; ``noise`` only in training. [B]"""

    def made(self, output: Tensor, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Examples by what ``decode`` said; each yield is a preview, the last is final."""


class Grids(nn.Module):
    """What both networks for grids share: the condition and the error in nats."""

    deviation: Tensor  # [] or, of rows, [F]
    code: tuple[int, ...]

    def __init__(self, target: Spec, cond: Specs, width: int, absolute: bool) -> None:
        """``width`` of the condition's vector; the error is ``absolute`` (Laplace) or square (Gauss)."""
        super().__init__()
        self.condition, self.absolute = Condition(cond, width), absolute
        self.own = len(target.shape) == 1  # each number has a deviation of its own
        self.register_buffer("deviation", torch.ones(target.shape if self.own else ()))
        self.levels = Levels()

    def made(self, output: Tensor, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """What was said, within the range of grids: of pictures and clips a mean, a row is drawn around it. [B, ...]"""
        if self.own and (temperature := float(knobs.get("temperature", 1.0))):
            output = output + temperature * self.deviation * noise.normal(output.shape).to(output.device)
        yield output.clamp(-1, 1)

    def nats(self, output: Tensor, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Negative log density of ``x`` [B, ...] around ``output``; in training the deviation learns from the error. [B]"""
        beyond = (x <= -1) & (output < -1) | (x >= 1) & (output > 1)
        error = (torch.where(beyond, x, output.float()) - x).flatten(1)
        size = error.abs() if self.absolute else error.square()
        if self.training:
            mean = size.detach().mean(0) if self.own else size.detach().mean()
            self.deviation.lerp_((mean if self.absolute else mean.sqrt()).clamp(min=FINEST), PACE)
        s = self.deviation.clone()
        if self.absolute:
            return (size / s + (2 * s).log()).sum(1)
        return (size / (2 * s * s) + s.log() + 0.5 * math.log(2 * math.pi)).sum(1)

    def exact(self, output: Tensor, x: Tensor) -> Tensor:
        """Negative log probability in nats of the bytes of ``x``. [B]"""
        return -self.levels.log_prob(output, x, float(self.deviation.mean()))

    def count(self, output: Tensor, x: Tensor) -> None:
        """Which levels stood where the decoder said what."""
        self.levels.count(output, x)

    def counted(self) -> None:
        """The table of what was counted."""
        self.levels.settle(float(self.deviation.mean()))


def _begin_code(layer: Layer) -> None:
    """The log variances start near -2, so that a code says something from the first step."""
    assert layer.bias is not None
    with torch.no_grad():
        half = len(layer.bias) // 2
        layer.weight[half:] *= 0.1
        layer.bias[half:] = -2.0


class Dense(Grids):
    """A perceptron over all numbers of a grid: x → width → code → width → x."""

    def __init__(self, target: Spec, cond: Specs, code: int, width: int, depth: int, absolute: bool = False) -> None:
        """``depth`` hidden layers of ``width`` on each way."""
        super().__init__(target, cond, width, absolute)
        self.shape, self.code = target.shape, (code,)
        numbers = math.prod(target.shape)
        self.enter, self.leave = nn.Linear(numbers, width), nn.Linear(width, numbers)
        self.down, self.up = (nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1)) for _ in range(2))
        self.head, self.start = nn.Linear(width, 2 * code), nn.Linear(code, width)
        _begin_code(self.head)

    def _given(self, cond: Cond, rows: int) -> Tensor:
        found: Tensor = self.condition(cond, rows)
        return found.to(self.deviation.device)

    def encode(self, x: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
        """[B, ...] → [B, K], [B, K]"""
        h = F.silu(self.enter(x.flatten(1)) + self._given(cond, len(x)))
        for layer in self.down:
            h = F.silu(layer(h))
        mean, logvar = self.head(h).float().chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)

    def decode(self, z: Tensor, cond: Cond) -> Tensor:
        """[B, K] → [B, ...]"""
        h = F.silu(self.start(z) + self._given(cond, len(z)))
        for layer in self.up:
            h = F.silu(layer(h))
        found: Tensor = self.leave(h)
        return found.float().view(len(z), *self.shape)


class Blocks(nn.Module):
    """Residual blocks of one width, each scaled and shifted by an embedding."""

    def __init__(self, width: int, depth: int, axes: int) -> None:
        """The width is kept; a new stack does nothing."""
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, axes=axes) for _ in range(depth))
        self.modulate = nn.Linear(EMBEDDING, 2 * width * depth)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """[B, C, ...] under [B, E] → the same."""
        parts = spread(self.modulate(F.silu(embedding)), h).to(h.dtype).chunk(2 * len(self.blocks), 1)
        for block, scale, shift in zip(self.blocks, parts[::2], parts[1::2], strict=True):
            h = block(h, 1 + scale, shift)
        return h


class Convolutional(Grids):
    """Convolutions down to a few cells and back; the code is flat, or lies on the cells (``spatial`` channels)."""

    def __init__(self, target: Spec, cond: Specs, code: int, spatial: int, width: int, depth: int, absolute: bool = False) -> None:
        """``code`` numbers, or where ``spatial`` is not 0 so many for each coarse cell; ``depth`` blocks a level."""
        super().__init__(target, cond, EMBEDDING, absolute)
        channels, *size = target.shape
        self.axes, self.spatial, patch, levels = len(size), spatial, patch_of(size), 2 if size else 1
        while side_of(size) / (patch * 2 ** (levels - 1)) > COARSEST:
            levels += 1
        self.ladder = Ladder.of(size, patch, levels)
        first, *parts = (math.prod(factors) for factors in self.ladder.factors)
        widths = [width * min(4, 2**i) for i in range(levels)]
        pairs = list(zip(parts, pairwise(widths), strict=True))
        self.enter, self.leave = near(self.axes, channels * first, width), near(self.axes, width, channels * first)
        self.down, self.up = (nn.ModuleList(Blocks(w, depth, self.axes) for w in widths) for _ in range(2))
        self.narrow = nn.ModuleList(point(self.axes, n * fine, coarse) for n, (fine, coarse) in pairs)
        self.spread = nn.ModuleList(point(self.axes, coarse, n * fine) for n, (fine, coarse) in pairs)
        self._heads(code, widths[-1])
        stored_last(self, self.axes)

    def _heads(self, code: int, top: int) -> None:
        """From the coarsest cells to the code and back."""
        self.head: Layer
        self.start: Layer
        if self.spatial:
            self.code = (self.spatial, *self.ladder.grid)
            self.head, self.start = point(self.axes, top, 2 * self.spatial), near(self.axes, self.spatial, top)
        else:
            self.code = (code,)
            cells = top * math.prod(self.ladder.grid)
            self.head, self.start = nn.Linear(cells, 2 * code), nn.Linear(code, cells)
            self.about = nn.Linear(code, EMBEDDING)  # the code also scales and shifts every block of the decoder
        _begin_code(self.head)

    def _embedding(self, cond: Cond, like: Tensor) -> Tensor:
        found: Tensor = self.condition(cond, len(like))
        return found.to(like.device)

    def encode(self, x: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
        """[B, C, ...] → [B, *code] twice."""
        e, factors = self._embedding(cond, x), self.ladder.factors
        h = self.enter(channels_last(gather(self.ladder.pad(x), factors[0])))
        for level, blocks in enumerate(self.down):
            h = blocks(h, e)
            if level < len(self.narrow):
                h = self.narrow[level](gather(h, factors[level + 1]))
        mean, logvar = self.head(h if self.spatial else h.flatten(1)).float().chunk(2, 1)
        return mean, logvar.clamp(*LOGVAR)

    def decode(self, z: Tensor, cond: Cond) -> Tensor:
        """[B, *code] → [B, C, ...]"""
        e, h, factors = self._embedding(cond, z), self.start(z), self.ladder.factors
        if not self.spatial:
            e, h = e + self.about(z), h.view(len(z), -1, *self.ladder.grid)
        h = channels_last(h)
        for level in reversed(range(len(self.up))):
            h = self.up[level](h, e)
            if level:
                h = scatter(self.spread[level - 1](h), factors[level])
        return self.ladder.crop(scatter(self.leave(h), factors[0]).float())
