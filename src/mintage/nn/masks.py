"""Random parts of a grid to keep or to fill: rectangles and borders over any number of axes.

Masks follow the practice of free-form inpainting (Yu et al. 2019) reduced to boxes: half of them hide one box (repair),
half hide everything beyond a random edge (extend). 1 = known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mintage.nn.noise import Noise


def random_mask(shape: Sequence[int], noise: Noise) -> Tensor:
    """One mask per example over the axes after the channel axis. → [B, 1, ...] float, 1 = known."""
    batch, axes = shape[0], shape[2:]
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
