"""A U-Net over rows, pictures and clips that spends its time in matrix products, for training in minutes on a CPU.

Ronneberger et al. 2015 (U-Net) with the residual block of Dhariwal & Nichol (2105.05233): normalise, scale and shift by
the condition, convolve twice. What is changed is what was measured to cost time: pixels are unshuffled into channels
before the first convolution (Shi et al., 1609.05158) and at every halving, the norm runs over channels only (fast where
channels are stored last), one linear layer serves all blocks, and dropout zeroes whole channels through that scale and
shift, which is free. Attention (QK-norm) stands at the coarsest grids, where it joins what convolutions cannot see
together; of a clip, in all its frames. On a row (``nn.axes``) it is a residual perceptron. It does not know the time of a
diffusion, classes or objectives: the caller embeds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn.axes import Ladder, across, channels_last, gather, near, point, scatter, spread, stored_last
from mintage.nn.noise import Noise

HEAD = 32  # channels of an attention head


def _norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of each position of [B, C, ...]."""
    rows = x.movedim(1, -1)
    return F.layer_norm(rows, rows.shape[-1:]).movedim(-1, 1).to(x.dtype)


def heads_of(width: int) -> int:
    """How many heads of about HEAD channels there are: a divisor of the width."""
    return next(n for n in range(max(1, width // HEAD), 0, -1) if width % n == 0)


class Attention(nn.Module):
    """Every position looks at every other."""

    def __init__(self, width: int) -> None:
        """The width is kept; the output starts at zero."""
        super().__init__()
        self.heads = heads_of(width)
        self.inner = nn.Linear(width, 3 * width, bias=False)
        self.outer = nn.Linear(width, width)
        self.sharp = nn.Parameter(torch.full((self.heads, 1, 1), 8.0))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] → the same."""
        b, c, *size = x.shape
        rows = _norm(x).movedim(1, -1).reshape(b, -1, c)  # [B, N, C]
        q, k, v = self.inner(rows).view(b, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k = F.normalize(q.float(), dim=-1) * self.sharp, F.normalize(k.float(), dim=-1)
        weight = (q.to(v.dtype) @ k.to(v.dtype).mT).softmax(-1).to(v.dtype)  # [B, heads, N, N]
        out: Tensor = self.outer((weight @ v).transpose(1, 2).reshape(b, -1, c))
        return out.view(b, *size, c).movedim(-1, 1)


class CrossAttention(nn.Module):
    """Every position looks at the words of a caption, or at nothing."""

    def __init__(self, width: int, told: int) -> None:
        """``told`` numbers a word; the output starts at zero."""
        super().__init__()
        self.heads = heads_of(width)
        self.query, self.inner = nn.Linear(width, width, bias=False), nn.Linear(told, 2 * width, bias=False)
        self.outer = nn.Linear(width, width, bias=False)  # without words nothing is added
        self.sharp = nn.Parameter(torch.full((self.heads, 1, 1), 8.0))
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor, words: Tensor, there: Tensor) -> Tensor:
        """Positions [B, C, ...] and words [B, L, W], of which those that are ``there`` [B, L] are seen → [B, C, ...]"""
        b, c, *size = x.shape
        q = self.query(_norm(x).movedim(1, -1).reshape(b, -1, c)).view(b, -1, self.heads, c // self.heads).transpose(1, 2)
        k, v = self.inner(words.to(q.dtype)).view(b, -1, 2, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        score = (F.normalize(q.float(), dim=-1) * self.sharp) @ F.normalize(k.float(), dim=-1).mT  # [B, heads, N, L]
        score = score.masked_fill(~there[:, None, None], -torch.inf)
        weight = F.pad(score, (0, 1)).softmax(-1)[..., :-1].to(v.dtype)  # the last is nothing, which says nothing
        out: Tensor = self.outer((weight @ v).transpose(1, 2).reshape(b, -1, c))
        return out.view(b, *size, c).movedim(-1, 1)


class Block(nn.Module):
    """Two convolutions beside the identity, then attention if asked; all end in zeros, so a new block does nothing."""

    def __init__(self, width: int, attention: bool = False, axes: int = 2) -> None:
        """The width is kept."""
        super().__init__()
        self.first, self.second = near(axes, width, width, bias=False), across(axes, width, width)
        self.attention = Attention(width) if attention else None
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """``scale`` and ``shift`` are [B, C, 1, …]."""
        h = F.silu(torch.addcmul(shift, _norm(x), scale))
        x = x + self.second(F.silu(self.first(h)))
        return x if self.attention is None else x + self.attention(x)


class UNet(nn.Module):
    """Maps a grid and an embedding to a grid of the same size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: Sequence[int],
        widths: Sequence[int] = (32, 64),
        depths: Sequence[int] = (2, 4),
        attention: Sequence[int] = (),
        patch: int = 2,
        embedding: int = 128,
        dropout: float = 0.0,
        told: int = 0,
        guess: int = 0,
    ) -> None:
        """Lay out the levels.

        Args:
            inputs: Input channels.
            outputs: Output channels; the output starts at zero.
            size: Lengths of the axes beside the channels; any, padded inside to a multiple of the coarsest cell.
            widths: Channels of each level, fine to coarse; multiples of 32 are fastest.
            depths: Blocks of each level; the fine levels have as many on the way down as on the way up.
            attention: Levels whose blocks end in attention.
            patch: Side of the pixel squares that become channels at the start.
            embedding: Length of the condition's embedding.
            dropout: Share of channels hidden inside each block in training.
            told: Numbers a word of a caption, which the coarsest level looks at; 0 without captions.
            guess: Channels of a first guess that may stand beside the input; what comes of it starts at zero.
        """
        super().__init__()
        self.dropout, levels, axes = dropout, len(widths), len(size)
        self.ladder = Ladder.of(size, patch, levels)
        parts = [math.prod(factors) for factors in self.ladder.factors]
        self.enter, self.leave = near(axes, inputs * parts[0], widths[0]), near(axes, widths[0], outputs * parts[0])
        self.down, self.up = (
            nn.ModuleList(nn.ModuleList(Block(widths[i], i in attention, axes) for _ in range(depths[i])) for i in range(n))
            for n in (levels, levels - 1)
        )
        pairs = list(zip(parts[1:], pairwise(widths), strict=True))
        self.narrow = nn.ModuleList(point(axes, n * fine, coarse) for n, (fine, coarse) in pairs)
        self.spread = nn.ModuleList(point(axes, coarse, n * fine) for n, (fine, coarse) in pairs)
        heard = range(0, depths[-1], 2) if told else ()  # by every second of the coarsest blocks
        self.listen = nn.ModuleList(CrossAttention(widths[-1], told) for _ in heard)
        self.place = nn.Parameter(torch.zeros(1, widths[-1], *self.ladder.grid))  # where on the grid a coarse cell lies
        ends = [widths[0]]
        ladder = [w for w, d in zip(widths, depths, strict=True) for _ in range(d)]
        climb = [w for w, d in reversed(list(zip(widths[:-1], depths[:-1], strict=True))) for _ in range(d)]
        self.sizes = [w for w in ladder + climb + ends for _ in range(2)]
        self.modulate = nn.Linear(embedding, sum(self.sizes))
        for layer in (self.leave, self.modulate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.guess = near(axes, guess * parts[0], widths[0], bias=False) if guess else None
        if self.guess is not None:
            nn.init.zeros_(self.guess.weight)
        stored_last(self, axes)

    def _scales(self, embedding: Tensor, noise: Noise | None) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift of every block and of the end; with noise, dropped channels have neither."""
        parts = torch.split(self.modulate(F.silu(embedding)), self.sizes, 1)
        pairs = [(1 + scale, shift) for scale, shift in zip(parts[::2], parts[1::2], strict=True)]
        if noise is None or not self.dropout:
            return pairs
        keeps = noise.fork("dropout").uniform((len(embedding), sum(self.sizes) // 2)) >= self.dropout
        keeps = (keeps / (1 - self.dropout)).to(embedding.device)
        kept = [keep.to(pairs[0][0].dtype) for keep in keeps.split([p.shape[1] for p, _ in pairs], 1)]  # type: ignore[no-untyped-call]
        return [(s * k, b * k) for (s, b), k in zip(pairs[:-1], kept, strict=False)] + pairs[-1:]

    def forward(
        self,
        x: Tensor,
        embedding: Tensor,
        noise: Noise | None = None,
        words: tuple[Tensor, Tensor] | None = None,
        guess: Tensor | None = None,
    ) -> Tensor:
        """Map the grid ``x`` [B, C, ...] under ``embedding`` [B, E]; ``noise`` (in training) switches dropout on.

        ``words`` of a caption are [B, L, W], and which of them are there [B, L]; a ``guess`` is a grid of that size.
        """
        factors = self.ladder.factors
        h = self.enter(channels_last(gather(self.ladder.pad(x), factors[0])))
        if guess is not None and self.guess is not None:
            h = h + self.guess(channels_last(gather(self.ladder.pad(guess), factors[0])))
        scales = iter([(spread(a.to(h.dtype), h), spread(b.to(h.dtype), h)) for a, b in self._scales(embedding, noise)])
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            h = h + self.place.to(h.dtype) if level == len(self.down) - 1 else h
            assert isinstance(blocks, nn.ModuleList)
            for i, block in enumerate(blocks):
                if words is not None and level == len(self.narrow) and i % 2 == 0:
                    h = h + self.listen[i // 2](h, *words)
                h = block(h, *next(scales))
            if level < len(self.narrow):
                skips.append(h)
                h = self.narrow[level](gather(h, factors[level + 1]))
        for level in reversed(range(len(self.up))):
            h = scatter(self.spread[level](h), factors[level + 1]) + skips[level]
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h, *next(scales))
        scale, shift = next(scales)
        h = self.leave(F.silu(torch.addcmul(shift, _norm(h), scale)))
        return self.ladder.crop(scatter(h, factors[0]).float())
