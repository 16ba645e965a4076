"""Differentiable augmentation: a critic that only sees altered pictures or clips cannot learn the originals by heart.

DiffAugment (Zhao et al., 2006.10738): colour, translation, cutout, the same for real and made pictures; each is applied
with probability p, which the caller may adapt (ADA, Karras et al., 2006.06676). Everything is a gather or an affine map,
so gradients reach the generator. All frames of a clip are altered alike. It does not know what a picture shows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.nn.noise import Noise

SHIFT = 0.125  # of the side
HOLE = 0.5


def _colour(x: Tensor, on: Tensor, noise: Noise) -> Tensor:
    """Brightness, saturation and contrast, each row its own."""
    b, c, *size = x.shape
    light, saturation, contrast = noise.uniform((3, b, 1, *[1] * len(size))).to(x.device)
    y = x + (light - 0.5)
    if c > 1:
        grey = y.mean(1, keepdim=True)
        y = (y - grey) * (2 * saturation) + grey
    middle = y.mean(tuple(range(1, y.ndim)), keepdim=True)
    y = (y - middle) * (contrast + 0.5) + middle
    return torch.where(on, y, x)


def _translate(x: Tensor, on: Tensor, noise: Noise) -> Tensor:
    """Moved by up to an eighth; the edge is continued."""
    (b, *_), (h, w) = x.shape, x.shape[-2:]
    down, right = (noise.uniform((2, b, 1)).to(x.device) * 2 - 1) * on.view(1, b, 1)
    rows = (torch.arange(h, device=x.device) + (down * SHIFT * h).round().long()).clamp(0, h - 1)  # [B, H]
    columns = (torch.arange(w, device=x.device) + (right * SHIFT * w).round().long()).clamp(0, w - 1)  # [B, W]
    at = torch.arange(b, device=x.device)[:, None, None]
    moved = x.flatten(1, -3).permute(0, 2, 3, 1)[at, rows[:, :, None], columns[:, None, :]]
    found: Tensor = moved.permute(0, 3, 1, 2).unflatten(1, x.shape[1:-2])  # type: ignore[no-untyped-call]
    return found


def _cutout(x: Tensor, on: Tensor, noise: Noise) -> Tensor:
    """A rectangle of half the height and width becomes grey."""
    (b, *_), (h, w) = x.shape, x.shape[-2:]
    middle = noise.uniform((2, b, 1)).to(x.device)
    inside = [
        ((torch.arange(n, device=x.device) + 0.5) / n - m).abs() < HOLE / 2 for n, m in zip((h, w), middle, strict=True)
    ]  # [B, H], [B, W]
    hole = inside[0][:, :, None] & inside[1][:, None, :]  # [B, H, W]
    return torch.where(hole.view(b, *[1] * (x.ndim - 3), h, w) & on, 0.0, x)


def augment(x: Tensor, p: Tensor, noise: Noise) -> Tensor:
    """A batch [B, C, H, W] or [B, C, T, H, W] altered: each kind in each row with probability ``p`` []."""
    for name, alter in (("colour", _colour), ("translate", _translate), ("cutout", _cutout)):
        own = noise.fork(name)
        on = own.uniform((len(x), *[1] * (x.ndim - 1))).to(x.device) < p
        x = alter(x, on, own)
    return x
