"""Random parts of a grid to keep or to fill: rectangles and borders over any number of axes, columns of a row.

Masks follow the practice of free-form inpainting (Yu et al. 2019) reduced to boxes: half of them hide one box (repair),
half hide everything beyond a random edge (extend). 1 = known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mintage.nn.noise import Noise


def _columns(shape: Sequence[int], columns: Sequence[str], noise: Noise) -> Tensor:
    """Any share of a row's numbers; those of one column, which have one name side by side, together. → [B, F] float"""
    batch, numbers = shape
    names = columns if len(columns) == numbers else [str(i) for i in range(numbers)]
    column = torch.tensor([i > 0 and name != names[i - 1] for i, name in enumerate(names)]).cumsum(0)
    hidden = noise.uniform((batch, numbers)) < noise.uniform((batch, 1))
    return (~hidden[:, column]).float()


def random_mask(shape: Sequence[int], noise: Noise, columns: Sequence[str] = ()) -> Tensor:
    """One mask per example over the axes after the channel axis. → [B, 1, ...] float, 1 = known; of rows [B, F]."""
    batch, axes = shape[0], shape[2:]
    if not axes:
        return _columns(shape, columns, noise)
    inside = torch.ones(batch, 1, *axes, dtype=torch.bool)
    beyond = torch.ones_like(inside)
    cut_axis = noise.integers(0, len(axes), (batch,))
    from_end = noise.uniform((batch,)) < 0.5
    for i, length in enumerate(axes):
        size = (noise.uniform((batch,)) * 0.6 + 0.3) * length
        low = noise.uniform((batch,)) * (length - size)
        place = torch.arange(length).view(1, -1)
        box = (place >= low[:, None]) & (place < (low + size)[:, None])  # [B, L]
        edge = (place + 0.5 >= size[:, None]) ^ from_end[:, None]
        view = (batch, 1, *(length if j == i else 1 for j in range(len(axes))))
        inside &= box.view(view)
        beyond &= (edge | (cut_axis != i)[:, None]).view(view)
    hidden = torch.where((noise.uniform((batch,)) < 0.5).view(-1, 1, *(1 for _ in axes)), inside, beyond)
    return (~hidden).float()
