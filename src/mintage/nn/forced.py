"""A forced choice: shown an item and its altered twin, can a classifier tell which of the two is real?

Responses to random patches of the items themselves, pooled coarsely (Coates & Ng 2011), in a kernel ridge classifier with
both twins on the same side of every cross-validation split. Twins make it a sharper question than two separate samples
would be (Green & Swets 1966). It is closed form and takes about a second; what neither patches nor places show, it misses.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mintage.nn.intervals import share
from mintage.nn.noise import Noise

PAIRS = 400  # at most
SIDE = 24  # longest side looked at
PATCHES, PATCH, PLACES = 96, 5, 4  # random patches, their side, and the grid of places that responses are pooled into
FOLDS = 5
RIDGE = 0.01


def responses(x: Tensor, patches: Tensor) -> Tensor:
    """How strongly each patch answers in each place. [N, C, H, W] → [N, D]"""
    field = F.relu(F.conv2d(x, patches, padding=PATCH // 2) - 0.25)
    found = F.adaptive_avg_pool2d(field, (min(PLACES, field.shape[2]), min(PLACES, field.shape[3]))).flatten(1)
    found = found - found.mean(0)
    scaled: Tensor = found / (found.std(0) + 1e-3)
    return scaled


def some_patches(x: Tensor, noise: Noise) -> Tensor:
    """Random patches of the items, without mean and of length one. [K, C, P, P]"""
    row = noise.integers(0, len(x), (PATCHES,)).tolist()
    top, left = (noise.integers(0, max(1, n - PATCH + 1), (PATCHES,)).tolist() for n in x.shape[2:])
    cut = torch.stack([x[r, :, i : i + PATCH, j : j + PATCH] for r, i, j in zip(row, top, left, strict=True)])
    cut = cut - cut.mean((1, 2, 3), keepdim=True)
    found: Tensor = cut / (cut.flatten(1).norm(dim=1) + 0.1)[:, None, None, None]
    return found


def told(real: Tensor, altered: Tensor, labels: Tensor | None, noise: Noise) -> tuple[float, float, float]:
    """Share of pairs in which the real one is found, with its 95 % interval; one half is chance.

    Args:
        real: Items. [N, C, H, W] or [N, C, T, H, W]
        altered: Their altered twins, alike.
        labels: Their classes, where there are any: what is unusual within a class tells too. [N]
        noise: Chooses pairs, patches and folds.
    """
    order = noise.permutation(len(real))[:PAIRS]
    n, x = len(order), torch.cat([real[order], altered[order]])
    x = x.flatten(1, -3) if x.ndim > 4 else x  # the frames of a clip are looked at together
    if max(x.shape[2:]) > SIDE:
        scale = SIDE / max(x.shape[2:])
        x = F.adaptive_avg_pool2d(x, (max(PATCH, round(x.shape[2] * scale)), max(PATCH, round(x.shape[3] * scale))))
    points = responses(x, some_patches(x, noise))
    apart = torch.cdist(points, points).square()
    kernel = torch.exp(-apart / apart.median())
    if labels is not None:
        own = labels[order].repeat(2)
        kernel = kernel * (1 + (own[:, None] == own).float()) / 2
    y, fold = torch.cat([torch.ones(n), -torch.ones(n)]), (torch.arange(n) % FOLDS).repeat(2)
    score = torch.zeros(2 * n)
    for k in range(FOLDS):
        seen, kept = fold != k, fold == k
        inner = kernel[seen][:, seen]
        weight = torch.linalg.solve(inner + RIDGE * len(inner) / 100 * torch.eye(len(inner)), y[seen])
        score[kept] = kernel[kept][:, seen] @ weight
    return share(int((score[:n] > score[n:]).sum()), n)
