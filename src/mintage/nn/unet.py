"""A convolutional U-Net over 2-D grids that spends its time in matrix products, for training in minutes on a CPU.

Ronneberger et al. 2015 (U-Net) with the residual block of Dhariwal & Nichol (2105.05233): normalise, scale and shift by
the condition, convolve twice. What is changed is what was measured to cost time: pixels are unshuffled into channels
before the first convolution (Shi et al., 1609.05158) and at every halving, the norm runs over channels only (fast where
channels are stored last), one linear layer serves all blocks, and dropout zeroes whole channels through that scale and
shift, which is free. Attention (QK-norm) stands at the coarsest grids, where it joins what convolutions cannot see
together. It does not know time, classes or objectives: the caller embeds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.nn.noise import Noise

HEAD = 32  # channels of an attention head


def _norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the channels of each position of [B, C, H, W]."""
    rows = x.permute(0, 2, 3, 1)
    return F.layer_norm(rows, rows.shape[-1:]).permute(0, 3, 1, 2).to(x.dtype)


class Attention(nn.Module):
    """Every position looks at every other."""

    def __init__(self, width: int) -> None:
        """The width is kept; the output starts at zero."""
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.inner = nn.Linear(width, 3 * width, bias=False)
        self.outer = nn.Linear(width, width)
        self.sharp = nn.Parameter(torch.full((self.heads, 1, 1), 8.0))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same."""
        b, c, h, w = x.shape
        rows = _norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        q, k, v = self.inner(rows).view(b, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k = F.normalize(q.float(), dim=-1) * self.sharp, F.normalize(k.float(), dim=-1)
        weight = (q.to(v.dtype) @ k.to(v.dtype).mT).softmax(-1).to(v.dtype)  # [B, heads, HW, HW]
        out: Tensor = self.outer((weight @ v).transpose(1, 2).reshape(b, h * w, c))
        return out.view(b, h, w, c).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Two convolutions beside the identity, then attention if asked; all end in zeros, so a new block does nothing."""

    def __init__(self, width: int, attention: bool = False) -> None:
        """The width is kept."""
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.attention = Attention(width) if attention else None
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """``scale`` and ``shift`` are [B, C, 1, 1]."""
        h = F.silu(torch.addcmul(shift, _norm(x), scale))
        x = x + self.second(F.silu(self.first(h)))
        return x if self.attention is None else x + self.attention(x)


class UNet(nn.Module):
    """Maps a grid and an embedding to a grid of the same height and width."""

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
    ) -> None:
        """Lay out the levels.

        Args:
            inputs: Input channels.
            outputs: Output channels; the output starts at zero.
            size: Height and width; any, padded inside to a multiple of the coarsest cell.
            widths: Channels of each level, fine to coarse; multiples of 32 are fastest.
            depths: Blocks of each level; the fine levels have as many on the way down as on the way up.
            attention: Levels whose blocks end in attention.
            patch: Side of the pixel squares that become channels at the start.
            embedding: Length of the condition's embedding.
            dropout: Share of channels hidden inside each block in training.
        """
        super().__init__()
        self.patch, self.dropout, levels = patch, dropout, len(widths)
        cell = patch * 2 ** (levels - 1)
        self.padding = tuple(-length % cell for length in size)
        grid = [(length + more) // cell for length, more in zip(size, self.padding, strict=True)]
        self.enter = nn.Conv2d(inputs * patch**2, widths[0], 3, padding=1)
        self.leave = nn.Conv2d(widths[0], outputs * patch**2, 3, padding=1)
        self.down, self.up = (
            nn.ModuleList(nn.ModuleList(Block(widths[i], i in attention) for _ in range(depths[i])) for i in range(n))
            for n in (levels, levels - 1)
        )
        pairs = list(pairwise(widths))
        self.narrow = nn.ModuleList(nn.Conv2d(4 * fine, coarse, 1) for fine, coarse in pairs)
        self.spread = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairs)
        self.place = nn.Parameter(torch.zeros(1, widths[-1], *grid))  # where on the grid a coarse cell lies
        ends = [widths[0]]
        ladder = [w for w, d in zip(widths, depths, strict=True) for _ in range(d)]
        climb = [w for w, d in reversed(list(zip(widths[:-1], depths[:-1], strict=True))) for _ in range(d)]
        self.sizes = [w for w in ladder + climb + ends for _ in range(2)]
        self.modulate = nn.Linear(embedding, sum(self.sizes))
        for layer in (self.leave, self.modulate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _scales(self, embedding: Tensor, noise: Noise | None) -> list[tuple[Tensor, Tensor]]:
        """Scale and shift of every block and of the end; with noise, dropped channels have neither."""
        parts = torch.split(self.modulate(F.silu(embedding))[:, :, None, None], self.sizes, 1)
        pairs = [(1 + scale, shift) for scale, shift in zip(parts[::2], parts[1::2], strict=True)]
        if noise is None or not self.dropout:
            return pairs
        keeps = noise.fork("dropout").uniform((len(embedding), sum(self.sizes) // 2)) >= self.dropout
        keeps = (keeps / (1 - self.dropout)).to(embedding.device)[:, :, None, None]
        kept = [keep.to(pairs[0][0].dtype) for keep in keeps.split([p.shape[1] for p, _ in pairs], 1)]  # type: ignore[no-untyped-call]
        return [(s * k, b * k) for (s, b), k in zip(pairs[:-1], kept, strict=False)] + pairs[-1:]

    def forward(self, x: Tensor, embedding: Tensor, noise: Noise | None = None) -> Tensor:
        """Map the grid ``x`` [B, C, H, W] under ``embedding`` [B, E]; ``noise`` (in training) switches dropout on."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, self.padding[1], 0, self.padding[0]))
        h = self.enter(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        scales = iter([(a.to(h.dtype), b.to(h.dtype)) for a, b in self._scales(embedding, noise)])
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            h = h + self.place.to(h.dtype) if level == len(self.down) - 1 else h
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, *next(scales))
            if level < len(self.narrow):
                skips.append(h)
                h = self.narrow[level](F.pixel_unshuffle(h, 2))
        for level in reversed(range(len(self.up))):
            h = F.pixel_shuffle(self.spread[level](h), 2) + skips[level]
            for block in self.up[level]:  # type: ignore[attr-defined]
                h = block(h, *next(scales))
        scale, shift = next(scales)
        h = self.leave(F.silu(torch.addcmul(shift, _norm(h), scale)))
        return F.pixel_shuffle(h, self.patch).float()[..., :height, :width]
