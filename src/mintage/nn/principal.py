"""Principal axes of many rows, by seeded subspace iteration (Halko et al., 0909.4061)."""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.nn.noise import Noise


def principal(x: Tensor, dims: int, noise: Noise) -> tuple[Tensor, Tensor]:
    """Mean [D] and the leading principal axes [D, dims] of the rows of ``x``, by seeded subspace iteration."""
    mean = x.mean(0)
    centred = x - mean
    dims = min(dims, *x.shape)
    basis = noise.normal((x.shape[1], min(dims + 8, *x.shape)))
    for _ in range(4):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    _, _, turn = torch.linalg.svd(centred @ basis, full_matrices=False)
    return mean, basis @ turn.T[:, :dims]
