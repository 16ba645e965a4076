"""How clips move, as numbers: features of frame differences that need no training. Grids [N, C, T, H, W].

Six blocks: how much moves in each of 4 × 4 cells and in each quarter of the time; which way, by normal flow (the part of
the change that a small shift of the picture explains, Horn & Schunck 1981) in the same cells; how far apart frames lie
at steps of 1, 2, 4 and 8; and how jerky the change is (a second difference against a first: about 1 for noise drawn anew
in each frame, near 0 for a slow drift, and high again where one frame in two stands out). They see motion and not
content: a clip may be full of nonsense that moves as it should.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mintage.nn.features import as_float

CELLS, QUARTERS, LAGS = 4, 4, (1, 2, 4, 8)
SIDE = 32  # longest side that is looked at
FAINT = 1e-3  # change below which nothing is said to move, in units where black to white is 2
CHUNK = 64


def grey(x: Tensor) -> Tensor:
    """Brightness of clips at a size of at most SIDE. [N, T, H, W]"""
    g = as_float(x).mean(1)
    longest = max(g.shape[-2:])
    if longest <= SIDE:
        return g
    size = [max(2, round(length * SIDE / longest)) for length in g.shape[-2:]]
    return F.interpolate(g, size=size, mode="area")


def energy(x: Tensor) -> Tensor:
    """Root mean square change from frame to frame. [N]"""
    return torch.cat([grey(part).diff(dim=1).square().mean((1, 2, 3)).sqrt() for part in torch.split(x, CHUNK)])


def jerk(x: Tensor) -> Tensor:
    """How much of the change is taken back in the next frame: the second difference over twice the first, 0…1. [N]"""
    found = []
    for part in torch.split(x, CHUNK):
        first = grey(part).diff(dim=1)
        second = first.diff(dim=1).square().mean((1, 2, 3)).sqrt()
        found.append(second / (2 * first.square().mean((1, 2, 3)).sqrt()).clamp(min=FAINT))
    return torch.cat(found)


def features(x: Tensor) -> Tensor:
    """Content [N, C, T, H, W] in storage or model form → [N, D]; each block counts as one."""
    return torch.cat([_features(grey(part)) for part in torch.split(x, CHUNK)])


def _features(g: Tensor) -> Tensor:
    d, middle = g.diff(dim=1), (g[:, 1:] + g[:, :-1]) / 2  # [N, T − 1, H, W]
    wide = F.pad(middle, (1, 1, 1, 1), mode="replicate")
    gx, gy = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) / 2, (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) / 2

    def cells(y: Tensor, size: int = CELLS) -> Tensor:
        return F.adaptive_avg_pool2d(y.mean(1), size).flatten(1)

    def quiet(y: Tensor) -> Tensor:
        return (y.clamp(min=0).sqrt() + FAINT).log()

    flow = []
    for size in (1, CELLS):
        slope = cells(gx.square() + gy.square(), size) + FAINT
        flow += [cells(-d * gx, size) / slope, cells(-d * gy, size) / slope]
    by_time = torch.stack([part.square().mean((1, 2, 3)) for part in d.tensor_split(min(QUARTERS, d.shape[1]), 1)], 1)
    lags = [k for k in LAGS if k < g.shape[1]]
    apart = torch.stack([(g[:, k:] - g[:, :-k]).square().mean((1, 2, 3)) for k in lags], 1)
    back = (d.diff(dim=1).square().mean((1, 2, 3)).sqrt() / (2 * d.square().mean((1, 2, 3)).sqrt()).clamp(min=FAINT))[:, None]
    blocks = [quiet(cells(d.square())), quiet(by_time), 4 * torch.cat(flow[:2], 1), torch.cat(flow[2:], 1), quiet(apart), 4 * back]
    return torch.cat([block / block.shape[1] ** 0.5 for block in blocks], 1)
